"""Whole numbers among the values of a label map, as far as its file could store them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.errors import InputError

__all__ = ["snapped", "whole_numbers"]

# A scaled file holds value = slope * sample + intercept. The slope and the intercept of NIfTI are of 32 bits, each
# wrong by up to 2^-24 of itself, and their product and sum round as much again: 255 x 1/255 is 1.00000006.
_FLOAT_ROUNDING = 2.0**-22  # of the largest value
# Samples of 16 bits, spread over the range of the values, meet a value to half a step: 1 of 0 to 7 is 0.99998.
_HALF_STEP = 0.5 / (2**16 - 1)  # of the range
_MOST = 2.0**-9  # half a step of 16 bits over 0 to 255, the labels of a plan; nothing further off is rounding


def snapped(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Make values whole that are so but for the rounding of a scaled file; others stay as they are.

    Args:
        values: of any shape and real type.

    Returns:
        The same array where nothing changes.
    """
    if values.dtype.kind != "f" or not values.size:
        return values
    nearest = np.rint(values)
    if np.array_equal(nearest, values):
        return values
    finite = values[np.isfinite(values)].astype(np.float64, copy=False)
    if not finite.size:
        return values
    low, high = float(finite.min()), float(finite.max())
    allowed = min((high - low) * _HALF_STEP + max(-low, high) * _FLOAT_ROUNDING, _MOST)
    with np.errstate(invalid="ignore"):
        near = np.abs(values - nearest) <= allowed
    return np.where(near, nearest, values)


def whole_numbers(values: npt.NDArray[Any], *, where: object) -> npt.NDArray[np.integer[Any]]:
    """Give the values of a label map as integers.

    Args:
        values: of any shape and real type.
        where: the file, for the message.

    Raises:
        InputError: one of them is no whole number, even where the rounding of a scaled file is forgiven.
    """
    if values.dtype.kind in "bui":
        return values.astype(np.uint8) if values.dtype.kind == "b" else values
    near = snapped(values)
    with np.errstate(invalid="ignore"):
        whole = near.astype(np.int32)
    different = values[whole != near]
    if different.size:
        raise InputError("is no label map", where=where, expected="whole numbers", got=f"{different.flat[0]:g}")
    return whole
