"""The logits that can still change: a slab that moves along one axis of the network's grid."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from pipeline.inferers.resampling import Box

__all__ = ["Slab"]

_BLOCK = 2**20  # values that are multiplied at a time


class Slab:
    """Weighted sums of overlapping windows over a part of a volume, and their weights.

    The axis that the slab moves along comes first in memory, so that its slices can be moved up one by one where the
    first ones are dropped.

    Args:
        axis: the spatial axis that the slab moves along.
        region: the part of the volume that is looked at.
        depth: the slices that are held at a time.
        channels: of the logits.
        device: where they are held.
    """

    def __init__(self, *, axis: int, region: Box, depth: int, channels: int, device: torch.device) -> None:
        self.axis = axis
        self.region = region
        self.channels = channels
        self.first = region[axis][0]
        self.final = self.first
        plane = [stop - start for dim, (start, stop) in enumerate(region) if dim != axis]
        self._sums = torch.zeros((depth, channels, *plane), device=device)
        self._weights = torch.zeros((depth, 1, *plane), device=device)

    @property
    def device(self) -> torch.device:
        """Where the logits are."""
        return self._sums.device

    def add(self, start: Sequence[int], logits: torch.Tensor, weight: torch.Tensor) -> None:
        """Add a window: its logits (channels, *window) times its weight (*window), where it lies in the region."""
        there, here = [], []
        for dim, (first, stop) in enumerate(self.region):
            lower, upper = max(first, start[dim]), min(stop, start[dim] + weight.shape[dim])
            origin = self.first if dim == self.axis else first
            here.append(slice(lower - start[dim], upper - start[dim]))
            there.append(slice(lower - origin, upper - origin))
        along = there.pop(self.axis)
        place = (along, slice(None), *there)
        part = weight[tuple(here)].to(self._sums.device)
        inside = (slice(None), *here)
        seen, part = logits[inside].movedim(self.axis + 1, 0), part[None].movedim(self.axis + 1, 0)
        # Some channels at a time: a product of all would be as large as the network's output.
        step = max(_BLOCK // part.numel(), 1)
        sums = self._sums[place]
        for first in range(0, self.channels, step):
            channels = slice(first, first + step)
            sums[:, channels] += seen[:, channels].to(self._sums.device) * part
        self._weights[place] += part

    def finish(self, stop: int) -> None:
        """No window will change what lies before ``stop``: turn the sums into means."""
        stop = min(stop, self.region[self.axis][1])
        for index in range(self.final, stop):
            self._sums[index - self.first] /= self._weights[index - self.first]
        self.final = max(self.final, stop)

    def drop(self, first: int) -> None:
        """Forget what lies before ``first``."""
        dropped = first - self.first
        if dropped <= 0:
            return
        for values in (self._sums, self._weights):
            depth = len(values)
            for index in range(dropped, depth):  # one by one: the parts overlap
                values[index - dropped] = values[index]
            values[max(depth - dropped, 0) :] = 0
        self.first = first

    def view(self, along: tuple[int, int], channels: slice) -> torch.Tensor:
        """Means (channels, ...) of the slices ``along``, the spatial axes in the volume's order; not a copy."""
        part = self._sums[along[0] - self.first : along[1] - self.first, channels]
        return part.movedim(0, self.axis + 1)
