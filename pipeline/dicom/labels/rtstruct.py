"""Contours of an RT Structure Set (PS3.3 A.19, C.8.8.6) as labels on the grid of an image."""

from __future__ import annotations

import logging
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydicom.uid import RTStructureSetStorage

from pipeline.dicom.datasets import read_dataset, reading
from pipeline.dicom.elements import COPY_AGAIN, raw_value, text, whole_number
from pipeline.dicom.labels.between import gaps_between, interpolate
from pipeline.dicom.labels.grid import check_frame_of_reference, find_names, overlay
from pipeline.dicom.labels.loops import combine
from pipeline.errors import InputError

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator

    from pydicom.dataset import Dataset

    from pipeline.dicom.labels.grid import Bools, Floats, Grid, LabelNames, Labels

__all__ = ["CLOSED", "read_rtstruct", "slice_tolerance_mm"]

SLICE_TOLERANCE = 0.1
"""How far, as a part of the step between slices, a contour may lie from its slice."""

ROUNDING_MM = 0.1
"""How far it may lie where the step is small: planning systems write one decimal. At most a quarter of the step."""

_HALF = 0.5  # of a voxel, from its centre to its border
_EXCLUSIVE = "CLOSEDPLANAR_XOR"
CLOSED = {"CLOSED_PLANAR", _EXCLUSIVE, "INTERPOLATED_PLANAR"}
"""INTERPOLATED_PLANAR is no term of the standard: some programs write it for slices between those that were drawn."""
_FEWEST_POINTS = 3

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Roi:
    name: str
    frame_of_reference_uid: str
    contours: tuple[Dataset, ...]


def slice_tolerance_mm(step_mm: float) -> float:
    """Return how far a contour may lie from the plane of its slice."""
    return max(SLICE_TOLERANCE * step_mm, min(ROUNDING_MM, step_mm / 4))


def read_rtstruct(path: str | os.PathLike[str], *, names: LabelNames, grid: Grid, strict: bool = False) -> Labels:
    """Read ROIs as a label map, as a planning system does.

    A voxel belongs to an ROI where its centre lies within its contours. Those of one plane are combined by
    :func:`pipeline.dicom.labels.loops.combine`: a contour within another and a keyhole are holes (C.8.8.6.3), contours
    that overlap are joined, and one that is drawn twice counts once. The plane may be normal to any axis of the grid.
    Where an ROI is drawn on every second slice, or more rarely, the slices between are interpolated, see
    :func:`pipeline.dicom.labels.between.gaps_between`. Contours of another geometric type, and an ROI outside the image
    beside others within, are left out; a contour that reaches beyond the image is clipped. Where labels overlap the
    later one wins. The log tells of all of these.

    Args:
        path: an RTSTRUCT file.
        names: the ROI names of each label value; an ROI is the label's if one of them is its name, in any case.
        grid: of the image.
        strict: whether to refuse what would be interpolated, joined, clipped, left out or counted once.

    Returns:
        uint8, of the grid's shape.

    Raises:
        InputError: the file cannot be read, a label has no ROI, an ROI has no closed contour, all ROIs lie outside the
            image, a contour lies between slices, or the frame of reference is another.
    """
    path = Path(path)
    with reading(path):
        dataset = read_dataset(path, force=False)
        if text(dataset, "SOPClassUID") != RTStructureSetStorage:
            raise InputError("is not an RT structure set", where=path)
        rois = _rois(dataset)
        found = find_names(names, [[roi.name] for roi in rois], what="ROI", where=path)
        drawing = _Drawing(grid, path, strict=strict)
        masks = {value: drawing.union([rois[index] for index in indices]) for value, indices in found.items()}
        drawing.check_any_inside()
        return overlay(iter(masks.items()), grid, path)


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


