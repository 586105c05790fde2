"""Volumes in the smallest type that holds their values, so that a whole-body CT takes 2 bytes a voxel."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from monai.data import NibabelReader

__all__ = ["COMPRESSED", "CompactNibabelReader", "compact_tensor"]

_SMALL = (np.dtype(np.uint8), np.dtype(np.int8), np.dtype(np.int16))
_RANGE = np.iinfo(np.int16)
COMPRESSED = (".gz", ".bz2", ".zst", ".mgz")
_SLICES_BYTES = 32 * 2**20  # of a file that are converted at a time


class CompactNibabelReader(NibabelReader):  # type: ignore[misc]
    """MONAI's reader of NIfTI and MGH; but integers of up to 16 bit stay what they are, all else becomes float32.

    So does a file whose scaling only adds a whole number. Nothing in double precision is ever as large as the image,
    where nibabel applies a scaling to the whole.
    """

    def _get_array_data(self, img: Any, filename: Any) -> np.ndarray:
        proxy = img.dataobj
        slope, intercept = (float(getattr(proxy, name, default)) for name, default in (("slope", 1), ("inter", 0)))
        stored = np.dtype(img.get_data_dtype())
        if slope == 1 and intercept == 0 and stored in _SMALL and stored.isnative:
            if not str(filename).lower().endswith(COMPRESSED):
                return np.asanyarray(proxy)  # a map of the file
            return _converted(img, stored)
        if stored.kind in "iu" and stored.itemsize <= _SMALL[-1].itemsize and slope == 1 and intercept.is_integer():
            with suppress(OverflowError):
                return _converted(img, np.dtype(np.int16))
        if stored.kind not in "biuf":
            return np.asanyarray(proxy)  # complex numbers and colours are refused by name later
        return _converted(img, np.dtype(np.float32))


def compact_tensor(array: Any) -> torch.Tensor:
    """An array as a tensor with its strides, which MONAI does not copy: uint8, int8 or int16, and float32 for others.

    Args:
        array: of any shape, strides and real type.
    """
    if array.dtype not in _SMALL or not array.dtype.isnative:
        array = array.astype(np.float32, copy=False)
    if any(stride < 0 for stride in array.strides):
        array = array.copy()
    if not array.flags.writeable:  # PyTorch has no tensors to read only
        array = array.copy(order="K")
    return torch.from_numpy(array)


def _converted(img: Any, dtype: np.dtype[Any]) -> np.ndarray:
    """The scaled values in another type, in the order of the file.

    Raises:
        OverflowError: int16 does not hold them.
    """
    result = np.empty(img.shape, dtype=dtype, order="F")
    for run in _runs(img):
        values = np.asanyarray(img.dataobj[..., run])
        if dtype.kind == "i" and values.size and (values.min() < _RANGE.min or values.max() > _RANGE.max):
            raise OverflowError
        result[..., run] = values
    return result


def _runs(img: Any) -> Iterator[slice]:
    """Slices along the last axis: a compressed file is read once, from its beginning to its end."""
    length = int(img.shape[-1]) if img.shape else 0
    plane = int(np.prod(img.shape[:-1], dtype=np.int64)) * np.dtype(np.float64).itemsize
    step = max(_SLICES_BYTES // max(plane, 1), 1)
    for start in range(0, length, step):
        yield slice(start, min(start + step, length))
