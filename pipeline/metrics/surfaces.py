"""Exact distances between the surfaces of two masks.

Two definitions of a surface are in use. *voxel* (MONAI): the voxels of the mask that have a background voxel, or the
image's outside, as one of their 6 (in 2D 4) face neighbours; each counts once, at its centre. *surface_element*
(Nikolov et al. 2021, and their package surface-distance): the corners between 8 (in 2D 4) voxels of which some, not
all, belong to the mask; each counts by the area in mm² (in 2D the length in mm) of the marching cubes surface around
it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["Definition", "SurfaceDistances", "surface_distances"]

Definition = Literal["voxel", "surface_element"]

_Mask = npt.NDArray[np.bool_]
_Floats = npt.NDArray[np.float64]
_Places = npt.NDArray[np.int64]

_NEIGHBOURS = 256  # places around an element that are looked at before the search tree is asked
_WIDTH = 16  # of them at a time,
_LOOKUPS = 2**22  # if the elements are not too many for that
_FEW = 200  # elements: for fewer the tree alone is quicker
_FEW_OF = 8  # a part of the other surface's elements
_VOXELS_PER_SEARCH = 40  # of a distance transform, in the time of one search of the tree
_TIE = 1e-9  # rounding of a distance that equals the tolerance
_TABLE_ROUNDING = 1e-6  # MONAI keeps the areas in float32


class SurfaceDistances(NamedTuple):
    """Distances in mm of each surface element to the other surface, and what the elements count.

    Attributes:
        to_reference: from the elements of the prediction, of shape (P,); infinite where the reference has none.
        to_prediction: from the elements of the reference, of shape (R,); infinite where the prediction has none.
        prediction_weights: of shape (P,), in mm² (in 2D mm); None where each counts once.
        reference_weights: of shape (R,).
    """

    to_reference: _Floats
    to_prediction: _Floats
    prediction_weights: _Floats | None = None
    reference_weights: _Floats | None = None

    def hausdorff(self, percent: float = 100.0) -> float:
        """Hausdorff distance in mm: the larger of the two directed percentiles of the distances.

        Unweighted percentiles are interpolated linearly, as MONAI's and NumPy's; weighted ones are the distance at
        which the sorted weights reach the share, as surface-distance's.

        Returns:
            Infinite where one surface is empty, NaN where both are.
        """
        sides = [(d, w) for d, w in self._sides() if d.size]
        return max((_percentile(d, w, percent) for d, w in sides), default=float("nan"))

    def mean(self) -> float:
        """Average symmetric surface distance in mm: the (weighted) mean over the elements of both surfaces.

        Returns:
            Infinite where one surface is empty, NaN where both are.
        """
        return self._share(lambda distances: distances)

    def surface_dice(self, tolerance_mm: float) -> float:
        """Normalised surface Dice (Nikolov et al. 2021): the share of both surfaces within a tolerance of the other.

        A distance that equals the tolerance but for rounding is within it.

        Returns:
            0 where one surface is empty, NaN where both are.
        """
        return self._share(lambda distances: distances <= tolerance_mm * (1 + _TIE))

    def _sides(self) -> tuple[tuple[_Floats, _Floats | None], tuple[_Floats, _Floats | None]]:
        return (self.to_reference, self.prediction_weights), (self.to_prediction, self.reference_weights)

    def _share(self, value: Callable[[_Floats], _Floats | _Mask]) -> float:
        """The weighted mean of a value of the distances, over the elements of both surfaces."""
        part = whole = 0.0
        for distances, weights in self._sides():
            ones = np.ones(len(distances))
            counted = ones if weights is None else weights
            part += float(np.dot(value(distances), counted))
            whole += float(np.dot(ones, counted))  # summed alike, so that a share of all is 1
        return part / whole if whole else float("nan")


def surface_distances(
    prediction: _Mask, reference: _Mask, spacing_mm: Sequence[float], definition: Definition = "voxel"
) -> SurfaceDistances:
    """Exact Euclidean distances between the surfaces of two masks, in both directions.

    What lies outside the arrays is background. The elements around each surface element are looked up nearest first;
    only those with nothing near them ask a search tree or, where they are many, a distance transform. That is exact in
    float64, and with surfaces close to each other takes time by their size rather than that of the volume.

    Args:
        prediction: bool of shape (X, Y) or (X, Y, Z).
        reference: bool of the same shape.
        spacing_mm: the distance of neighbouring voxels along each axis, in mm.
        definition: which surface, see the module.

    Returns:
        The distances and weights.
    """
    spacing = tuple(float(step) for step in spacing_mm)
    offsets, lengths = _neighbourhood(spacing)
    margin = np.maximum(offsets.max(axis=0), 1)  # no offset leaves the array
    surfaces, weights = [], []
    for mask in (prediction, reference):
        padded = np.pad(mask, [(m, m + 1) for m in margin])  # one more: corners lie on either side of a voxel
        surface, weight = _elements(padded, spacing, definition)
        surfaces.append(surface.ravel())
        weights.append(weight)
    geometry = _Geometry(padded.shape, spacing)
    near = (offsets @ np.array(_strides(padded.shape)), lengths)
    in_prediction, in_reference = (np.flatnonzero(surface) for surface in surfaces)
    return SurfaceDistances(
        _nearest(in_prediction, surfaces[1], in_reference, near, geometry),
        _nearest(in_reference, surfaces[0], in_prediction, near, geometry),
        *weights,
    )


def _elements(padded: _Mask, spacing: tuple[float, ...], definition: Definition) -> tuple[_Mask, _Floats | None]:
    """Where the surface is, in the shape of the mask, and the weight of each of its elements.

    The mask has a margin of background, so that steps along the flat array cannot leave a row unnoticed.
    """
    flat = padded.ravel()
    if definition == "voxel":
        inside = flat.copy()
        for stride in _strides(padded.shape):
            inside[stride:-stride] &= flat[2 * stride :] & flat[: -2 * stride]
        return (flat & ~inside).reshape(padded.shape), None
    areas, kernel = _area_table(spacing)
    codes = np.zeros(flat.size, dtype=np.uint8)
    values = flat.view(np.uint8)
    for place, code in np.ndenumerate(kernel):  # 0 is the voxel before the corner, 1 the one after it
        step = sum(stride * (1 - after) for stride, after in zip(_strides(padded.shape), place, strict=True))
        codes[step:] += values[: flat.size - step] * code
    surface = (codes != 0) & (codes != len(areas) - 1)
    return surface.reshape(padded.shape), areas[codes[surface]]


def _nearest(
    places: _Places, other: _Mask, other_places: _Places, near: tuple[_Places, _Floats], geometry: _Geometry
) -> _Floats:
    """Distance of each place (an index into the flat mask) to the nearest of the other surface."""
    distances = np.full(len(places), np.inf)
    if not len(other_places):
        return distances
    steps, lengths = near
    left = np.arange(len(places))
    start, width = 0, 1
    while start < len(steps) and len(left) >= _FEW:
        found = other[places[left][:, None] + steps[start : start + width]]
        first = found.argmax(axis=1)
        hit = found[np.arange(len(left)), first]
        distances[left[hit]] = lengths[start + first[hit]]
        left = left[~hit]
        start, width = start + width, min(2 * width, _WIDTH, max(1, _LOOKUPS // max(len(left), 1)))
    if len(left):
        rest = places[left]
        by_map = len(left) * _VOXELS_PER_SEARCH > math.prod(geometry.shape)
        distances[left] = geometry.by_map(rest, other) if by_map else geometry.by_tree(rest, other_places)
    return distances


class _Geometry(NamedTuple):
    shape: tuple[int, ...]
    spacing: tuple[float, ...]

    def by_map(self, places: _Places, other: _Mask) -> _Floats:
        """Distances from a distance transform of the whole array, in float64.

        The package edt keeps squares in float32: of distances in this array's 100 mm it is wrong by 1e-5 mm. Its one
        pass over all labels measures to the nearest other label, not to a given label's surface.
        """
        from scipy.ndimage import distance_transform_edt

        transform = distance_transform_edt(~other.reshape(self.shape), sampling=self.spacing)
        distances: _Floats = transform.ravel()[places]
        return distances

    def by_tree(self, places: _Places, other_places: _Places) -> _Floats:
        """Distances from a search tree of the other surface."""
        from scipy.spatial import KDTree

        many = len(places) > len(other_places) // _FEW_OF  # a balanced tree takes longer to build than a few searches
        tree = KDTree(self._points(other_places), balanced_tree=many, compact_nodes=many)
        distances: _Floats = tree.query(self._points(places))[0]
        return distances

    def _points(self, places: _Places) -> _Floats:
        """Positions in mm, of shape (N, axes)."""
        positions: _Floats = np.stack(np.unravel_index(places, self.shape), axis=-1) * np.array(self.spacing)
        return positions


def _percentile(distances: _Floats, weights: _Floats | None, percent: float) -> float:
    if np.isinf(distances[0]):
        return float("inf")
    if weights is None:
        return float(np.percentile(distances, percent))
    order = np.argsort(distances)
    shares = np.cumsum(weights[order])
    place = np.searchsorted(shares, percent / 100 * (1 - _TABLE_ROUNDING) * shares[-1])
    return float(distances[order[place]])


def _strides(shape: tuple[int, ...]) -> list[int]:
    """Steps along each axis in the flat array."""
    return [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]


@lru_cache(maxsize=64)
def _neighbourhood(spacing: tuple[float, ...]) -> tuple[_Places, _Floats]:
    """Every offset up to some distance, nearest first, of shape (N, axes), and their lengths in mm."""
    steps = np.array(spacing)
    volume = math.pi * (4 / 3 if len(spacing) == 3 else 1)  # noqa: PLR2004
    reach = (_NEIGHBOURS * math.prod(spacing) / volume) ** (1 / len(spacing))
    ranges = [np.arange(-n, n + 1) for n in np.floor(reach / steps).astype(int)]
    offsets = np.stack(np.meshgrid(*ranges, indexing="ij"), axis=-1).reshape(-1, len(spacing))
    lengths = np.sqrt(((offsets * steps) ** 2).sum(axis=1))
    order = np.argsort(lengths, kind="stable")
    order = order[lengths[order] <= reach]
    return offsets[order], lengths[order]


@lru_cache(maxsize=64)
def _area_table(spacing: tuple[float, ...]) -> tuple[_Floats, npt.NDArray[np.uint8]]:
    """The area of each neighbour code, and the code's bit of each neighbour, of shape (2, 2) or (2, 2, 2)."""
    from monai.metrics.utils import get_code_to_measure_table

    areas, kernel = get_code_to_measure_table(spacing)
    return areas.numpy().astype(np.float64), kernel.numpy()[0, 0].astype(np.uint8)
