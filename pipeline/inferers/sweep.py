"""The order of work: which windows to compute, what is then final, and what may be forgotten."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from typing import NamedTuple

import numpy as np
import torch

from pipeline.inferers.deciding import Decision
from pipeline.inferers.resampling import Box, GridMap
from pipeline.inferers.slab import Slab
from pipeline.inferers.windows import Windows

__all__ = ["Demand", "Step", "Sweep", "demand", "sweeps"]

_BYTES = 4  # of a float32
_BLOCK = 2**20  # values that are interpolated at a time, so that they stay in the processor's cache
_TILE = 128  # voxels of the input along each axis, where classes without a chance are passed over


@dataclass(frozen=True)
class Step:
    """Some windows, and what can be done after them.

    Attributes:
        starts: the windows to add.
        final: slices of the network's grid before this one are final after that.
        boxes: the parts of the input's grid that can then be labelled.
        kept: slices before this one are not needed after that.
    """

    starts: list[tuple[int, ...]]
    final: int
    boxes: list[Box]
    kept: int


class Sweep:
    """One walk along an axis, which labels a tile of the input's grid.

    Args:
        windows: of the volume.
        grid: the way from the network's grid to the input's.
        axis: to walk along.
        tile: a box of the input's grid, whole along the axis.
    """

    def __init__(self, windows: Windows, grid: GridMap, *, axis: int, tile: Box) -> None:
        self.windows = windows
        self.grid = grid
        self.axis = axis
        self.tile = tile
        self.region = grid.support(tile)
        self._supports = [grid.support(self._box(index, index + 1))[axis] for index in range(*tile[axis])]
        # The slices of the input in the order in which they become final, and the first slice that the rest needs.
        self._order = sorted(range(len(self._supports)), key=lambda index: self._supports[index][1])
        needed = [self._supports[index][0] for index in self._order]
        end = self.region[axis][1]
        self._needed = [*np.minimum.accumulate(needed[::-1])[::-1].tolist(), end]
        self.depth = self._depth()

    @property
    def slab_bytes(self) -> int:
        """Bytes of the slab for each channel."""
        plane = [stop - start for dim, (start, stop) in enumerate(self.region) if dim != self.axis]
        return self.depth * int(np.prod(plane)) * _BYTES

    def slab(self, channels: int, *, device: torch.device) -> Slab:
        """The slab of this walk, empty."""
        return Slab(axis=self.axis, region=self.region, depth=self.depth, channels=channels, device=device)

    def steps(self) -> Iterator[Step]:
        """The walk, in order."""
        done = 0
        for final, group in self._groups():
            ready = done
            while ready < len(self._order) and self._supports[self._order[ready]][1] <= final:
                ready += 1
            boxes = self._boxes(sorted(self._order[done:ready]))
            done = ready
            yield Step(starts=group, final=final, boxes=boxes, kept=min(self._needed[done], final))

    def decide(self, slab: Slab, box: Box, decision: Decision) -> torch.Tensor:
        """The labels of a box of the input's grid, uint8, from final logits."""
        if not decision.passes_over:
            return self._decided(slab, box, decision, None)
        labels = torch.empty([stop - start for start, stop in box], dtype=torch.uint8, device=slab.device)
        for tile in _squares(box):
            channels = decision.contenders(self._seen(slab, self.grid.support(tile)))
            place = tuple(slice(a - start, b - start) for (a, b), (start, _) in zip(tile, box, strict=True))
            labels[place] = self._decided(slab, tile, decision, channels)
        return labels

    def _decided(self, slab: Slab, box: Box, decision: Decision, channels: Sequence[int] | None) -> torch.Tensor:
        decision.begin()
        for shown, logits in self.logits(slab, box, channels):
            decision.show(shown, logits)
        return decision.labels()

    def logits(
        self, slab: Slab, box: Box, channels: Sequence[int] | None = None
    ) -> Iterator[tuple[Sequence[int], torch.Tensor]]:
        """Final logits, interpolated to a box of the input's grid.

        Args:
            slab: of this walk.
            box: of the input's grid.
            channels: those that are wanted; by default all.

        Yields:
            some of the channels, in their order, and their logits (c, ...).
        """
        support = self.grid.support(box)
        sampler = self.grid.sampler(support, box)
        chunk = max(_BLOCK // max(_voxels(box), _voxels(support)), 1)
        wanted = range(slab.channels) if channels is None else channels
        for first in range(0, len(wanted), chunk):
            some = wanted[first : first + chunk]
            which = slice(some.start, some.stop) if isinstance(some, range) else list(some)
            yield some, sampler(self._seen(slab, support)[which])

    def _seen(self, slab: Slab, support: Box) -> torch.Tensor:
        """The logits (channels, *support) of the slab, not a copy."""
        within = [slice(None)] + [
            slice(None) if dim == self.axis else slice(start - self.region[dim][0], stop - self.region[dim][0])
            for dim, (start, stop) in enumerate(support)
        ]
        return slab.view(support[self.axis], slice(None))[tuple(within)]

    def _box(self, first: int, stop: int) -> Box:
        return tuple((first, stop) if dim == self.axis else ends for dim, ends in enumerate(self.tile))

    def _boxes(self, slices: list[int]) -> list[Box]:
        """Consecutive slices together, as many as a block holds."""
        plane = _voxels(self._box(0, 1))
        most = max(_BLOCK // plane, 1)
        boxes, begin = list[Box](), 0
        for index in range(1, len(slices) + 1):
            if index == len(slices) or slices[index] != slices[index - 1] + 1 or index - begin == most:
                boxes.append(self._box(slices[begin], slices[index - 1] + 1))
                begin = index
        return boxes

    def _groups(self) -> Iterator[tuple[int, list[tuple[int, ...]]]]:
        """Windows that reach into the region, by their first slice, each with the slice that is not final after it."""
        groups: dict[int, list[tuple[int, ...]]] = {}
        for start in self.windows.starts:
            ends = zip(start, self.windows.size, self.region, strict=True)
            if all(a < stop and a + window > first for a, window, (first, stop) in ends):
                groups.setdefault(start[self.axis], []).append(start)
        order = sorted(groups)
        for along, final in zip(order, [*order[1:], self.region[self.axis][1]], strict=True):
            yield final, groups[along]

    def _depth(self) -> int:
        first, end = self.region[self.axis]
        depth, kept = 0, first
        for step in self.steps():
            depth = max(depth, min(step.starts[0][self.axis] + self.windows.size[self.axis], end) - kept)
            kept = max(step.kept, first)
        return depth


def sweeps(windows: Windows, grid: GridMap, *, channels: int, max_bytes: float) -> list[Sweep]:
    """The walks that label a whole volume, along the axis with the smallest slab.

    The other axes are cut into tiles until the slab is small enough or no tile is longer than a window: a smaller one
    would hardly save memory, because the network's own output is as large.

    Args:
        windows: of the volume.
        grid: the way from the network's grid to the input's.
        channels: of the logits.
        max_bytes: what the slab may take.
    """
    whole = tuple((0, length) for length in grid.size)
    best = min(
        (Sweep(windows, grid, axis=axis, tile=whole) for axis in range(len(whole))),
        key=lambda sweep: sweep.slab_bytes,
    )
    pieces = [1] * len(whole)
    walk = best
    while walk.slab_bytes * channels > max_bytes:
        lengths = [
            0.0 if dim == best.axis else (stop - start) / windows.size[dim]
            for dim, (start, stop) in enumerate(walk.region)
        ]
        longest = int(np.argmax(lengths))
        if lengths[longest] <= 1 or pieces[longest] >= grid.size[longest]:
            break
        pieces[longest] += 1
        tiles = _tiles(grid.size, pieces)
        walk = Sweep(windows, grid, axis=best.axis, tile=tiles[len(tiles) // 2])  # those at the edges need less
    return [Sweep(windows, grid, axis=best.axis, tile=tile) for tile in _tiles(grid.size, pieces)]


def _tiles(size: tuple[int, ...], pieces: list[int]) -> list[Box]:
    cuts = [[length * piece // count for piece in range(count + 1)] for length, count in zip(size, pieces, strict=True)]
    return [tuple(tile) for tile in product(*(list(pairwise(one)) for one in cuts))]


def _squares(box: Box) -> list[Box]:
    """A box cut into small ones, in which few classes have a chance."""
    return [tuple(tile) for tile in product(*(_runs(start, stop) for start, stop in box))]


def _runs(start: int, stop: int) -> list[tuple[int, int]]:
    return [(first, min(first + _TILE, stop)) for first in range(start, stop, _TILE)]


def _voxels(box: Box) -> int:
    return int(np.prod([stop - start for start, stop in box]))


class Demand(NamedTuple):
    """What the walks over a volume ask for: windows, one that two tiles need counted twice, and bytes of the slab."""

    windows: int
    slab_bytes: int


def demand(walks: list[Sweep], *, channels: int) -> Demand:
    """The demand of walks that follow each other; beside the logits the slab holds the sums of their weights."""
    return Demand(
        windows=sum(len(step.starts) for walk in walks for step in walk.steps()),
        slab_bytes=max(walk.slab_bytes for walk in walks) * (channels + 1),
    )
