"""DICOM series and the RTSTRUCT or SEG that were drawn on them, found in any tree of folders."""

from __future__ import annotations

import logging
import os
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pydicom

from pipeline.data.inputs import Case, case_name
from pipeline.dicom.sop_classes import LABELS
from pipeline.errors import InputError
from pipeline.sources.kinds import is_dicom
from pipeline.sources.paths import paths_of

__all__ = ["find_outlined"]

_KEYWORDS = ["SOPClassUID", "Rows", "Modality", "SeriesInstanceUID", "PatientID", "PatientName",
             "ReferencedFrameOfReferenceSequence", "ReferencedSeriesSequence"]  # fmt: skip

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
    pairs = [(uid, path) for path, uids in found.outlines.items() for uid in _present(found, path, uids)]
    wanted = [pair for pair in pairs if found.modalities[pair[0]].casefold() == (modality or "").casefold()]
    if wanted and len(wanted) < len(pairs):
        logger.info(
            "%d outlined series of %s; %d of others are left out", len(wanted), modality, len(pairs) - len(wanted)
        )
    cases = sorted((_case(found, root, uid, path) for uid, path in _once(found, wanted or pairs)), key=case_name)
    names = Counter(case["name"] for case in cases)
    for case in cases:
        if names[case["name"]] > 1:  # several series below the folder that holds both
            case["name"] = "_".join(paths_of(case["image"])[0].relative_to(root).parts)
    first: dict[str, str] = {}
    return [{**case, "patient": first.setdefault(str(case["patient"]), case["name"])} for case in cases]


def _note(found: _Found, path: Path) -> None:
    try:
        if not is_dicom(path):
            return
        header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=_KEYWORDS, force=True)
        uid, kind = str(header.get("SeriesInstanceUID") or ""), str(header.get("SOPClassUID") or "")
        referenced = tuple(_referenced(header)) if kind in LABELS else ()
    except Exception:  # noqa: BLE001 - the reader says later, by name, what is wrong with it
        return
    if kind in LABELS:
        found.outlines[path] = referenced
    elif "Rows" in header and uid:
        found.folders[uid].add(path.parent)
        found.series[path.parent].add(uid)
        found.modalities[uid] = str(header.get("Modality") or "")
        found.patients[uid] = f"{header.get('PatientID') or ''}\n{header.get('PatientName') or ''}".strip() or uid


def _referenced(header: Any) -> Iterator[str]:
    """The SeriesInstanceUIDs that an RTSTRUCT (PS3.3 C.8.8.5) or SEG (C.12.1.3) refers to."""
    items = list(header.get("ReferencedSeriesSequence") or ())
    for frame_of_reference in header.get("ReferencedFrameOfReferenceSequence") or ():
        for study in frame_of_reference.get("RTReferencedStudySequence") or ():
            items += study.get("RTReferencedSeriesSequence") or ()
    for item in items:
        yield str(item.get("SeriesInstanceUID") or "")


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
