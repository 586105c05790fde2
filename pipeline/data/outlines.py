"""DICOM series and the RTSTRUCT or SEG that were drawn on them, found in any tree of folders."""

from __future__ import annotations

import logging
import os
from collections import Counter, defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.data.inputs import Case, case_name
from pipeline.dicom import referenced_series
from pipeline.dicom.reading.headers import read_header
from pipeline.errors import InputError
from pipeline.sources.kinds import is_dicom, is_label_object
from pipeline.sources.paths import paths_of

__all__ = ["find_outlined"]

logger = logging.getLogger(__name__)


@dataclass
class _Found:
    """What a tree of folders holds."""

    folders: dict[str, set[Path]] = field(default_factory=lambda: defaultdict(set))  # of a series, by its UID
    series: dict[Path, set[str]] = field(default_factory=lambda: defaultdict(set))  # in a folder
    modalities: dict[str, str] = field(default_factory=dict)
    patients: dict[str, str] = field(default_factory=dict)
    outlines: dict[Path, tuple[str, ...]] = field(default_factory=dict)  # with the series that they refer to


def find_outlined(root: Path, *, modality: str | None = None) -> list[Case]:
    """Pair DICOM series with the RTSTRUCT (PS3.3 A.19) or SEG (A.51) files that refer to them, whatever the folders.

    Args:
        root: a folder, searched to its leaves. Files whose name begins with a dot are passed over.
        modality: DICOM's code of the modality to take; all are taken where nothing of this one is outlined.

    Returns:
        One ``{"image": folder, "label": file, "name": name, "patient": name}`` per outlined series, sorted by name; a
        name is the path of the folder that holds both, or that of the image, which is a list of folders where the
        series lies in several. ``patient`` is the name of the first case of the same PatientID, for no ID shall stand
        in a list. Empty where nothing is outlined.

    Raises:
        InputError: an outlined series is not here, has two outlines, or shares its folder with another series.
    """
    found = _Found()
    for path in sorted(root.rglob("*")):
        if path.is_file() and not path.name.startswith("."):
            _note(found, path)
    pairs = _of_modality(found, modality or "")
    cases = sorted((_case(found, root, uid, path) for uid, path in _once(found, pairs)), key=case_name)
    _tell_apart(cases, root)
    first: dict[str, str] = {}
    return [{**case, "patient": first.setdefault(str(case["patient"]), case["name"])} for case in cases]


def _of_modality(found: _Found, modality: str) -> list[tuple[str, Path]]:
    """Each outlined series with its file; of one modality, where there are any of it."""
    pairs = [(uid, path) for path, uids in found.outlines.items() for uid in _present(found, path, uids)]
    wanted = [pair for pair in pairs if found.modalities[pair[0]].casefold() == modality.casefold()]
    if wanted and len(wanted) < len(pairs):
        left_out = len(pairs) - len(wanted)
        logger.info("%d outlined series of %s; %d of others are left out", len(wanted), modality, left_out)
    return wanted or pairs


def _tell_apart(cases: list[Case], root: Path) -> None:
    """Give series another name where the folder that holds them and their outlines holds several."""
    names = Counter(case["name"] for case in cases)
    for case in cases:
        if names[case["name"]] > 1:
            case["name"] = "_".join(paths_of(case["image"])[0].relative_to(root).parts)


def _note(found: _Found, path: Path) -> None:
    with suppress(InputError):  # the reader says later, by name, what is wrong with it
        if is_label_object(path):
            found.outlines[path] = referenced_series(path)
            return
        header = read_header(path) if is_dicom(path) else None
        if header is None:
            return
        uid = header.series_uid
        found.folders[uid].add(path.parent)
        found.series[path.parent].add(uid)
        found.modalities[uid] = header.modality
        found.patients[uid] = "\n".join(header.patient).strip() or uid


def _present(found: _Found, path: Path, uids: tuple[str, ...]) -> list[str]:
    here = [uid for uid in dict.fromkeys(uids) if uid in found.folders]
    if not here:
        cure = "Give the folder that holds both, or list the pairs in a dataset.json"
        raise InputError("the series that it was drawn on is not here", where=path, expected=", ".join(uids), cure=cure)
    return here


def _once(found: _Found, pairs: list[tuple[str, Path]]) -> list[tuple[str, Path]]:
    drawn: dict[str, Path] = {}
    for uid, path in pairs:
        if drawn.setdefault(uid, path) != path:
            cure = "Leave one of them, or list the pairs in a dataset.json"
            raise InputError("a series has two outlines", where=path, got=drawn[uid], cure=cure)
        for folder in sorted(found.folders[uid]):
            if len(found.series[folder]) > 1:
                cure = "Give each series a folder of its own"
                raise InputError(f"{len(found.series[folder])} series lie in one folder", where=folder, cure=cure)
    return pairs


def _case(found: _Found, root: Path, uid: str, path: Path) -> Case:
    folders = sorted(found.folders[uid])
    both = Path(os.path.commonpath([*folders, path.parent])).relative_to(root)
    name = "_".join(both.parts) or folders[0].name
    image = str(folders[0]) if len(folders) == 1 else [str(folder) for folder in folders]
    return {"image": image, "label": str(path), "name": name, "patient": found.patients[uid]}
