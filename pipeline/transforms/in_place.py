"""Intensities changed where they are: MONAI's transforms hold up to four images in float32 on the way."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any

import monai.transforms
import torch
from monai.data import MetaTensor

__all__ = ["ScaleIntensityRanged"]

_BLOCK = 2**22  # voxels


class ScaleIntensityRanged(monai.transforms.ScaleIntensityRanged):  # type: ignore[misc]
    """MONAI's ``ScaleIntensityRanged`` with the same values, which replaces those of a float32 image in its memory.

    Whoever holds the image from before sees the new values. Images of other types are left to MONAI.
    """

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return the data with the images scaled."""
        result = dict(data)
        for key in self.key_iterator(result):
            image = result[key]
            if isinstance(image, torch.Tensor) and image.dtype == torch.float32:
                _by_blocks(image.as_tensor() if isinstance(image, MetaTensor) else image, self.scaler)
            else:
                result[key] = self.scaler(image)
        return result


def _by_blocks(image: torch.Tensor, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """Change an image (C, X, ...) some slices of its first spatial axis at a time."""
    slices = max(_BLOCK * image.shape[1] // max(image.numel(), 1), 1)
    for start in range(0, image.shape[1], slices):
        part = image[:, start : start + slices]
        part.copy_(change(part))
