"""Intensities that MONAI has no transform for: pictures by their sample type, and CLAHE."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform
from monai.utils import convert_to_dst_type

from pipeline.errors import InputError
from pipeline.transforms.checks import source_of

__all__ = ["Clahed", "UnitRanged"]

_CLIP_PERCENTILES = (0.5, 99.5)


class UnitRanged(MapTransform):  # type: ignore[misc]
    """Divide pictures by the largest value of their sample type: 255 for 8 bit, 65535 for 16.

    The brightness of one picture against another is kept, as is that of its channels.

    Args:
        keys: pictures as :class:`~monai.data.MetaTensor`, shape (C, X, Y), with ``full_scale`` in their metadata.

    Returns:
        float32, 0 to 1.

    Raises:
        InputError: the image is no picture, so that its type says nothing about its range.
    """

    def __init__(self, keys: KeysCollection) -> None:
        super().__init__(keys)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return the data with the images divided."""
        result = dict(data)
        for key in self.key_iterator(data):
            full_scale = getattr(data[key], "meta", {}).get("full_scale")
            if full_scale is None:
                raise InputError(
                    "the normalisation `unit` is for pictures, whose sample type has a largest value",
                    where=source_of(data[key]),
                    cure="Take the normalisation percentile or ct_window in plan.yaml",
                )
            result[key] = data[key].to(torch.float32) / float(full_scale)
        return result


class Clahed(MapTransform):  # type: ignore[misc]
    """Contrast-limited adaptive histogram equalisation of each channel, in two or three dimensions.

    Each channel is clipped at its 0.5 and 99.5 percentiles, stretched to 0..1 and equalised within tiles, between
    which the mappings are interpolated, as in Pizer et al. 1987, "Adaptive Histogram Equalization and Its
    Variations", and Zuiderveld 1994, "Contrast Limited Adaptive Histogram Equalization". Where fewer than 1 % of the
    voxels differ from the rest, so that both percentiles are one value, the extremes are taken for them. A channel of
    one value becomes 0.

    Args:
        keys: images of shape (C, X, Y) or (C, X, Y, Z).
        clip_limit: the largest share of a tile's voxels that one of 256 grey levels may count for, above 0 and at
            most 1; more gives more contrast, 1 does not limit it.
        tiles: the number of tiles along each spatial axis, or one number for all; an axis with fewer voxels has a
            tile for each.

    Returns:
        float32, 0 to 1, the metadata kept.

    Raises:
        InputError: an argument is out of its range, or ``tiles`` does not fit the image's axes.
    """

    def __init__(self, keys: KeysCollection, *, clip_limit: float = 0.01, tiles: Sequence[int] | int = 8) -> None:
        super().__init__(keys)
        if not 0 < clip_limit <= 1:
            raise InputError("clip_limit is out of range", where="CLAHE", expected="above 0, at most 1", got=clip_limit)
        self.clip_limit = float(clip_limit)
        self.tiles = tiles if isinstance(tiles, int) else tuple(tiles)
        if min((self.tiles,) if isinstance(self.tiles, int) else self.tiles, default=0) < 1:
            raise InputError("tiles must be 1 or more along each axis", where="CLAHE", got=tiles)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return the data with the images equalised."""
        result = dict(data)
        for key in self.key_iterator(data):
            image = data[key]
            kernel = self._kernel(image)
            channels = [self._equalised(_stretched(channel), kernel) for channel in np.asarray(image)]
            result[key] = convert_to_dst_type(np.stack(channels), image, dtype=torch.float32)[0]
        return result

    def _kernel(self, image: Any) -> tuple[int, ...]:
        shape = tuple(image.shape[1:])
        tiles = (self.tiles,) * len(shape) if isinstance(self.tiles, int) else self.tiles
        if len(tiles) != len(shape):
            raise InputError(
                "tiles do not fit the image", where=source_of(image), expected=f"{len(shape)} numbers", got=tiles
            )
        return tuple(-(-size // count) for size, count in zip(shape, tiles, strict=True))

    def _equalised(self, channel: np.ndarray, kernel: tuple[int, ...]) -> np.ndarray:
        from skimage.exposure import equalize_adapthist

        if channel.min() == channel.max():
            return channel
        # scikit-image takes a volume whose last axis is of 3 or 4 for an RGB picture; none has four axes.
        if channel.shape[2:] in {(3,), (4,)}:
            return np.asarray(equalize_adapthist(channel[None], (1, *kernel), self.clip_limit)[0])
        return np.asarray(equalize_adapthist(channel, kernel, self.clip_limit))


def _stretched(channel: np.ndarray) -> np.ndarray:
    """Clip at the percentiles and scale to 0..1, float32."""
    values = channel.astype(np.float64)
    low, high = np.percentile(values, _CLIP_PERCENTILES)
    if low == high:
        low, high = values.min(), values.max()
    return np.asarray((values.clip(low, high) - low) / ((high - low) or 1), dtype=np.float32)
