"""The tilt of a gantry undone: tilted slices on an upright grid, and labels back on the tilted slices.

The slices of a tilted gantry are parallel and evenly spaced, and each lies aside of its neighbour's normal by the same
way. The volume is therefore sheared, and not turned: moving each slice within its own plane makes it upright, and no
value is mixed with those of another slice.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from pipeline.dicom.reading.geometry import Stack

__all__ = ["AIR_HU", "Shear", "outside_value"]

Array: TypeAlias = "np.ndarray[tuple[int, ...], np.dtype[Any]]"
Affine: TypeAlias = "np.ndarray[tuple[int, ...], np.dtype[np.float64]]"

AIR_HU = -1000.0

_DECIMALS = 4  # of a voxel; what positions written as decimal strings leave beyond them is rounding
_HALF = 0.5  # of a voxel, from its centre to its border


def outside_value(lowest: float, modality: str) -> float:
    """Return the value of upright voxels that no slice covers: the lowest of the series, and in CT at most air's.

    A scanner pads its own images with the lowest value as well; an MR or PET image has its background there.
    """
    return min(lowest, AIR_HU) if modality == "CT" else lowest


@dataclass(frozen=True, kw_only=True, eq=False)
class Shear:
    """The way from the voxels (i, j, k) = (column, row, slice) of tilted slices to those of an upright grid.

    The upright grid has the directions, pixel spacing and planes of the slices and the distance between their planes.
    It is as much larger within the plane as it takes to hold the centre of every acquired voxel. The voxels of the
    first slice are voxels of the grid.

    Args:
        affine: of the acquired slices, sheared: 4x4, voxel to RAS mm.
        size: voxels of the acquired slices along (i, j, k).
    """

    affine: Affine
    size: tuple[int, int, int]

    @classmethod
    def of_stack(cls, stack: Stack) -> Shear:
        """Return the way of the slices of :attr:`pipeline.dicom.Series.tilted`."""
        slices, rows, columns = stack.geometry.spatial_shape
        return cls(affine=stack.ras_affine, size=(columns, rows, slices))

    @classmethod
    def from_text(cls, text: str) -> Shear:
        """Return what :attr:`text` told."""
        told = json.loads(text)
        columns, rows, slices = told["size"]
        return cls(affine=np.array(told["affine"], dtype=np.float64), size=(columns, rows, slices))

    @property
    def text(self) -> str:
        """All of it as JSON, without loss: one string survives the collation of metadata."""
        return json.dumps({"size": list(self.size), "affine": self.affine.tolist()})

    @cached_property
    def steps(self) -> tuple[float, float]:
        """By how many voxels along (i, j) each slice lies aside of the one before."""
        in_plane = self.affine[:3, :2]
        across = np.linalg.lstsq(in_plane, self.affine[:3, 2], rcond=None)[0]
        return float(across[0]), float(across[1])

    @cached_property
    def origin(self) -> tuple[int, int]:
        """Where, in the first slice's voxels (i, j), the upright grid begins; 0 or less."""
        first, second = (math.floor(min(0.0, self._aside(axis, self.size[2] - 1))) for axis in (0, 1))
        return first, second

    @cached_property
    def upright_size(self) -> tuple[int, int, int]:
        """Voxels of the upright grid along (i, j, k)."""
        ends = [
            self.size[axis] + math.ceil(max(0.0, self._aside(axis, self.size[2] - 1))) - self.origin[axis]
            for axis in (0, 1)
        ]
        return ends[0], ends[1], self.size[2]

    def move(self, plane: Array, k: int, upright: Array) -> None:
        """Write an acquired slice to its place on the upright grid, by linear interpolation within the slice.

        A voxel of the grid is covered by the slice where its centre lies within one of the slice's voxels; half a
        voxel beyond the outer centres the outer values go on. The others are left as they were.

        Args:
            plane: floating-point numbers, (row, column).
            k: the number of the slice.
            upright: slice k of the upright grid, (row, column).
        """
        rows, columns = self.covered(k)
        moved = _interpolated(plane, self._places(1, k, rows))
        upright[rows, columns] = _interpolated(moved.T, self._places(0, k, columns)).T

    def fill_outside(self, k: int, upright: Array, value: float) -> None:
        """Write a value to what the slice does not cover of slice k of the upright grid, (row, column)."""
        rows, columns = self.covered(k)
        upright[: rows.start] = upright[rows.stop :] = value
        upright[rows, : columns.start] = upright[rows, columns.stop :] = value

    def covered(self, k: int) -> tuple[slice, slice]:
        """Return the rows and columns of the upright grid whose centres the voxels of slice k cover."""
        found = []
        for axis in (1, 0):
            begin = self._aside(axis, k) - self.origin[axis]
            start, stop = math.ceil(begin - _HALF), math.floor(begin + self.size[axis] - _HALF) + 1
            found.append(slice(max(start, 0), min(stop, self.upright_size[axis])))
        return found[0], found[1]

    def to_acquired(self, labels: Array) -> Array:
        """Bring labels from the upright grid to the acquired slices: each voxel gets its nearest neighbour's label.

        Each slice moves by whole voxels, so that every label comes from within half a voxel along each axis.

        Args:
            labels: (i, j, k) of the upright grid.

        Returns:
            An array of its own, (i, j, k) of the acquired slices.
        """
        acquired = np.empty(self.size, dtype=labels.dtype)
        for k in range(self.size[2]):
            first, second = (math.floor(self._aside(axis, k) - self.origin[axis] + _HALF) for axis in (0, 1))
            acquired[:, :, k] = labels[first : first + self.size[0], second : second + self.size[1], k]
        return acquired

    def _aside(self, axis: int, k: int) -> float:
        """By how many voxels slice k lies aside of the first one."""
        return round(self.steps[axis] * k, _DECIMALS)

    def _places(self, axis: int, k: int, covered: slice) -> Array:
        """Return where upright voxels lie in the voxels of slice k, none beyond the outer centres."""
        places = np.arange(covered.start, covered.stop) + self.origin[axis] - self._aside(axis, k)
        return np.clip(np.round(places, _DECIMALS), 0, self.size[axis] - 1)


def _interpolated(values: Array, places: Array) -> Array:
    """Return values at places along the first axis, by linear interpolation."""
    lower = np.floor(places).astype(np.intp)
    part = (places - lower).astype(values.dtype)[:, np.newaxis]
    if not part.any():  # whole voxels, one after the other: the values themselves
        return values[lower[0] : lower[-1] + 1]
    below = values[lower]
    between: Array = below + part * (values[np.minimum(lower + 1, len(values) - 1)] - below)
    return between
