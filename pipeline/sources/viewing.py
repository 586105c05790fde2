"""A picture as people look at it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.errors import InputError
from pipeline.sources.reader import CaseReader

__all__ = ["viewable"]

_RGB, _WHITE = 3, 255
_WINDOW_PERCENTILES = (0.5, 99.5)


def viewable(path: str | Path, *, series: str | None = None) -> npt.NDArray[np.uint8]:
    """Read a picture for the eye; samples of 8 bit as they are, others between their 0.5 and 99.5 percentiles.

    Args:
        path: a picture, or a DICOM file or folder of one slice.
        series: the DICOM series to take.

    Returns:
        RGB, shape (height, width, 3); alpha is dropped.

    Raises:
        InputError: the picture cannot be read, or is a volume.
    """
    reader = CaseReader(series=series, dimensions=2)
    array, meta = reader.get_data(reader.read(path))
    if len(meta["spatial_shape"]) != 2:  # noqa: PLR2004 - X and Y
        raise InputError("is a volume, which no picture shows", where=path, got=tuple(meta["spatial_shape"]))
    samples = np.atleast_3d(array.swapaxes(0, 1))
    samples = samples[..., :_RGB] if samples.shape[-1] >= _RGB else samples[..., :1]
    if samples.dtype == np.uint8 and "full_scale" in meta:
        shown = (samples * (_WHITE / meta["full_scale"])).round().astype(np.uint8)
    else:
        shown = _windowed(samples.astype(np.float64))
    return np.repeat(shown, _RGB // shown.shape[-1], axis=-1)


def _windowed(values: npt.NDArray[np.float64]) -> npt.NDArray[np.uint8]:
    finite = values[np.isfinite(values)]
    low, high = np.percentile(finite, _WINDOW_PERCENTILES) if finite.size else (0.0, 1.0)
    if not high > low:  # few pixels differ, or none
        low, high = (finite.min(), finite.max()) if finite.size and np.ptp(finite) else (low, low + 1)
    scaled = (np.nan_to_num(values, nan=low, posinf=high, neginf=low) - low) / (high - low)
    return np.asarray((scaled.clip(0, 1) * _WHITE).round(), dtype=np.uint8)
