"""A DICOM Segmentation (PS3.3 A.51) as a label map by itself, without the image that it was made from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from highdicom.color import CIELabColor

from pipeline.dicom.datasets import reading
from pipeline.dicom.elements import first_item, number, text
from pipeline.dicom.labels.frames import held_pixels, open_segmentation
from pipeline.dicom.labels.grid import Grid, overlay
from pipeline.dicom.labels.label_map import LabelMap
from pipeline.dicom.labels.segments import check_numbers, label_values
from pipeline.dicom.reading.geometry import DRIFT_TOLERANCE, JITTER_MM
from pipeline.dicom.segment import Code, Segment
from pipeline.errors import InputError
from pipeline.space import swap_lps_ras

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from pydicom.dataset import Dataset

    from pipeline.dicom.labels.frames import Frame
    from pipeline.dicom.labels.grid import Bools, Floats

__all__ = ["read_segment_descriptions", "read_segmentation"]

LabelArray: TypeAlias = "np.ndarray[tuple[int, ...], np.dtype[np.uint8 | np.uint16]]"
Indices: TypeAlias = "np.ndarray[tuple[int, ...], np.dtype[np.intp]]"

TISSUE: Code = ("85756007", "SCT", "Tissue")
"""For what is not coded."""

_BACKGROUND = ("125040", "DCM")  # PS3.16 CID 7150
_DIRECTION_TOLERANCE = 1e-4
_CURE = "Give the image that it was made from with --reference"


def read_segmentation(path: str | os.PathLike[str]) -> LabelMap:
    """Read a SEG file on the grid that its own frames make.

    The label values are those that the segments were made of, or else their numbers. The slices are in the order in
    which :class:`pipeline.dicom.DicomSeriesReader` gives an image. Frames between the first and the last one that are
    not stored are empty. Where segments overlap the one with the higher number wins, and the log tells.

    Args:
        path: BINARY, FRACTIONAL (held from one half of the maximum on) or LABELMAP (PS3.3 C.8.20.2).

    Returns:
        uint8, or uint16 where a value is above 255, with axes (i, j, k) = (column, row, slice).

    Raises:
        InputError: the file cannot be read, or its frames are not the slices of one evenly spaced volume.
    """
    path = Path(path)
    with reading(path):
        seg, frames = open_segmentation(path)
        items = _foreground(seg)
        grid, planes = _grid(frames, seg, path)
        read = _label_map if seg.SegmentationType == "LABELMAP" else _overlaid
        values = label_values(seg, items)
        return LabelMap(
            labels=_renumbered(read(seg, frames, planes, grid, path), values or {}),
            affine=grid.affine,
            segments=_segments(items, values),
            partial=True,
            numbered=values is None,
            frame_of_reference_uid=grid.frame_of_reference_uid,
        )


def read_segment_descriptions(path: str | os.PathLike[str]) -> tuple[tuple[Segment, ...], bool]:
    """Return what the segments of a SEG file mean, and whether their values are but their numbers.

    The values are those of :func:`read_segmentation`; the background is left out.

    Raises:
        InputError: the file cannot be read.
    """
    path = Path(path)
    with reading(path):
        seg, _ = open_segmentation(path)
        items = _foreground(seg)
        values = label_values(seg, items)
        return _segments(items, values), values is None


def _foreground(seg: Any) -> list[Dataset]:
    """Return the items of the segments; a label map describes its background as well (C.8.20.2.7)."""
    items = [item for item in seg.SegmentSequence if item.SegmentNumber != 0]
    kept = [item for item in items if _code(item, "SegmentedPropertyTypeCodeSequence")[:2] != _BACKGROUND]
    return sorted(kept, key=lambda item: int(item.SegmentNumber))


def _segments(items: Sequence[Dataset], values: Mapping[int, int] | None) -> tuple[Segment, ...]:
    numbers = [int(item.SegmentNumber) for item in items]
    return tuple(
        _segment(item, (values or {}).get(number, number)) for item, number in zip(items, numbers, strict=True)
    )


def _renumbered(labels: LabelArray, values: Mapping[int, int]) -> LabelArray:
    """Return the label values in place of the segments' numbers."""
    if all(number == value for number, value in values.items()):
        return labels
    largest = max(values.values())
    table = np.zeros(int(max(values)) + 1, dtype=np.uint8 if largest <= np.iinfo(np.uint8).max else np.uint16)
    for segment, value in values.items():
        table[segment] = value
    renumbered: LabelArray = table[labels]
    return renumbered


def _segment(item: Dataset, value: int) -> Segment:
    types = first_item(item, "SegmentedPropertyTypeCodeSequence")
    modified = types is not None and "SegmentedPropertyTypeModifierCodeSequence" in types
    color = item.get("RecommendedDisplayCIELabValue")
    rgb = None if color is None else CIELabColor.from_dicom_value(list(color)).to_rgb(clip=True)
    return Segment(
        value=value,
        name=" ".join(str(item.get("SegmentLabel") or "").split())[:64] or f"Segment {value}",
        category=_code(item, "SegmentedPropertyCategoryCodeSequence"),
        property_type=_code(item, "SegmentedPropertyTypeCodeSequence"),
        modifier=_code(types, "SegmentedPropertyTypeModifierCodeSequence") if modified and types is not None else None,
        color=None if rgb is None else (round(rgb[0]), round(rgb[1]), round(rgb[2])),
    )


def _code(dataset: Dataset, keyword: str) -> Code:
    item = first_item(dataset, keyword)
    if item is None:
        return TISSUE
    value = item.get("CodeValue") or item.get("LongCodeValue") or item.get("URNCodeValue") or ""
    scheme = item.get("CodingSchemeDesignator") or ""
    return (str(value), str(scheme), str(item.get("CodeMeaning") or "")) if value else TISSUE


