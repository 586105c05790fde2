"""Which DICOM series are the channels of which study, told by their headers."""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.data.channels import Grouped, Rule, case_of, most_specific, words
from pipeline.dicom.datasets import read_dataset
from pipeline.dicom.elements import decoded_text, hashed, text
from pipeline.dicom.reading.header import Header
from pipeline.dicom.reading.headers import read_header
from pipeline.errors import InputError
from pipeline.sources.survey import DicomFiles

__all__ = ["FoundSeries", "GroupedSeries", "channel_of_series", "find_series", "group_series"]

logger = logging.getLogger(__name__)

_TAGS = ["StudyInstanceUID", "BodyPartExamined", "PatientID", "PatientName", "SpecificCharacterSet"]
_CRITERIA = ("modality", "description", "body_part")
_CODES = {"PET": "PT", "MRI": "MR", "XRAY": "DX", "ULTRASOUND": "US"}  # what people say, and DICOM's word for it


@dataclass(frozen=True, kw_only=True)
class FoundSeries:
    """A series and what tells it from others.

    Attributes:
        paths: the shortest list of paths that holds it and no other.
        files: all of it.
        uid: SeriesInstanceUID.
        study: StudyInstanceUID and a hash of the patient, "" where there is none.
        modality: DICOM's code.
        description: SeriesDescription.
        body_part: BodyPartExamined.
        number: SeriesNumber.
    """

    paths: tuple[Path, ...]
    files: tuple[Path, ...]
    uid: str
    study: tuple[str, str]
    modality: str
    description: str
    body_part: str
    number: int | None

    def __str__(self) -> str:
        return f"number {'none' if self.number is None else self.number} '{self.description}' {self.modality}".rstrip()


@dataclass
class GroupedSeries(Grouped):
    """Cases of DICOM series.

    Attributes:
        series: of each case that can be used, the series of each channel that it has.
    """

    series: dict[str, dict[int, FoundSeries]] = field(default_factory=dict)


def group_series(slices: Iterable[DicomFiles], rules: Sequence[Rule], root: Path) -> GroupedSeries:
    """Group the series of each study.

    Args:
        slices: of a survey of ``root``.
        rules: one per channel, in order.
        root: cases are named by the highest folder that holds nothing but the study.
    """
    found = GroupedSeries()
    studies: dict[tuple[str, str], list[FoundSeries]] = defaultdict(list)
    for one in find_series(slices):
        studies[one.study].append(one)
    names: dict[str, int] = {}
    folders = {study: {file.parent for one in series for file in one.files} for study, series in studies.items()}
    for study, series in studies.items():
        roles: dict[int, list[FoundSeries]] = defaultdict(list)
        for one in series:
            channels = channel_of_series(one, rules)
            for index in channels:
                roles[index].append(one)
            if not channels:
                found.unused += one.paths
        if not roles:
            continue
        folder = _folder_of(study, folders, root)
        name = "_".join(folder.relative_to(root).parts) or root.resolve().name
        names[name] = names.get(name, 0) + 1
        name = name if names[name] == 1 else f"{name}_{names[name]}"  # several studies in one folder
        case = case_of(name, {index: [one.paths for one in same] for index, same in roles.items()}, rules, folder)
        found.cases.append(_named_series(case, roles, rules, folder))
        found.series[name] = {index: same[0] for index, same in roles.items()}
        found.channel.update({path: index for index, same in roles.items() for one in same for path in one.files})
    return found


def _named_series(
    case: dict[str, object], roles: dict[int, list[FoundSeries]], rules: Sequence[Rule], folder: Path
) -> dict[str, object]:
    """Say of series by number and description what they could be as well: file names tell little."""
    for one in {one.uid: one for same in roles.values() for one in same}.values():
        channels = [str(rules[index]["name"]) for index, same in sorted(roles.items()) if one in same]
        if len(channels) > 1:
            told = InputError(
                f"case {case['name']}: series {one} could be any of the channels {', '.join(channels)}",
                where=folder,
                cure="Give each channel in plan.yaml what only its own series have",
            )
            return {**case, "problem": str(told)}
    for index, series in sorted(roles.items()):
        if len(series) > 1:
            listed = "; ".join(map(str, series))
            channel = f"case {case['name']}: channel {rules[index]['name']}"
            told = InputError(
                f"{channel} could be any of {len(series)} series: {listed}",
                where=folder,
                cure="Give the channel a description in plan.yaml that only one of them has, or move the others away",
            )
            return {**case, "problem": str(told)}
    return case


