"""The frames of a DICOM Segmentation (PS3.3 A.51): opened, and each in its place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from highdicom.seg import Segmentation
from pydicom.dataset import Dataset

from pipeline.dicom.datasets import read_dataset
from pipeline.dicom.elements import COPY_AGAIN, first_item, numbers, text
from pipeline.dicom.sop_classes import SEGMENTATIONS, kind_name, with_article
from pipeline.errors import InputError
from pipeline.memory import check_fits

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pipeline.dicom.labels.grid import Bools, Floats

__all__ = ["FRACTION", "Frame", "held_pixels", "open_segmentation"]

FRACTION = 0.5
"""A fractional segment holds a voxel where it has at least this part of MaximumFractionalValue."""

_TYPES = ("BINARY", "FRACTIONAL", "LABELMAP")
_DIRECTION_TOLERANCE = 1e-3


@dataclass(frozen=True, eq=False)
class Frame:
    """The place of one frame (PS3.3 C.7.6.16): LPS mm, and its segment, or None where the pixels tell."""

    number: int
    segment: int | None
    position: Floats
    orientation: Floats
    spacing: Floats


def open_segmentation(path: Path) -> tuple[Segmentation, list[Frame]]:
    """Read a SEG file, and the places of its frames.

    Raises:
        InputError: it is of another kind, a frame has no place in the patient or a segment that is not described, or it
            is too large for the memory.
        Exception: one of :data:`pipeline.dicom.elements.READ_ERRORS`.
    """
    dataset = read_dataset(path, pixels=True, force=False)
    kind = text(dataset, "SOPClassUID")
    if kind not in SEGMENTATIONS:
        raise InputError(f"is {with_article(kind_name(kind))}, not a segmentation", where=path)
    check_fits((int(dataset.Columns), int(dataset.Rows), int(dataset.NumberOfFrames)), 1, where=path)
    frames = _frames(dataset, path)
    _check_segments(dataset, frames, path)
    return Segmentation.from_dataset(dataset, copy=False), frames


def _check_segments(dataset: Dataset, frames: Sequence[Frame], path: Path) -> None:
    """Refuse a mask that would be empty, or full, only because the file contradicts itself (PS3.3 C.8.20.2)."""
    if dataset.SegmentationType not in _TYPES:
        what = "unknown SegmentationType"
        raise InputError(what, where=path, expected=" or ".join(_TYPES), got=repr(str(dataset.SegmentationType)[:16]))
    if dataset.SegmentationType == "FRACTIONAL" and int(dataset.MaximumFractionalValue) < 1:
        raise InputError("MaximumFractionalValue is not positive", where=path, got=dataset.MaximumFractionalValue)
    numbers = _segment_numbers(dataset, path)
    unknown = sorted({frame.segment for frame in frames if frame.segment is not None} - set(numbers))
    if unknown:
        raise InputError(
            "frames are of segments that are not described", where=path, expected=f"of {numbers[:9]}", got=unknown[:9]
        )


def _segment_numbers(dataset: Dataset, path: Path) -> list[int]:
    numbers = [int(item.SegmentNumber) for item in dataset.SegmentSequence]
    least = 0 if dataset.SegmentationType == "LABELMAP" else 1
    if not numbers or len(set(numbers)) < len(numbers) or min(numbers) < least:
        expected = f"each once, from {least} on"
        raise InputError("the numbers of its segments cannot be used", where=path, expected=expected, got=numbers[:9])
    return numbers


def _frames(seg: Dataset, path: Path) -> list[Frame]:
    shared = first_item(seg, "SharedFunctionalGroupsSequence") or Dataset()
    groups = seg.get("PerFrameFunctionalGroupsSequence") or ()
    if len(groups) != int(seg.NumberOfFrames):
        raise InputError(
            "its frames are not described one by one (PerFrameFunctionalGroupsSequence)",
            where=path,
            expected=f"{seg.NumberOfFrames} items",
            got=len(groups),
            cure=COPY_AGAIN,
        )
    return [_frame(own, shared, number, path, of_segments=seg.SegmentationType != "LABELMAP")
            for number, own in enumerate(groups, start=1)]  # fmt: skip


def _frame(own: Dataset, shared: Dataset, number: int, path: Path, *, of_segments: bool) -> Frame:
    def macro(keyword: str) -> Dataset:
        item = first_item(own, keyword) or first_item(shared, keyword)
        if item is None:
            raise InputError(f"a frame has no {keyword}, so that its place is unknown", where=path)
        return item

    where = f"{path}, frame {number}"
    position, orientation, spacing = (
        np.array(numbers(macro(sequence), keyword, count, where))
        for sequence, keyword, count in (
            ("PlanePositionSequence", "ImagePositionPatient", 3),
            ("PlaneOrientationSequence", "ImageOrientationPatient", 6),
            ("PixelMeasuresSequence", "PixelSpacing", 2),
        )
    )
    directions = orientation.reshape(2, 3)
    if spacing.min() <= 0 or np.abs(directions @ directions.T - np.eye(2)).max() > _DIRECTION_TOLERANCE:
        raise InputError(
            "PixelSpacing is not positive, or ImageOrientationPatient not two perpendicular unit vectors",
            where=where,
            got=", ".join(f"{value:g}" for value in (*spacing, *orientation)),
        )
    segment = int(macro("SegmentIdentificationSequence").ReferencedSegmentNumber) if of_segments else None
    return Frame(number, segment, position, directions, spacing)


def held_pixels(seg: Any, frame: Frame, segment: int) -> Bools:
    """Return where a frame (row, column) holds a segment."""
    stored = seg.get_stored_frame(frame.number)
    if seg.SegmentationType == "FRACTIONAL":
        held: Bools = stored >= FRACTION * seg.MaximumFractionalValue
    else:
        held = stored == (segment if frame.segment is None else 1)
    return held
