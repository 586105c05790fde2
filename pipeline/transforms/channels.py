"""Channels by themselves: each with its own intensities, and whole ones left out at random."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import Compose, MapTransform, Randomizable

__all__ = ["PerChanneld", "RandChannelDropoutd", "absent_channels"]


def absent_channels(image: Any) -> set[int]:
    """The indices of the channels that a case lacks, as :class:`pipeline.sources.CaseReader` noted them."""
    return {int(index) for index in str(getattr(image, "meta", {}).get("absent_channels", "")).split()}


class PerChanneld(MapTransform):  # type: ignore[misc]
    """Give each channel the intensities of its own transforms; one that the case lacks becomes 0.

    Args:
        keys: images, shape (C, X, Y[, Z]). They become float32.
        transforms: for each channel its dictionary transforms in order, which see it alone, shape (1, X, Y[, Z]), and
            change neither grid nor number of channels.
    """

    def __init__(self, keys: KeysCollection, *, transforms: Sequence[Sequence[Callable[[Any], Any]]]) -> None:
        super().__init__(keys)
        self.transforms = [Compose(list(steps)) for steps in transforms]

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return the data with the images changed."""
        result = dict(data)
        for key in self.key_iterator(result):
            image = result[key]
            absent = absent_channels(image)
            changed = torch.zeros_like(torch.as_tensor(image), dtype=torch.float32)
            if isinstance(image, MetaTensor):
                changed = MetaTensor(changed, meta=image.meta, applied_operations=image.applied_operations)
            for index, change in enumerate(self.transforms):
                if index not in absent:
                    changed[index : index + 1] = change({**data, key: image[index : index + 1].clone()})[key]
            result[key] = changed
        return result


class RandChannelDropoutd(Randomizable, MapTransform):  # type: ignore[misc]
    """Set whole channels to 0 at random, so that a network learns to do without them; one always stays.

    Channels that the case itself lacks become 0 again, whatever was added to them since.

    Args:
        keys: images, shape (C, X, Y[, Z]), which lose the same channels.
        prob: of each channel to be lost.
        channels: the indices of those that may be; all when absent.
    """

    def __init__(self, keys: KeysCollection, *, prob: float, channels: Sequence[int] | None = None) -> None:
        super().__init__(keys)
        self.prob = prob
        self.channels = None if channels is None else tuple(channels)
        self._lost: set[int] = set()

    def randomize(self, present: Sequence[int]) -> None:
        """Draw which of the channels that are there are lost."""
        may = [index for index in present if self.channels is None or index in self.channels]
        drawn = self.R.random(len(may))
        lost = {index for index, value in zip(may, drawn, strict=True) if value < self.prob}
        if lost and len(lost) == len(present):
            lost.remove(int(self.R.choice(sorted(lost))))
        self._lost = lost

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return the data with the images changed."""
        result = dict(data)
        keys = list(self.key_iterator(result))
        if not keys:
            return result
        first = result[keys[0]]
        absent = absent_channels(first)
        self.randomize([index for index in range(first.shape[0]) if index not in absent])
        for key in keys if self._lost | absent else ():
            image = result[key].clone()
            image[sorted(self._lost | absent)] = 0
            result[key] = image
        return result
