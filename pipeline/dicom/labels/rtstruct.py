"""Contours of an RT Structure Set (PS3.3 A.19, C.8.8.6) as labels on the grid of an image."""

from __future__ import annotations

import logging
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pydicom
from pydicom.uid import RTStructureSetStorage

from pipeline.dicom.elements import COPY_AGAIN, raw_value, text, whole_number
from pipeline.dicom.labels.grid import check_frame_of_reference, find_names, overlay, reading
from pipeline.dicom.labels.polygons import fill_polygons
from pipeline.errors import InputError

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator

    from pydicom.dataset import Dataset

    from pipeline.dicom.labels.grid import Bools, Floats, Grid, LabelNames, Labels

__all__ = ["read_rtstruct", "slice_tolerance_mm"]

SLICE_TOLERANCE = 0.1
"""How far, as a part of the step between slices, a contour may lie from its slice."""

ROUNDING_MM = 0.1
"""How far it may lie where the step is small: planning systems write one decimal. At most a quarter of the step."""

_HALF = 0.5  # of a voxel, from its centre to its border
_CLOSED = {"CLOSED_PLANAR", "CLOSEDPLANAR_XOR"}

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Roi:
    name: str
    frame_of_reference_uid: str
    contours: tuple[Dataset, ...]


def slice_tolerance_mm(step_mm: float) -> float:
    """Return how far a contour may lie from the plane of its slice."""
    return max(SLICE_TOLERANCE * step_mm, min(ROUNDING_MM, step_mm / 4))


def read_rtstruct(path: str | os.PathLike[str], *, names: LabelNames, grid: Grid) -> Labels:
    """Read ROIs as a label map.

    A voxel belongs to an ROI where its centre lies within its contours, by :func:`fill_polygons`: all closed contours
    of one plane go by the even-odd rule, so that contours within contours and keyholes are holes (C.8.8.6.3). The
    plane may be normal to any axis of the grid. Contours of another geometric type are left out. Where labels overlap
    the later one wins. A contour that reaches beyond the image is clipped. The log tells of all of these.

    Args:
        path: an RTSTRUCT file.
        names: the ROI names of each label value; an ROI is the label's if one of them is its name, in any case.
        grid: of the image.

    Returns:
        uint8, of the grid's shape.

    Raises:
        InputError: the file cannot be read, a label has no ROI, an ROI has no closed contour or lies outside the
            image, a contour lies between slices, or the frame of reference is another.
    """
    path = Path(path)
    with reading(path):
        dataset = pydicom.dcmread(path)
        if text(dataset, "SOPClassUID") != RTStructureSetStorage:
            raise InputError("is not an RT structure set", where=path)
        rois = _rois(dataset)
        found = find_names(names, [[roi.name] for roi in rois], what="ROI", where=path)
        return overlay(
            ((value, _union((rois[index] for index in indices), grid, path)) for value, indices in found.items()),
            grid,
            path,
        )


def _rois(dataset: Dataset) -> list[_Roi]:
    """Join the names of the ROIs with their contours, which stand in another sequence."""
    contours: dict[int | None, list[Dataset]] = defaultdict(list)
    for item in dataset.get("ROIContourSequence") or ():
        contours[whole_number(item, "ReferencedROINumber")] += item.get("ContourSequence") or ()
    frames = {text(item, "FrameOfReferenceUID") for item in dataset.get("ReferencedFrameOfReferenceSequence") or ()}
    only = frames.pop() if len(frames) == 1 else ""
    return [
        _Roi(
            " ".join(str(item.get("ROIName") or "").split()),
            text(item, "ReferencedFrameOfReferenceUID") or only,
            tuple(contours[whole_number(item, "ROINumber")]),
        )
        for item in dataset.get("StructureSetROISequence") or ()
    ]


def _union(rois: Iterable[_Roi], grid: Grid, path: Path) -> Bools:
    mask: Bools = np.zeros(grid.shape, dtype=bool)
    for roi in rois:
        check_frame_of_reference(roi.frame_of_reference_uid, grid, path)
        _fill(roi, grid, path, mask)
    return mask


