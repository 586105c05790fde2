"""Segments of a DICOM Segmentation (PS3.3 A.51) as labels on the grid of an image."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from pipeline.dicom.datasets import reading
from pipeline.dicom.elements import text
from pipeline.dicom.labels.frames import held_pixels, open_segmentation
from pipeline.dicom.labels.grid import check_frame_of_reference, find_names, overlay
from pipeline.dicom.reading.geometry import DRIFT_TOLERANCE, JITTER_MM
from pipeline.dicom.segment import value_of_words
from pipeline.errors import InputError

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Sequence

    from pydicom.dataset import Dataset

    from pipeline.dicom.labels.frames import Frame
    from pipeline.dicom.labels.grid import Bools, Grid, LabelNames, Labels

__all__ = ["check_numbers", "label_values", "read_segments"]

Indices: TypeAlias = "np.ndarray[tuple[int, ...], np.dtype[np.intp]]"

PLACE_TOLERANCE_VOXEL = 0.01
"""How far, within its plane, a pixel of a segmentation may lie from the voxel that it is taken for; at least the
rounding of positions. Across the plane it may lie as far as a slice of the image itself may."""

_log = logging.getLogger(__name__)


def read_segments(path: str | os.PathLike[str], *, names: LabelNames | None, grid: Grid) -> Labels:
    """Read segments as a label map.

    Nothing is interpolated: each pixel must lie on a voxel, whichever way the frames are turned, or beyond the image.
    Frames that are not stored are empty. Where labels overlap the later one wins, and the log tells.

    Args:
        path: a SEG file: BINARY, FRACTIONAL (see :data:`~pipeline.dicom.labels.frames.FRACTION`) or LABELMAP (PS3.3
            C.8.20.2).
        names: for each label value the segments, by label in any case or by the code of their property type. With
            None, each segment has the label value that it was made of, or its number where the file does not tell.
        grid: of the image.

    Returns:
        uint8, of the grid's shape.

    Raises:
        InputError: the file cannot be read, a label has no segment, a pixel lies between voxels, a segment lies wholly
            outside the image, or the frame of reference is another.
    """
    path = Path(path)
    with reading(path):
        seg, frames = open_segmentation(path)
        check_frame_of_reference(text(seg, "FrameOfReferenceUID"), grid, path)
        segments = [item for item in seg.SegmentSequence if item.SegmentNumber != 0]  # 0 is a label map's background
        found: dict[int, tuple[int, ...]]
        if names is None:
            numbers = [int(item.SegmentNumber) for item in segments]
            values = label_values(seg, segments) or dict(zip(numbers, numbers, strict=True))
            found = {values[number]: (index,) for index, number in enumerate(numbers)}
            check_numbers(found, path)
        else:
            found = find_names(names, [_answers(item) for item in segments], what="segment", where=path)
        return overlay(
            (
                (value, _union(seg, [segments[index] for index in indices], frames, grid, path))
                for value, indices in found.items()
            ),
            grid,
            path,
        )


def _answers(segment: Dataset) -> list[str]:
    """Return what a segment answers to: its label, and the code of its property type."""
    codes = segment.get("SegmentedPropertyTypeCodeSequence") or ()
    return [str(segment.get("SegmentLabel") or ""), *(str(code.get("CodeValue") or "") for code in codes)]


def label_values(seg: Any, segments: Sequence[Dataset]) -> dict[int, int] | None:
    """Return the label value that each segment was made of, by its number; None where the file does not tell.

    A label map has them for numbers. A binary segmentation may tell them in words, all of them and each once.
    """
    numbers = [int(item.SegmentNumber) for item in segments]
    if seg.SegmentationType == "LABELMAP":
        return dict(zip(numbers, numbers, strict=True))
    told = [value_of_words(str(item.get("SegmentDescription") or "")) for item in segments]
    values = [value for value in told if value is not None]
    return dict(zip(numbers, values, strict=True)) if len(set(values)) == len(numbers) else None


def check_numbers(numbers: Iterable[int], path: Path) -> None:
    """Refuse segment numbers that a label map of 8 bits cannot hold."""
    highest = max(numbers, default=0)
    if highest > np.iinfo(np.uint8).max:
        raise InputError("a segment's number is no label value", where=path, expected="1 to 255", got=highest)


def _union(seg: Any, segments: Sequence[Dataset], frames: Sequence[Frame], grid: Grid, path: Path) -> Bools:
    """Return the voxels of some segments together, of the grid's shape."""
    mask: Bools = np.zeros(grid.shape, dtype=bool)
    for segment in segments:
        number, name = int(segment.SegmentNumber), str(segment.get("SegmentLabel") or "")
        inside = total = 0
        for frame in frames:
            if frame.segment not in (None, number):
                continue
            pixels = held_pixels(seg, frame, number)
            if not pixels.any():
                continue
            rows, columns = np.nonzero(pixels)
            voxels = _place(frame, pixels.shape, grid, path)(rows, columns)
            within = ((voxels >= 0) & (voxels < grid.shape)).all(axis=1)
            mask[tuple(voxels[within].T)] = True
            inside, total = inside + int(within.sum()), total + len(voxels)
        if total and not inside:
            raise InputError(f"segment '{name}' lies wholly outside the image", where=path)
        if inside < total:
            _log.warning("%s: segment '%s': %d of %d voxels lie outside the image", path, name, total - inside, total)
        if not total:
            _log.info("%s: segment '%s' is empty", path, name)
    return mask


def _place(frame: Frame, shape: tuple[int, ...], grid: Grid, path: Path) -> Callable[[Indices, Indices], Indices]:
    """Return the map from rows and columns of a frame to voxels (n, 3), which may lie outside the image."""
    # From one row to the next one goes along the columns, and PixelSpacing has the step between rows first.
    steps = frame.orientation[::-1] * frame.spacing[:, np.newaxis]
    corners = np.array([[row, column] for row in (0, shape[0] - 1) for column in (0, shape[1] - 1)])
    exact = grid.to_voxels(frame.position + corners @ steps)
    origin = grid.to_voxels(frame.position[np.newaxis])
    whole = np.rint(grid.to_voxels(frame.position + steps) - origin).astype(np.intp)
    start = np.rint((exact - corners @ whole).mean(axis=0)).astype(np.intp)
    away_mm = np.abs(exact - start - corners @ whole).max(axis=0) * grid.steps_mm
    normal = np.abs(whole).sum(axis=0) == 0
    part = np.where(normal, DRIFT_TOLERANCE, PLACE_TOLERANCE_VOXEL)
    allowed_mm = np.maximum(part * grid.steps_mm, 2 * JITTER_MM)
    turned = (np.abs(whole).sum(axis=1) == 1).all() and normal.sum() == 1
    if not turned or (away_mm > allowed_mm).any():
        worst = int(np.argmax(away_mm / allowed_mm))
        raise InputError(
            "the segmentation is not on the grid of the image",
            where=path,
            expected=f"pixels within {allowed_mm[worst]:.3g} mm of voxels" if turned else "its spacing and directions",
            got=f"{away_mm[worst]:.3g} mm in frame {frame.number}" if turned else _description(frame, grid),
            cure="Give the image that it was made from",
        )
    return lambda rows, columns: start + np.stack([rows, columns], axis=1) @ whole


def _description(frame: Frame, grid: Grid) -> str:
    one, other = (" x ".join(f"{step:.4g}" for step in steps) for steps in (frame.spacing, grid.steps_mm))
    return f"pixels of {one} mm for voxels of {other} mm, or another direction"
