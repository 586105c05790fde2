"""From the network's grid back to the input's, block by block: what ``Invertd`` does to a whole volume at once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import product

import numpy as np
import torch
from scipy import sparse

__all__ = ["Box", "ChainedMap", "GridMap", "ObliqueMap", "SeparableMap", "linear_matrix"]

# The first and one past the last index along each axis.
Box = tuple[tuple[int, int], ...]
Sampler = Callable[[torch.Tensor], torch.Tensor]

# Coordinates this close to a voxel's centre, in voxels, are meant to be on it.
_ON_CENTRE = 1e-9
_ROUNDING = 1e-6


class GridMap(ABC):
    """Linear interpolation from the network's grid to the input's.

    All axes are in the network's order; ``axes`` tells which of them each axis of the input is.

    Args:
        network_size: voxels along each axis of the network's grid.
        size: voxels along each axis of the input's grid, in the network's order of axes.
        axes: for each axis of the input, the axis of the network's grid that it lies along.
    """

    def __init__(self, *, network_size: tuple[int, ...], size: tuple[int, ...], axes: tuple[int, ...]) -> None:
        self.network_size = network_size
        self.size = size
        self.axes = axes

    @property
    def input_size(self) -> tuple[int, ...]:
        """Voxels along each axis of the input, in the input's own order."""
        return tuple(self.size[axis] for axis in self.axes)

    @abstractmethod
    def support(self, box: Box) -> Box:
        """The voxels of the network's grid that a box of the input's grid is interpolated from."""

    @abstractmethod
    def sampler(self, region: Box, box: Box) -> Sampler:
        """Interpolation of one box of the input's grid.

        Args:
            region: a part of the network's grid that contains the box's support.
            box: a box of the input's grid.

        Returns:
            a function from values (C, *region) to values (C, *box), both float32.
        """


class SeparableMap(GridMap):
    """Axis by axis: the grids' axes are parallel, whatever was scaled, cropped, padded or flipped in between.

    Args:
        matrices: for each axis of the network's grid the sparse matrix (input voxels, network voxels) of the
            interpolation along it. A row without entries is a voxel that the network did not see; its values are 0.
        axes: see :class:`GridMap`.
    """

    def __init__(self, matrices: list[sparse.csr_matrix], *, axes: tuple[int, ...]) -> None:
        super().__init__(
            network_size=tuple(int(one.shape[1]) for one in matrices),
            size=tuple(int(one.shape[0]) for one in matrices),
            axes=axes,
        )
        self._taps = [_Taps.of(one) for one in matrices]

    def support(self, box: Box) -> Box:
        """See :class:`GridMap`."""
        return tuple(taps.support(*ends) for taps, ends in zip(self._taps, box, strict=True))

    def sampler(self, region: Box, box: Box) -> Sampler:
        """See :class:`GridMap`."""
        # The axis that shrinks most comes first, so that the others have less to do.
        growth = [(stop - start) / (r1 - r0) for (start, stop), (r0, r1) in zip(box, region, strict=True)]
        steps = [self._taps[axis].sampler(axis + 1, *box[axis], region[axis][0]) for axis in np.argsort(growth)]
        return partial(_in_turn, steps)


class ObliqueMap(GridMap):
    """By one affine whose axes are not all parallel, as where ``Spacingd`` has taken the shear out of a tilted grid.

    Args:
        matrix: homogeneous, from indices of the input's grid, in the network's order of axes, to the network's.
        network_size: see :class:`GridMap`.
        size: see :class:`GridMap`.
        axes: see :class:`GridMap`.
    """

    def __init__(
        self, matrix: np.ndarray, *, network_size: tuple[int, ...], size: tuple[int, ...], axes: tuple[int, ...]
    ) -> None:
        super().__init__(network_size=network_size, size=size, axes=axes)
        self.matrix = matrix

    def support(self, box: Box) -> Box:
        """See :class:`GridMap`."""
        corners = np.array([(*corner, 1.0) for corner in product(*((start, stop - 1) for start, stop in box))])
        points = (corners @ self.matrix.T)[:, :-1]
        last = np.asarray(self.network_size) - 1
        first = np.clip(np.floor(points.min(axis=0) - _ROUNDING), 0, last).astype(int)
        final = np.clip(np.ceil(points.max(axis=0) + _ROUNDING), 0, last).astype(int)
        return tuple((int(a), int(b) + 1) for a, b in zip(first, final, strict=True))

    def sampler(self, region: Box, box: Box) -> Sampler:
        """See :class:`GridMap`."""
        ranges = [torch.arange(start, stop, dtype=torch.float64) for start, stop in box]
        indices = torch.meshgrid(*ranges, indexing="ij")
        parts = []
        for row, size, (start, stop) in zip(self.matrix[:-1], self.network_size, region, strict=True):
            position = sum((float(row[k]) * one for k, one in enumerate(indices)), torch.tensor(float(row[-1])))
            position = position.clamp(0, size - 1) - start
            parts.append(((2 * position + 1) / (stop - start) - 1).float())
        grid = torch.stack(parts[::-1], dim=-1)[None]  # torch wants the last axis first
        return partial(_grid_sample, grid)