def _grid(frames: Sequence[Frame], seg: Any, path: Path) -> tuple[Grid, Indices]:
    """Return the grid of the frames, and for each of them its slice."""
    first = frames[0]
    alike = all(
        np.abs(frame.orientation - first.orientation).max() <= _DIRECTION_TOLERANCE
        and np.allclose(frame.spacing, first.spacing, rtol=1e-3)
        for frame in frames
    )
    if not alike:
        raise InputError("the frames differ in direction or pixel spacing", where=path, cure=_CURE)
    row, column = first.orientation
    normal = np.cross(column, row)  # against which the slices go, see Stack
    normal /= np.linalg.norm(normal)
    positions = np.array([frame.position for frame in frames])
    along = positions @ normal
    heights, members = _planes(along)
    step, numbers = _steps(heights, seg, path)
    planes = numbers[members]
    origin, last = positions[np.argmin(along)], positions[np.argmax(along)]
    between = normal * step
    way = last - origin
    if np.linalg.norm(way - numbers[-1] * between) > 2 * JITTER_MM:  # slices that drift, or a tilted gantry
        between = way / numbers[-1]
    away = np.abs(positions - origin - planes[:, np.newaxis] * between).max(axis=1)
    worst = int(np.argmax(away))
    allowed = max(DRIFT_TOLERANCE * min(step, *first.spacing), 2 * JITTER_MM)
    if away[worst] > allowed:
        raise InputError(
            "the frames are not stacked evenly",
            where=path,
            expected=f"positions within {allowed:.3g} mm of a grid",
            got=f"{away[worst]:.3g} mm in frame {frames[worst].number}",
            cure=_CURE,
        )
    affine = np.eye(4)
    axes = np.stack([row * first.spacing[1], column * first.spacing[0], between], axis=1)
    affine[:3, :3], affine[:3, 3] = swap_lps_ras(axes, affine=True), swap_lps_ras(origin)
    grid = Grid(
        shape=(int(seg.Columns), int(seg.Rows), int(numbers[-1]) + 1),
        affine=affine,
        frame_of_reference_uid=text(seg, "FrameOfReferenceUID"),
    )
    return grid, planes


def _planes(along: Floats) -> tuple[Floats, Indices]:
    """Return the different places along the normal in order, and for each frame which of them is its own."""
    order = np.argsort(along, kind="stable")
    starts = np.diff(along[order], prepend=-np.inf) > JITTER_MM
    members = np.empty(len(along), dtype=np.intp)
    members[order] = np.cumsum(starts) - 1
    return along[order][starts], members


def _steps(heights: Floats, seg: Any, path: Path) -> tuple[float, Indices]:
    """Return the step between slices in mm, and the number of the slice at each height.

    Empty frames may be left out: the step is the one that the file states where the heights are whole multiples of
    it, else the smallest that occurs.
    """
    measures = first_item(seg.SharedFunctionalGroupsSequence[0], "PixelMeasuresSequence")
    measures = measures or first_item(seg.PerFrameFunctionalGroupsSequence[0], "PixelMeasuresSequence")
    stated = None if measures is None else number(measures, "SpacingBetweenSlices", path)
    if len(heights) == 1:
        thickness = None if measures is None else number(measures, "SliceThickness", path)
        return abs(stated or thickness or 1.0), np.zeros(1, dtype=np.intp)
    steps = np.diff(heights)
    for step in (abs(stated or 0.0), float(steps.min())):
        counts = np.rint(steps / step) if step > 0 else np.zeros(len(steps))
        numbers = np.concatenate([[0], np.cumsum(counts)]).astype(np.intp)
        if counts.min() < 1:
            continue
        fitted = float((heights[-1] - heights[0]) / numbers[-1])
        if np.abs(heights - heights[0] - fitted * numbers).max() <= max(DRIFT_TOLERANCE * fitted, 2 * JITTER_MM):
            return fitted, numbers
    raise InputError(
        "the frames are not evenly spaced",
        where=path,
        expected=f"whole multiples of {steps.min():.3f} mm between them",
        got=f"{steps.min():.3f} to {steps.max():.3f} mm",
        cure=_CURE,
    )


def _label_map(seg: Any, frames: Sequence[Frame], planes: Indices, grid: Grid, path: Path) -> LabelArray:
    """Return the stored values of a LABELMAP; its background is 0."""
    known = np.array([0, *(int(item.SegmentNumber) for item in _foreground(seg))])
    background = sorted({int(item.SegmentNumber) for item in seg.SegmentSequence} - set(known.tolist()))
    dtype = np.uint8 if known.max() <= np.iinfo(np.uint8).max else np.uint16
    labels = np.zeros(grid.shape, dtype=dtype)
    for frame, k in zip(frames, planes, strict=True):
        stored = seg.get_stored_frame(frame.number)
        stored = np.where(np.isin(stored, background), 0, stored)
        unknown = np.setdiff1d(stored, known)
        if unknown.size:
            raise InputError("values that no segment describes", where=path, got=unknown[:5].tolist())
        labels[:, :, k] = np.where(stored.T != 0, stored.T, labels[:, :, k])
    return labels


def _overlaid(seg: Any, frames: Sequence[Frame], planes: Indices, grid: Grid, path: Path) -> LabelArray:
    numbers = [int(item.SegmentNumber) for item in _foreground(seg)]
    check_numbers(numbers, path)

    def mask(segment: int) -> Bools:
        held: Bools = np.zeros(grid.shape, dtype=bool)
        for frame, k in zip(frames, planes, strict=True):
            if frame.segment == segment:
                held[:, :, k] |= held_pixels(seg, frame, segment).T
        return held

    return overlay(((segment, mask(segment)) for segment in numbers), grid, path)
