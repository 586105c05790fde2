"""Interpolation on a grid whose axes are parallel to the image's: one axis after the other, by small matrices."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import torch

__all__ = ["AxisMatrix", "linear_axis", "resample_linearly", "resample_nearest", "spline_axis"]

# Positions this close to a voxel's centre, in voxels, are meant to be on it.
_ON_CENTRE = 1e-7
# SciPy continues an image by so many of its outer voxels before it computes the coefficients of a spline.
_EDGE = 12
# Weights of a spline below this are left out: their sum stays far below float32's precision of the others.
_NO_WEIGHT = 1e-8
# Rows of a block: each is one dense matrix, so that longer ones hold more zeros, and shorter ones are more calls.
_ROWS = 16
# Multiplications of one call: BLAS shares out larger ones, and its threads would wait for each other at every block.
_MOST = 200_000
# Below so many voxels threads are not worth their start.
_FEW = 1_000_000
# Each thread has a slab of its own in memory, which is read from there and written to it.
_THREADS = 8


@dataclass(frozen=True)
class _Block:
    """The rows ``start`` to ``stop`` of a banded matrix, which has its entries in the columns ``low`` to ``high``.

    ``weights`` is float64, shape (stop - start, high - low).
    """

    start: int
    stop: int
    low: int
    high: int
    weights: Any


@dataclass(frozen=True)
class AxisMatrix:
    """Interpolation along an axis from ``size_in`` voxels to ``size_out``; without blocks it changes nothing."""

    size_in: int
    size_out: int
    blocks: tuple[_Block, ...]

    @property
    def growth(self) -> float:
        """The number of voxels after to that before."""
        return self.size_out / self.size_in

    def slabs(self) -> list[tuple[slice, slice, tuple[_Block, ...]]]:
        """Runs of the axis: the slice of the result, that of the image, and the block between them, if any."""
        runs = [slice(start, min(start + _ROWS, self.size_out)) for start in range(0, self.size_out, _ROWS)]
        if not self.blocks:
            return [(run, run, ()) for run in runs]
        own = [_Block(0, one.stop - one.start, 0, one.high - one.low, one.weights) for one in self.blocks]
        return [
            (run, slice(one.low, one.high), (moved,)) for run, one, moved in zip(runs, self.blocks, own, strict=True)
        ]


def linear_axis(positions: np.ndarray, size: int) -> AxisMatrix:
    """Linear interpolation at positions in voxels, constant beyond the outer centres.

    Args:
        positions: shape (size_out,); 0 is the centre of the first voxel.
        size: the number of voxels of the image along this axis.
    """
    positions = _clipped(positions, size)
    lower = np.floor(positions).astype(int)
    upper = np.minimum(lower + 1, size - 1)
    fraction = positions - lower
    if len(positions) == size and np.array_equal(positions, np.arange(size)):
        return AxisMatrix(size, size, ())

    def dense(start: int, stop: int, low: int, high: int) -> np.ndarray:
        block = np.zeros((stop - start, high - low))
        rows, run = np.arange(stop - start), slice(start, stop)
        block[rows, lower[run] - low] = 1 - fraction[run]
        block[rows, upper[run] - low] += fraction[run]
        return block

    return AxisMatrix(size, len(positions), _blocks(lower, upper, dense))


def spline_axis(positions: np.ndarray, size: int, order: int) -> AxisMatrix:
    """Interpolating B-spline at positions in voxels, through an image that goes on as its outer voxels.

    The matrix is the recursive filter that gives the spline's coefficients (Unser et al. 1993, "B-spline signal
    processing") and then the B-splines themselves, as in ``scipy.ndimage.map_coordinates(mode="nearest")``. Like any
    interpolating spline this one swings over a little beyond the outer centres.

    Args:
        positions: shape (size_out,); 0 is the centre of the first voxel.
        size: the number of voxels of the image along this axis.
        order: the degree of the polynomials, 2 to 5.
    """
    from scipy.interpolate import BSpline
    from scipy.ndimage import spline_filter1d

    continued = np.pad(np.eye(size), ((_EDGE, _EDGE), (0, 0)), mode="edge")
    coefficients = spline_filter1d(continued, order, axis=0, mode="nearest")
    knots = np.arange(len(coefficients) + order + 1) - (order + 1) / 2
    splines = BSpline.design_matrix(_clipped(positions, size, beyond=_EDGE - 3) + _EDGE, knots, order)
    matrix = splines @ coefficients
    used = np.abs(matrix) > _NO_WEIGHT
    first, last = used.argmax(axis=1), size - 1 - used[:, ::-1].argmax(axis=1)

    def dense(start: int, stop: int, low: int, high: int) -> np.ndarray:
        return np.array(matrix[start:stop, low:high])  # a copy, so that the whole can go

    return AxisMatrix(size, len(matrix), _blocks(first, last, dense))


def resample_linearly(image: torch.Tensor, axes: Sequence[AxisMatrix]) -> torch.Tensor:
    """Apply a matrix along each spatial axis.

    The image is taken slab by slab along its first axis, so that neither a copy of it in another type nor anything
    between the axes is ever as large as it. The other axes follow, the one that shrinks most before the one that
    grows. On a processor as many threads as PyTorch has, at most 8, share the slabs, and none
    waits for another.

    Args:
        image: shape (C, *spatial), of any real type and any strides.
        axes: one for each spatial axis.

    Returns:
        float32, shape (C, *the axes' size_out), contiguous.
    """
    shape = (len(image), *(axis.size_out for axis in axes))
    if image.device.type != "cpu":
        result = torch.empty(shape, dtype=torch.float32, device=image.device)
        for task in _tasks(image, result, axes, _tensors(image.device)):
            task()
        return result
    values, target = _values(image), np.empty(shape, dtype=np.float32)
    _share_out(_tasks(values, target, axes, _ARRAYS), max(values.size, target.size))
    return torch.from_numpy(target)


def resample_nearest(image: torch.Tensor, indices: Sequence[torch.Tensor]) -> torch.Tensor:
    """Take voxels by their indices along each spatial axis.

    Args:
        image: shape (C, *spatial).
        indices: int64, one for each spatial axis.

    Returns:
        float32, shape (C, *the lengths of the indices), contiguous.
    """
    growth = [len(one) / size for one, size in zip(indices, image.shape[1:], strict=True)]
    if image.device.type != "cpu":
        for axis in np.argsort(growth):
            image = image.index_select(int(axis) + 1, indices[axis])
        return image.to(torch.float32).contiguous()
    values, first = _values(image), indices[0].numpy()
    target = np.empty((len(image), *(len(one) for one in indices)), dtype=np.float32)
    steps = [(int(axis), indices[axis].numpy()) for axis in np.argsort(growth) if axis]
    steps = [(axis, index) for axis, index in steps if not np.array_equal(index, np.arange(image.shape[axis + 1]))]

    def task(channel: int, start: int) -> None:
        run = slice(start, start + _ROWS)
        slab = values[channel][first[run]]
        for axis, index in steps:
            slab = np.take(slab, index, axis=axis)
        target[channel][run] = slab

    starts = product(range(len(image)), range(0, len(first), _ROWS))
    _share_out([partial(task, *start) for start in starts], max(values.size, target.size))
    return torch.from_numpy(target)


def _values(image: torch.Tensor) -> np.ndarray:
    """The image as an array: a view of it, or a copy where NumPy does not know its type."""
    values: np.ndarray = (image.float() if image.dtype == torch.bfloat16 else image).numpy()
    return values


def _share_out(tasks: Sequence[Callable[[], None]], voxels: int) -> None:
    threads = min(torch.get_num_threads(), len(tasks), _THREADS)
    if threads == 1 or voxels < _FEW:
        for task in tasks:
            task()
        return
    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(task) for task in tasks]:
            done.result()


class _Backend(NamedTuple):
    """Arrays of NumPy or of PyTorch: what both call differently.

    ``working`` makes contiguous values to compute with, ``empty`` has a shape for its argument, ``tile`` tells how
    many rows or columns to multiply at once by a matrix of so many entries.
    """

    working: Callable[[Any], Any]
    empty: Callable[[tuple[int, ...]], Any]
    tile: Callable[[int], int]


_ARRAYS = _Backend(
    working=lambda values: np.ascontiguousarray(values, dtype=np.float32),
    empty=lambda shape: np.empty(shape, dtype=np.float32),
    tile=lambda entries: max(_MOST // entries, 1),
)


def _tensors(device: torch.device) -> _Backend:
    """PyTorch; in float64 where it was told to multiply float32 with less precision than it has."""
    exact = torch.get_float32_matmul_precision() == "highest" and not torch.is_autocast_enabled(device.type)
    kind = torch.float32 if exact else torch.float64
    return _Backend(
        working=lambda values: torch.as_tensor(values, dtype=kind, device=device).contiguous(),
        empty=lambda shape: torch.empty(shape, dtype=kind, device=device),
        tile=lambda _: 2**31,
    )


def _tasks(image: Any, target: Any, axes: Sequence[AxisMatrix], backend: _Backend) -> list[Callable[[], None]]:
    """The resampling of each slab of each channel."""
    axes = [
        AxisMatrix(
            axis.size_in,
            axis.size_out,
            tuple(_Block(*_ends(one), backend.working(one.weights)) for one in axis.blocks),
        )
        for axis in axes
    ]
    first, *others = axes
    steps = sorted(enumerate(others, start=1), key=lambda step: step[1].growth)

    def task(channel: int, place: slice, support: slice, blocks: tuple[_Block, ...]) -> None:
        slab = _along(backend.working(image[channel][support]), blocks, 0, place.stop - place.start, backend)
        for dim, axis in steps:
            slab = _along(slab, axis.blocks, dim, axis.size_out, backend)
        target[channel][place] = slab

    return [partial(task, channel, *slab) for channel, slab in product(range(len(image)), first.slabs())]


def _ends(block: _Block) -> tuple[int, int, int, int]:
    return block.start, block.stop, block.low, block.high


def _along(values: Any, blocks: Sequence[_Block], dim: int, size_out: int, backend: _Backend) -> Any:
    """Interpolate contiguous values along one dimension, block by block and tile by tile."""
    if not blocks:
        return values
    shape = tuple(values.shape)
    inner = math.prod(shape[dim + 1 :])
    flat = values.reshape(-1, shape[dim], inner)
    result = backend.empty((len(flat), size_out, inner))
    for block in blocks:
        tile = backend.tile(math.prod(block.weights.shape))
        rows, columns = slice(block.start, block.stop), slice(block.low, block.high)
        if inner == 1:
            for first in range(0, len(flat), tile):
                part = slice(first, first + tile)
                result[part, rows, 0] = flat[part, columns, 0] @ block.weights.T
        else:
            for first in range(0, inner, tile):
                part = slice(first, first + tile)
                result[:, rows, part] = block.weights @ flat[:, columns, part]
    return result.reshape(*shape[:dim], size_out, *shape[dim + 1 :])


def _blocks(
    first: np.ndarray, last: np.ndarray, dense: Callable[[int, int, int, int], np.ndarray]
) -> tuple[_Block, ...]:
    """Cut a banded matrix: ``first`` and ``last`` are the ends of each row, ``dense`` gives a rectangle of it."""
    blocks = []
    for start in range(0, len(first), _ROWS):
        stop = min(start + _ROWS, len(first))
        low, high = int(first[start:stop].min()), int(last[start:stop].max()) + 1
        blocks.append(_Block(start, stop, low, high, dense(start, stop, low, high)))
    return tuple(blocks)


def _clipped(positions: np.ndarray, size: int, *, beyond: int = 0) -> np.ndarray:
    positions = np.clip(np.asarray(positions, dtype=float), -beyond, size - 1 + beyond)
    centres = np.round(positions)
    return np.where(np.abs(positions - centres) < _ON_CENTRE, centres, positions)
