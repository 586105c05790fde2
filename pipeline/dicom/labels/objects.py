"""Label maps out of whatever DICOM keeps outlines in."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from pydicom.dataset import FileDataset
from pydicom.uid import RTStructureSetStorage

from pipeline.dicom.datasets import read_dataset, reading
from pipeline.dicom.elements import text
from pipeline.dicom.labels.rtstruct import read_rtstruct
from pipeline.dicom.labels.segments import read_segments
from pipeline.dicom.sop_classes import SEGMENTATIONS
from pipeline.errors import InputError

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from pydicom.dataset import Dataset

    from pipeline.dicom.labels.grid import Grid, LabelNames, Labels

__all__ = ["read_labels", "referenced_series"]

_KEYWORDS = ["SOPClassUID", "ReferencedFrameOfReferenceSequence", "ReferencedSeriesSequence"]

_log = logging.getLogger(__name__)


def read_labels(path: str | os.PathLike[str], *, names: LabelNames, grid: Grid) -> Labels:
    """Read an RTSTRUCT or SEG file as a label map.

    Args:
        path: the file.
        names: the names of the ROIs or segments of each label value (1 to 255).
        grid: of the image.

    Returns:
        uint8, of the grid's shape.

    Raises:
        InputError: see :func:`read_rtstruct` and :func:`read_segments`; or the file is neither.
    """
    path = Path(path)
    header = _header(path)
    kind, drawn_on = text(header, "SOPClassUID"), _referenced(header, path)
    if grid.series_uid and drawn_on and grid.series_uid not in drawn_on:
        _log.warning("%s: was made on another series (%s) than the image", path, ", ".join(drawn_on))
    if kind == RTStructureSetStorage:
        return read_rtstruct(path, names=names, grid=grid)
    if kind in SEGMENTATIONS:
        return read_segments(path, names=names, grid=grid)
    raise InputError("holds no labels", where=path, expected="an RTSTRUCT or SEG")


def referenced_series(source: str | os.PathLike[str] | FileDataset) -> tuple[str, ...]:
    """Return the SeriesInstanceUIDs of the images that an RTSTRUCT (PS3.3 C.8.8.5) or SEG (C.12.1.3) was made on.

    ``choose(scan(folder), referenced_series(path)[0])`` finds the image.

    Args:
        source: the file, or what was read of it.

    Raises:
        InputError: the file cannot be read.
    """
    if isinstance(source, FileDataset):
        return _referenced(source, Path(str(source.filename)))
    return _referenced(_header(Path(source)), Path(source))


def _referenced(header: Dataset, path: Path) -> tuple[str, ...]:
    with reading(path):
        uids = [text(item, "SeriesInstanceUID") for item in _series_items(header)]
    return tuple(dict.fromkeys(filter(None, uids)))


def _header(path: Path) -> Dataset:
    return read_dataset(path, keywords=_KEYWORDS, force=False)


def _series_items(dataset: Dataset) -> Iterator[Dataset]:
    yield from dataset.get("ReferencedSeriesSequence") or ()
    for frame_of_reference in dataset.get("ReferencedFrameOfReferenceSequence") or ():
        for study in frame_of_reference.get("RTReferencedStudySequence") or ():
            yield from study.get("RTReferencedSeriesSequence") or ()