def _fill(roi: _Roi, grid: Grid, path: Path, mask: Bools) -> None:
    """Add the voxels of one ROI to a mask."""
    closed = [grid.to_voxels(points) for points in _closed_contours(roi, path)]
    if not closed:
        raise InputError(f"ROI '{roi.name}' has no closed contour", where=path, expected="CLOSED_PLANAR contours")
    lower, upper = -_HALF, np.array(grid.shape) - _HALF
    inside = [one for one in closed if (one.max(axis=0) >= lower).all() and (one.min(axis=0) <= upper).all()]
    if not inside:
        raise InputError(
            f"ROI '{roi.name}' lies wholly outside the image", where=path, cure="Give the image that it was drawn on"
        )
    planes: dict[tuple[int, int], list[Floats]] = defaultdict(list)
    for contour in inside:
        axis, index = _plane(contour, grid, f"{path}: ROI '{roi.name}'")
        planes[axis, index].append(np.delete(contour, axis, axis=1))
    beyond = sum(_reaches_beyond(contour, upper, grid) for contour in closed)
    if beyond:
        _log.warning("%s: ROI '%s': %d of %d contours reach beyond the image and are clipped", path, roi.name, beyond,
                     len(closed))  # fmt: skip
    voxels = 0
    for (axis, index), polygons in planes.items():
        plane = np.moveaxis(mask, axis, 0)[index]
        filled = fill_polygons(_each_once(polygons, roi, path), (plane.shape[0], plane.shape[1]))
        voxels += int(filled.sum())
        plane |= filled
    if not voxels:
        _log.warning("%s: ROI '%s' holds the centre of no voxel", path, roi.name)


def _closed_contours(roi: _Roi, path: Path) -> Iterator[Floats]:
    """Give the points (n, 3) of closed contours, LPS mm."""
    ignored: dict[str, int] = defaultdict(int)
    for contour in roi.contours:
        kind = text(contour, "ContourGeometricType")
        if kind not in _CLOSED:
            ignored[kind or "untyped"] += 1
            continue
        try:
            values = np.array(raw_value(contour, "ContourData").rstrip(b" \0").split(b"\\"), dtype=np.float64)
        except ValueError:
            values = np.full(1, np.nan)
        if values.size % 3 or not np.isfinite(values).all():
            raise InputError(
                f"ROI '{roi.name}' has a contour without whole points",
                where=path,
                expected="three numbers each",
                cure=COPY_AGAIN,
            )
        yield values.reshape(-1, 3)
    for kind, count in ignored.items():
        _log.info("%s: ROI '%s': %d %s contours left out", path, roi.name, count, kind)


def _plane(contour: Floats, grid: Grid, where: str) -> tuple[int, int]:
    """Return the axis that is normal to the plane of a contour (n, 3), in voxels, and its slice on that axis."""
    low, high = contour.min(axis=0), contour.max(axis=0)
    spread_mm = np.round((high - low) * grid.steps_mm, 3)
    axis = min((2, 1, 0), key=lambda one: float(spread_mm[one]))  # of equals the last, where contours are drawn
    step = float(grid.steps_mm[axis])
    index = int(np.clip(np.round((low[axis] + high[axis]) / 2), 0, grid.shape[axis] - 1))
    away_mm = max(high[axis] - index, index - low[axis]) * step
    allowed = slice_tolerance_mm(step)
    if spread_mm[axis] > 2 * allowed:
        raise InputError(
            "a contour lies in no plane of the image's voxels",
            where=where,
            expected=f"all points within {allowed:.3g} mm of one slice",
            got=f"points {spread_mm[axis]:.3g} mm apart across the slices",
            cure="Give the image that it was drawn on",
        )
    if away_mm > allowed:
        raise InputError(
            "a contour lies between the slices",
            where=where,
            expected=f"at most {allowed:.3g} mm from slice {index + 1}",
            got=f"{away_mm:.3g} mm",
            cure="Give the image that it was drawn on",
        )
    return axis, index


def _reaches_beyond(contour: Floats, upper: Floats, grid: Grid) -> bool:
    """Whether a contour leaves the extents of the voxels by more than the rounding of its points."""
    slack = 1e-3 / grid.steps_mm
    return bool((contour < -_HALF - slack).any() or (contour > upper + slack).any())


def _each_once(polygons: list[Floats], roi: _Roi, path: Path) -> list[Floats]:
    """Leave out exact copies: two would cancel each other."""
    unique = {polygon.tobytes(): polygon for polygon in polygons}
    if len(unique) < len(polygons):
        _log.warning("%s: ROI '%s': %d contours are there twice", path, roi.name, len(polygons) - len(unique))
    return list(unique.values())