class _Drawing:
    """The ROIs of one file on the grid of an image; what is decided on the way is told, or refused."""

    def __init__(self, grid: Grid, path: Path, *, strict: bool) -> None:
        self.grid = grid
        self.path = path
        self.strict = strict
        self.inside: list[str] = []
        self.outside: list[str] = []

    def union(self, rois: Iterable[_Roi]) -> Bools:
        """The voxels of several ROIs."""
        mask: Bools = np.zeros(self.grid.shape, dtype=bool)
        for roi in rois:
            check_frame_of_reference(roi.frame_of_reference_uid, self.grid, self.path)
            self._fill(roi, mask)
        return mask

    def check_any_inside(self) -> None:
        """Refuse a file none of whose wanted ROIs lies in the image, and with ``strict`` one that lies outside.

        Raises:
            InputError: names the first.
        """
        if self.outside and (self.strict or not self.inside):
            raise InputError(
                f"ROI '{self.outside[0]}' lies wholly outside the image",
                where=self.path,
                cure="Give the image that it was drawn on",
            )
        for name in self.outside:
            _log.warning("%s: ROI '%s' lies wholly outside the image and is left out", self.path, name)

    def _tell(self, roi: _Roi, what: str) -> None:
        if self.strict:
            raise InputError(f"ROI '{roi.name}': {what}", where=self.path, cure="Leave --strict out to accept that")
        _log.warning("%s: ROI '%s': %s", self.path, roi.name, what)

    def _fill(self, roi: _Roi, mask: Bools) -> None:
        """Add the voxels of one ROI to a mask."""
        grid = self.grid
        closed = [(kind, grid.to_voxels(points)) for kind, points in self._closed_contours(roi)]
        if not closed:
            raise InputError(
                f"ROI '{roi.name}' has no closed contour", where=self.path, expected="CLOSED_PLANAR contours"
            )
        lower, upper = -_HALF, np.array(grid.shape) - _HALF
        inside = [one for one in closed if (one[1].max(axis=0) >= lower).all() and (one[1].min(axis=0) <= upper).all()]
        (self.inside if inside else self.outside).append(roi.name)
        beyond = sum(_reaches_beyond(contour, upper, grid) for _, contour in closed) if inside else 0
        if beyond:
            self._tell(roi, f"{beyond} of {len(closed)} contours reach beyond the image and are clipped")
        own = self._planes(roi, inside)
        if inside and not any(plane.any() for plane in own.values()):
            _log.warning("%s: ROI '%s' holds the centre of no voxel", self.path, roi.name)
        self._interpolate(roi, own)
        for (axis, index), plane in own.items():
            np.moveaxis(mask, axis, 0)[index] |= plane

    def _planes(self, roi: _Roi, contours: Iterable[tuple[str, Floats]]) -> dict[tuple[int, int], Bools]:
        """The pixels of each plane, by its normal axis and its index on that."""
        planes: dict[tuple[int, int], list[tuple[str, Floats]]] = defaultdict(list)
        for kind, contour in contours:
            axis, index = _plane(contour, self.grid, f"{self.path}: ROI '{roi.name}'")
            planes[axis, index].append((kind, np.delete(contour, axis, axis=1)))
        found, again, joined = {}, 0, 0
        for (axis, index), loops in planes.items():
            shape = tuple(np.delete(self.grid.shape, axis).tolist())
            exclusive = any(kind == _EXCLUSIVE for kind, _ in loops)
            combined = combine([loop for _, loop in loops], (shape[0], shape[1]), exclusive=exclusive)
            found[axis, index] = combined.mask
            again, joined = again + combined.again, joined + combined.joined
        if again:
            self._tell(roi, f"{again} contours are there twice and count once")
        if joined:
            self._tell(roi, f"{joined} contours overlap others of their slice and are joined with them")
        return found

    def _interpolate(self, roi: _Roi, planes: dict[tuple[int, int], Bools]) -> None:
        """Add the planes between those that were drawn, where the ROI is drawn rarely."""
        made, left = 0, 0
        for axis in sorted({axis for axis, _ in planes}):
            steps_mm = np.delete(self.grid.steps_mm, axis).tolist()
            filled, parting = gaps_between([index for one, index in planes if one == axis])
            left += sum(behind - before - 1 for before, behind in parting)
            for before, behind in filled:
                between = interpolate(planes[axis, before], planes[axis, behind], behind - before - 1, steps_mm)
                planes.update({(axis, before + number): plane for number, plane in between.items()})
                made += len(between)
        if made:
            self._tell(roi, f"{made} slices between its contours are interpolated")
        if left:
            _log.info("%s: ROI '%s': %d slices between its contours stay empty", self.path, roi.name, left)

    def _closed_contours(self, roi: _Roi) -> Iterator[tuple[str, Floats]]:
        """Give the type and the points (n, 3), LPS mm, of each closed contour."""
        ignored: dict[str, int] = defaultdict(int)
        for contour in roi.contours:
            kind = text(contour, "ContourGeometricType")
            if kind not in CLOSED:
                ignored[f"{kind or 'untyped'} contours"] += 1
                continue
            points = _points(contour, roi, self.path)
            if len(points) < _FEWEST_POINTS:
                ignored["contours of less than three points"] += 1
                continue
            yield kind, points
        for kind, count in ignored.items():
            if self.strict:
                self._tell(roi, f"{count} {kind} left out")
            _log.info("%s: ROI '%s': %d %s left out", self.path, roi.name, count, kind)


def _points(contour: Dataset, roi: _Roi, path: Path) -> Floats:
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
    points: Floats = values.reshape(-1, 3)
    return points


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
