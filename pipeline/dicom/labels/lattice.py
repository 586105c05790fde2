"""Grids of the same voxels whose axes run in another order or direction, or that begin elsewhere."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.dicom.labels.grid import Floats

__all__ = ["Turn"]

Indices: TypeAlias = "np.ndarray[tuple[int, ...], np.dtype[np.intp]]"

_FARTHEST = 2.0**31  # voxels, beyond which no grid begins


@dataclass(frozen=True, kw_only=True, eq=False)
class Turn:
    """The exchange and reversal of axes, with an offset in whole voxels, that is nearest to a map between two grids.

    Attributes:
        whole: (3, 3), with one 1 or -1 in each row and column; the identity where no turn is near.
        start: (3,), the voxel of the second grid on which the first voxel of the first one lies.
        away: (8, 3), how far each corner of the first grid lies from the voxel that it is taken for, in voxels of the
            second one.
        found: whether a turn is near at all.
    """

    whole: Indices
    start: Indices
    away: Floats
    found: bool

    @classmethod
    def nearest(cls, between: Floats, shape: Sequence[int], *, thickness: bool = True) -> Turn:
        """Find the turn.

        Args:
            between: (4, 4), voxels of the first grid to voxels of the second one.
            shape: (3,), of the first grid.
            thickness: whether a single slice counts as two, so that its thickness shows; else it has any.
        """
        ends = [max(size - 1, 1 if thickness else 0) for size in shape]
        corners = np.array(list(itertools.product(*((0, end) for end in ends))), dtype=np.float64)
        if not thickness:
            between = between / np.where(np.array([*ends, 1]) > 0, 1, np.abs(between[:3]).max(axis=0))
        near = np.abs(between[:3]).max() < _FARTHEST  # nor NaN
        whole: Indices = np.rint(between[:3, :3] if near else np.zeros((3, 3))).astype(np.intp)
        found = bool((np.abs(whole).sum(axis=0) == 1).all() and (np.abs(whole).sum(axis=1) == 1).all())
        # Where no turn is near, the misfit of the axes as they are tells how far off it is.
        whole = whole if found else np.eye(3, dtype=np.intp)
        exact = corners @ between[:3, :3].T + between[:3, 3]
        misfit = exact - corners @ whole.T
        start: Indices = np.rint(misfit.mean(axis=0) if near else np.zeros(3)).astype(np.intp)
        return cls(whole=whole, start=start, away=misfit - start, found=found)

    def first(self, shape: Sequence[int]) -> Indices:
        """Where the first voxel of a turned array of this shape (before it is turned) lies in the second grid."""
        turned = np.abs(self.whole) @ np.array(shape, dtype=np.intp)
        return self.start + np.where(self._signs < 0, 1 - turned, 0)

    def fits(self, shape: Sequence[int], other: Sequence[int]) -> bool:
        """Whether an array of this shape covers the second grid, of the other shape, and nothing else, once turned."""
        return self.found and not self.first(shape).any() and (np.abs(self.whole) @ shape).tolist() == list(other)

    def of(self, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """The array (three axes) with its axes in the order and direction of the second grid, not copied."""
        axes = np.abs(self.whole).argmax(axis=1)  # along which axis of the first grid each axis of the second one runs
        turned: np.ndarray[Any, Any] = array.transpose(axes)[tuple(slice(None, None, sign) for sign in self._signs)]
        return turned

    def back(self, shape: Sequence[int]) -> Floats:
        """The voxels of the turned array to those of the array of this shape, (4, 4)."""
        back = np.eye(4)
        back[:3, :3] = self.whole.T
        back[:3, 3] = self.whole.T @ (self.first(shape) - self.start)
        return back

    @property
    def _signs(self) -> Indices:
        signs: Indices = self.whole.sum(axis=1)
        return signs