class ChainedMap(GridMap):
    """One map after another, as where a tilted grid was straightened and then resized or cropped.

    Args:
        first: from the network's grid to one between, whose axes have the order of the network's.
        second: from there to the input's.
    """

    def __init__(self, first: GridMap, second: GridMap) -> None:
        super().__init__(network_size=first.network_size, size=second.size, axes=second.axes)
        self.first = first
        self.second = second

    def support(self, box: Box) -> Box:
        """See :class:`GridMap`."""
        return self.first.support(self.second.support(box))

    def sampler(self, region: Box, box: Box) -> Sampler:
        """See :class:`GridMap`."""
        between = self.second.support(box)
        return partial(_in_turn, [self.first.sampler(region, between), self.second.sampler(between, box)])


def linear_matrix(positions: np.ndarray, size: int) -> sparse.csr_matrix:
    """Linear interpolation along an axis as a sparse matrix (positions, size), constant beyond the outer centres.

    Args:
        positions: in voxels; 0 is the centre of the first.
        size: the number of voxels.
    """
    positions = np.clip(np.asarray(positions, dtype=float), 0, size - 1)
    nearest = np.round(positions)
    positions = np.where(np.abs(positions - nearest) < _ON_CENTRE, nearest, positions)
    lower = np.floor(positions).astype(int)
    fraction = positions - lower
    rows = np.arange(len(positions))
    matrix = sparse.csr_matrix(
        (
            np.concatenate([1 - fraction, fraction]),
            (np.tile(rows, 2), np.concatenate([lower, np.minimum(lower + 1, size - 1)])),
        ),
        shape=(len(positions), size),
    )
    matrix.eliminate_zeros()
    return matrix


@dataclass(frozen=True)
class _Taps:
    """The entries of a sparse matrix as a table: for each row the columns and their weights, both (rows, taps).

    Unused places have weight 0. Where ``copies`` is true, every row has one entry, which is 1, and the columns rise
    by 1. ``lowest`` and ``highest`` are the ends of each row, shape (rows,).
    """

    columns: torch.Tensor
    weights: torch.Tensor
    lowest: np.ndarray
    highest: np.ndarray
    copies: bool

    @classmethod
    def of(cls, matrix: sparse.csr_matrix) -> _Taps:
        matrix = sparse.csr_matrix(matrix)
        matrix.sort_indices()
        counts = np.diff(matrix.indptr)
        width = max(int(counts.max()), 1)
        columns = np.zeros((len(counts), width), dtype=np.int64)
        weights = np.zeros((len(counts), width), dtype=np.float32)
        used = np.flatnonzero(counts)
        for row in used:
            entries = slice(matrix.indptr[row], matrix.indptr[row + 1])
            columns[row] = matrix.indices[entries][0]
            columns[row, : counts[row]] = matrix.indices[entries]
            weights[row, : counts[row]] = matrix.data[entries]
        for row in np.flatnonzero(counts == 0):  # the place of the next row that has some
            columns[row] = columns[used[np.abs(used - row).argmin()], 0]
        copies = width == 1 and bool((weights == 1).all()) and bool((np.diff(columns[:, 0]) == 1).all())
        return cls(
            columns=torch.from_numpy(columns),
            weights=torch.from_numpy(weights),
            lowest=columns.min(axis=1),
            highest=columns.max(axis=1),
            copies=copies,
        )

    def support(self, start: int, stop: int) -> tuple[int, int]:
        return int(self.lowest[start:stop].min()), int(self.highest[start:stop].max()) + 1

    def sampler(self, dim: int, start: int, stop: int, origin: int) -> Sampler:
        columns, weights = self.columns[start:stop] - origin, self.weights[start:stop]
        if self.copies:
            return partial(_narrow, dim, int(columns[0, 0]), stop - start)
        return partial(_weigh, dim, columns, weights)


def _in_turn(steps: list[Sampler], values: torch.Tensor) -> torch.Tensor:
    for step in steps:
        values = step(values)
    return values


def _narrow(dim: int, start: int, length: int, values: torch.Tensor) -> torch.Tensor:
    return values.narrow(dim, start, length)


def _weigh(dim: int, columns: torch.Tensor, weights: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    columns, weights = columns.to(values.device), weights.to(values)
    shape = [1] * values.ndim
    shape[dim] = len(columns)
    total = values.index_select(dim, columns[:, 0]).mul_(weights[:, 0].view(shape))
    for tap in range(1, columns.shape[1]):
        total.addcmul_(values.index_select(dim, columns[:, tap]), weights[:, tap].view(shape))
    return total


def _grid_sample(grid: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    sampled: torch.Tensor = torch.nn.functional.grid_sample(
        values[None], grid.to(values), mode="bilinear", padding_mode="border", align_corners=False
    )
    return sampled[0]