def find_series(slices: Iterable[DicomFiles]) -> list[FoundSeries]:
    """The series of a survey, each by itself, without localizers.

    A file whose header cannot be read may be of any series beside it, and is a part of all: their reader refuses it.
    """
    found = []
    for one in slices:
        by_uid: dict[str, list[Header]] = defaultdict(list)
        damaged: list[Path] = []
        for file in one.files:
            try:
                header = read_header(file)
            except InputError:
                damaged.append(file)
                continue
            if header is not None and not header.localizer:
                by_uid[header.series_uid].append(header)
        if damaged and not by_uid:
            logger.warning("%s: cannot be read, and is no channel: %d files", damaged[0].parent, len(damaged))
        folders = one.folders if one.alone and one.series == 1 else ()
        found += [_series(uid, headers, folders, damaged) for uid, headers in by_uid.items()]
    return sorted(found, key=lambda one: (one.number or 0, one.uid))


def _series(uid: str, headers: Sequence[Header], folders: tuple[Path, ...], damaged: Sequence[Path]) -> FoundSeries:
    first, files = headers[0], tuple(header.path for header in headers)
    dataset = read_dataset(first.path, keywords=_TAGS)
    return FoundSeries(
        paths=folders or (*files, *damaged),
        files=files,
        uid=uid,
        study=(text(dataset, "StudyInstanceUID"), hashed(dataset, "PatientID") or hashed(dataset, "PatientName")),
        modality=first.modality,
        description=first.description,
        body_part=decoded_text(dataset, "BodyPartExamined"),
        number=first.number,
    )


def channel_of_series(series: FoundSeries, rules: Sequence[Rule]) -> list[int]:
    """The indices of the channels that a series could be, those with the most criteria or the longest name."""
    fitting = [index for index, rule in enumerate(rules) if _fits(series, rule)]
    fitting = most_specific(fitting, lambda index: sum(key in rules[index] for key in _CRITERIA))
    named = all(not any(key in rules[index] for key in _CRITERIA) for index in fitting)
    return most_specific(fitting, lambda index: len("".join(words(str(rules[index]["name"]))))) if named else fitting


def _fits(series: FoundSeries, rule: Rule) -> bool:
    if not any(key in rule for key in _CRITERIA):
        return _fits_name(series, str(rule["name"]))
    modality, description, body_part = (rule.get(key) for key in _CRITERIA)
    return (
        (modality is None or str(modality).casefold() == series.modality.casefold())
        and (description is None or re.search(str(description), series.description, re.IGNORECASE) is not None)
        and (body_part is None or str(body_part).casefold() == series.body_part.casefold())
    )


def _fits_name(series: FoundSeries, name: str) -> bool:
    wanted, found = words(name), words(series.description)
    if name.upper() == series.modality or _CODES.get(name.upper()) == series.modality:
        return True
    return any(found[start : start + len(wanted)] == wanted for start in range(len(found) - len(wanted) + 1))


def _folder_of(study: tuple[str, str], folders_by_study: Mapping[tuple[str, str], set[Path]], root: Path) -> Path:
    """The highest folder below the root that holds a study and no other: no lacking channel changes a case's name.

    It is the root itself where there is one study.
    """
    if len(folders_by_study) == 1:
        return root
    folders = folders_by_study[study]
    others = {folder for other, found in folders_by_study.items() if other != study for folder in found}
    common = min(folders)
    while not all(folder.is_relative_to(common) for folder in folders):
        common = common.parent
    while root in common.parent.parents and not any(other.is_relative_to(common.parent) for other in others):
        common = common.parent
    return common
