"""The grid of an input and the one that a network will see, told from headers alone."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, LazyTransform, LoadImaged

from pipeline.inferers.undoing import WayBack, way_back
from pipeline.transforms import ScaleIntensityRanged

__all__ = ["GridChange", "grid_change", "keeps_types"]

_FLOAT = 4  # bytes


@dataclass(frozen=True, kw_only=True)
class GridChange:
    """What a preprocessing does to an input's grid.

    Attributes:
        size: voxels along each axis of the input.
        channels: of the input.
        network_size: voxels along each axis of the network's grid.
        back: the way back.
        resampled: whether intensities are interpolated on the way.
        voxel_bytes: of the image as it is loaded.
        in_place: whether its intensities are changed in its memory.
        reading_bytes: see :attr:`pipeline.sources.SourceImage.reading_bytes`.
    """

    size: tuple[int, ...]
    channels: int
    network_size: tuple[int, ...]
    back: WayBack
    resampled: bool
    voxel_bytes: int = _FLOAT
    in_place: bool = False
    reading_bytes: float = 0.0


def keeps_types(preprocessing: Compose) -> bool:
    """Whether a preprocessing with MONAI's ``LoadImaged`` leaves voxels in the type that the reader gives."""
    loading = next((step for step in preprocessing.transforms if isinstance(step, LoadImaged)), None)
    return loading is not None and loading._loader.dtype is None


def grid_change(
    size: tuple[int, ...],
    affine: np.ndarray,
    *,
    channels: int,
    preprocessing: Compose,
    key: str = "image",
    voxel_bytes: int = _FLOAT,
) -> GridChange:
    """Follow a grid through the spatial transforms of a preprocessing, evaluated lazily on an image without memory.

    Args:
        size: of the input.
        affine: of the input, shape (4, 4).
        channels: of the input.
        preprocessing: transforms of dictionaries; those that MONAI cannot evaluate lazily do not change a grid.
        key: of the image.
        voxel_bytes: see :attr:`pipeline.sources.SourceImage.voxel_bytes`.

    Raises:
        InputError: a transform has no way back, see :func:`pipeline.inferers.undoing.way_back`.
    """
    blank = MetaTensor(torch.zeros(()).expand(channels, *size), affine=torch.as_tensor(affine))
    data: Any = {key: blank}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="anti-aliasing")  # which is not lazy
        for step in preprocessing.transforms:
            if isinstance(step, LazyTransform):
                data = step(data, lazy=True)
    image = data[key]
    # The records of pending operations differ from those of applied ones in this entry only.
    operations = [{**one, "lazy": False} for one in image.pending_operations]
    network_size = tuple(int(n) for n in image.peek_pending_shape())
    back = way_back(operations, affine=np.asarray(image.peek_pending_affine()), network_size=network_size)
    resampled = any(str(one["class"]) in ("SpatialResample", "Resize") for one in operations)
    return GridChange(
        size=size,
        channels=channels,
        network_size=network_size,
        back=back,
        resampled=resampled,
        voxel_bytes=voxel_bytes,
        in_place=any(isinstance(step, ScaleIntensityRanged) for step in preprocessing.transforms),
    )
