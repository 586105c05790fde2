"""A label map: the voxels, their place and their meaning, whatever file they came from."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pipeline.dicom.labels.lattice import Turn
from pipeline.errors import InputError

if TYPE_CHECKING:
    from pipeline.dicom.segment import Segment

__all__ = ["LabelMap", "resample_to"]

_GRID_TOLERANCE = 0.02  # of the smallest side of a voxel: what formats round
_TIE = 1e-6  # of a voxel: what lies between two goes to the lower one, whatever the rounding
_VOLUME = 3

_Labels = npt.NDArray[np.integer[Any]]
_Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelMap:
    """One label map.

    Attributes:
        labels: integers of shape (X, Y, Z), of DICOM (column, row, slice), or (X, Y) of a picture.
        affine: 4x4, voxel indices to RAS mm; None of a picture, which has no place in space.
        segments: what the file itself says of its values, as a DICOM SEG or RTSTRUCT does.
        partial: whether slices without a label may be left out, as a DICOM SEG may.
        numbered: whether the values are but the places of segments or ROIs in their file, which mean nothing to
            another file; else they are those of the label map that was drawn.
        frame_of_reference_uid: DICOM's, where it is known.
    """

    labels: _Labels
    affine: _Floats | None
    segments: tuple[Segment, ...] = ()
    partial: bool = False
    numbered: bool = False
    frame_of_reference_uid: str = ""

    @property
    def names(self) -> Mapping[int, str]:
        """What the file calls its values."""
        return {segment.value: segment.name for segment in self.segments}

    @cached_property
    def values(self) -> tuple[int, ...]:
        """The labels that occur; the background, 0, is left out."""
        found = {value for k in range(self.labels.shape[-1]) for value in np.unique(self.labels[..., k]).tolist()}
        return tuple(sorted(found - {0}))

    @property
    def volume_affine(self) -> _Floats:
        """The affine of a volume.

        Raises:
            InputError: it is a picture.
        """
        if self.affine is None:
            raise InputError("a picture has no place in space", expected="a volume")
        return self.affine

    def spacing_mm(self) -> tuple[float, ...] | None:
        """The voxel size along each axis; None of a picture."""
        if self.affine is None:
            return None
        return tuple(np.linalg.norm(self.affine[:3, :3], axis=0).tolist())

    def difference(self, other: LabelMap) -> str | None:
        """What another map's grid has that this one's has not, in words; None where they are the same."""
        if self.labels.shape != other.labels.shape:
            return f"shape {other.labels.shape} instead of {self.labels.shape}"
        if self.affine is None or other.affine is None:
            return None if self.affine is other.affine else "a picture instead of a volume, or the reverse"
        away = float(np.linalg.norm((other.affine - self.affine) @ other.corners(), axis=0).max())
        return f"an affine that puts voxels up to {away:.3g} mm away" if away > self._tolerance_mm() else None

    def turned_to(self, other: LabelMap) -> LabelMap:
        """The same map with its axes in the order and direction of another's; as it is where none are near."""
        if self.affine is None or other.affine is None or self.labels.ndim != _VOLUME:
            return self
        if not abs(np.linalg.det(other.affine)) > 0:  # nor NaN
            return self
        turn = Turn.nearest(np.linalg.inv(other.affine) @ self.affine, self.labels.shape)
        if not turn.found:
            return self
        shape = self.labels.shape
        return replace(self, labels=turn.of(self.labels), affine=self.affine @ turn.back(shape))

    def shares_voxels(self, other: LabelMap) -> bool:
        """Whether another map's voxels are of the same lattice, wherever its grid starts and however it runs."""
        if self.affine is None or other.affine is None:
            return False
        turn = Turn.nearest(np.linalg.inv(self.affine) @ other.affine, other.labels.shape)
        away = np.linalg.norm(turn.away @ self.affine[:3, :3].T, axis=1).max()
        return bool(turn.found and away <= self._tolerance_mm())

    def covering(self, other: LabelMap) -> LabelMap:
        """The same map with background around it, as far as another one reaches; both are volumes."""
        if self.affine is None or other.affine is None:
            return self
        return self.reaching((other.affine @ other.corners())[:3].T)

    def reaching(self, points: _Floats) -> LabelMap:
        """The same map with background around it, as far as some points (n, 3) in RAS mm; it is a volume."""
        if not len(points):
            return self
        inverse = np.linalg.inv(self.volume_affine)
        places = np.round(points @ inverse[:3, :3].T + inverse[:3, 3]).astype(int)
        before = np.maximum(-places.min(axis=0), 0)
        after = np.maximum(places.max(axis=0) + 1 - self.labels.shape, 0)
        affine = self.volume_affine.copy()
        affine[:3, 3] -= affine[:3, :3] @ before
        return replace(self, labels=np.pad(self.labels, np.stack([before, after], axis=1)), affine=affine)

    def as_thick_as(self, other: LabelMap) -> LabelMap:
        """The same map with the step between another's slices, where it is one slice that leaves the others out."""
        if not self.partial or self.labels.shape[2] != 1 or self.affine is None or other.affine is None:
            return self
        steps = np.linalg.inv(other.affine[:3, :3]) @ self.affine[:3, 2]
        affine = self.affine.copy()
        affine[:3, 2] /= np.abs(steps).max()
        return replace(self, affine=affine)

    def corners(self) -> _Floats:
        """The indices of the corner voxels of a volume, of shape (4, 8), homogeneous."""
        ends = [(0.0, float(n - 1)) for n in self.labels.shape]
        corners: _Floats = np.array([*itertools.product(*ends, (1.0,))]).T
        return corners

    def _tolerance_mm(self) -> float:
        return _GRID_TOLERANCE * min(self.spacing_mm() or (0.0,))


def resample_to(moving: LabelMap, grid: LabelMap) -> LabelMap:
    """Bring a label map to another one's grid: each voxel takes the nearest one's label, 0 outside.

    Raises:
        InputError: one of them is a picture, which has no place in space.
    """
    if moving.affine is None or grid.affine is None:
        raise InputError("a picture has no place in space and cannot be resampled")
    matrix = np.linalg.inv(moving.affine) @ grid.affine
    shape = np.array(moving.labels.shape)[:, None]
    plane = np.indices(grid.labels.shape[:2]).reshape(2, -1)
    out = np.zeros(grid.labels.shape, dtype=moving.labels.dtype)
    for k in range(grid.labels.shape[2]):  # slice by slice, for memory
        place: _Floats = matrix[:3, :2] @ plane + (matrix[:3, 2] * k + matrix[:3, 3])[:, None]
        nearest = np.floor(place + 0.5 - _TIE).astype(np.int64)
        inside = ((nearest >= 0) & (nearest < shape)).all(axis=0)
        values = np.zeros(plane.shape[1], dtype=out.dtype)
        values[inside] = moving.labels[tuple(nearest[:, inside])]
        out[:, :, k] = values.reshape(out.shape[:2])
    return replace(moving, labels=out, affine=grid.affine)
