"""What an image brings along for the inferer: how much may be held while it is labelled."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from monai.data import MetaTensor

__all__ = ["ImageSettings"]

_KEY = "image_settings"


@dataclass(frozen=True, kw_only=True)
class ImageSettings:
    """Settings that hold for one image, in place of those of :class:`pipeline.inferers.StreamingInferer`.

    Attributes:
        sw_batch_size: windows per call of the network.
        max_slab_mb: the largest slab, in units of 10 ** 6 bytes.
        keeps_probabilities: whether the files of probabilities that are asked for are made for this image.
    """

    sw_batch_size: int
    max_slab_mb: float
    keeps_probabilities: bool = True

    def noted(self, image: torch.Tensor) -> MetaTensor:
        """The image, of the same memory, with these settings in its metadata."""
        tensor: MetaTensor = image if isinstance(image, MetaTensor) else MetaTensor(image)
        tensor.meta[_KEY] = json.dumps(asdict(self))  # one string survives the collation of cases
        return tensor

    @classmethod
    def taken(cls, meta: dict[str, Any]) -> ImageSettings | None:
        """Take the settings, if there are any, out of an image's metadata: they are none of its label map's."""
        text = meta.pop(_KEY, None)
        values: Mapping[str, Any] | None = None if text is None else json.loads(text)
        return None if values is None else cls(**values)
