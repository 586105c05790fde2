"""Size and intensity of the labelled regions of one image."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from scipy.ndimage import find_objects
from scipy.spatial import ConvexHull, QhullError
from scipy.spatial.distance import cdist

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Region", "measure_regions", "voxel_ml"]

Array: TypeAlias = "np.ndarray[tuple[int, ...], np.dtype[Any]]"
Bools: TypeAlias = "np.ndarray[tuple[int, ...], np.dtype[np.bool_]]"
Floats: TypeAlias = "np.ndarray[tuple[int, ...], np.dtype[np.float64]]"
Point: TypeAlias = "tuple[float, float, float]"

_ML_PER_MM3 = 1e-3
_FEW_POINTS = 64  # for so many, all distances cost less than their convex hull
_CHUNK = 1024


@dataclass(frozen=True, kw_only=True)
class Region:
    """What is measured of one label.

    Attributes:
        voxels: their number.
        volume_ml: voxels x volume of a voxel.
        mean: of the image's values, in its units; None without an image, and where a value is not finite.
        standard_deviation: of the image's values: the root of their mean squared distance from the mean.
        largest_diameter_mm: the largest distance between the centres of two voxels (maximum Feret diameter in 3D).
        long_axis_mm: the largest such distance within one slice, which RECIST 1.1 calls the longest diameter.
        long_axis_slice: its slice, counted from 0; of equals the first.
        long_axis_ends_mm: the centres of the two voxels, RAS.
        centroid_mm: the mean of the voxels' centres, RAS.
    """

    voxels: int = 0
    volume_ml: float = 0.0
    mean: float | None = None
    standard_deviation: float | None = None
    largest_diameter_mm: float | None = None
    long_axis_mm: float | None = None
    long_axis_slice: int | None = None
    long_axis_ends_mm: tuple[Point, Point] | None = None
    centroid_mm: Point | None = None


def measure_regions(
    labels: Array, *, affine: Floats, values: Sequence[int], image: Array | None = None
) -> dict[int, Region]:
    """Measure what each label value covers.

    The diameters are of the whole label, even where it has several parts.

    Args:
        labels: integers of at least 0, axes (i, j, k) = (column, row, slice).
        affine: 4x4, voxel (i, j, k) to RAS mm.
        values: the label values wanted, each at least 1.
        image: the values to describe, of the labels' shape.

    Returns:
        For each value its region, in the order given; one without voxels has a volume of 0 and no more.
    """
    boxes = find_objects(labels, max_label=max(values, default=0))
    return {value: _region(labels, boxes[value - 1], value, np.asarray(affine, float), image) for value in values}


def voxel_ml(affine: Floats) -> float:
    """Return the volume of a voxel in ml; the affine (4x4, to mm) may be sheared or left-handed."""
    return abs(float(np.linalg.det(np.asarray(affine, float)[:3, :3]))) * _ML_PER_MM3


def _region(labels: Array, box: tuple[slice, ...] | None, value: int, affine: Floats, image: Array | None) -> Region:
    if box is None:
        return Region()
    mask = labels[box] == value
    origin = np.array([part.start for part in box])
    voxels = int(np.count_nonzero(mask))
    mean, deviation = (None, None) if image is None else _intensity(image[box][mask])
    long_axis, ends = _long_axis(mask, affine)
    places = np.array(np.nonzero(mask)).mean(axis=1)
    return Region(
        voxels=voxels,
        volume_ml=voxels * voxel_ml(affine),
        mean=mean,
        standard_deviation=deviation,
        largest_diameter_mm=_farthest(_outermost(mask), affine)[0],
        long_axis_mm=long_axis,
        long_axis_slice=int(ends[0, 2] + origin[2]),
        long_axis_ends_mm=(_point(ends[0] + origin, affine), _point(ends[1] + origin, affine)),
        centroid_mm=_point(places + origin, affine),
    )


def _intensity(values: Array) -> tuple[float | None, float | None]:
    values = values.astype(np.float64)
    if not np.isfinite(values).all():
        return None, None
    return float(values.mean()), float(values.std())


def _point(voxel: Floats, affine: Floats) -> Point:
    x, y, z = (float(value) for value in affine[:3, :3] @ voxel + affine[:3, 3])
    return x, y, z


def _outermost(mask: Bools) -> Floats:
    """Return the voxels (n, axes) that are the first or the last of their line along each axis.

    The corners of the convex hull are among them.
    """
    ends = mask
    for axis in range(mask.ndim):
        first = np.cumsum(mask, axis=axis, dtype=np.int32) == 1
        last = np.flip(np.cumsum(np.flip(mask, axis), axis=axis, dtype=np.int32), axis) == 1
        ends = ends & (first | last)
    return np.argwhere(ends).astype(np.float64)


def _farthest(voxels: Floats, affine: Floats) -> tuple[float, Floats]:
    """Return the largest distance in mm between voxels (n, 3), and the two (2, 3) that are so far apart."""
    if len(voxels) > _FEW_POINTS:
        spread = voxels[:, np.ptp(voxels, axis=0) > 0]  # a flat hull has no volume
        with suppress(QhullError, ValueError):  # all on one line or in an oblique plane: then they are few
            voxels = voxels[ConvexHull(spread).vertices]
    points = voxels @ affine[:3, :3].T
    largest, pair = -1.0, (0, 0)
    for start in range(0, len(points), _CHUNK):
        distances = cdist(points[start : start + _CHUNK], points)
        place = int(distances.argmax())
        if distances.flat[place] > largest:
            row, column = divmod(place, len(points))
            largest, pair = float(distances.flat[place]), (start + row, column)
    return largest, voxels[list(pair)]


def _long_axis(mask: Bools, affine: Floats) -> tuple[float, Floats]:
    """Return the largest in-plane distance in mm and the two voxels (2, 3) that are so far apart."""
    best = -1.0
    ends: Floats = np.zeros((2, 3))
    for k in np.flatnonzero(mask.any(axis=(0, 1))):
        voxels = np.insert(_outermost(mask[:, :, k]), 2, float(k), axis=1)
        length, pair = _farthest(voxels, affine)
        if length > best:
            best, ends = length, pair
    return best, ends
