"""The voxels of a series."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.dicom.reading.decoding import for_each_frame
from pipeline.dicom.reading.pixels import fill_plane, has_whole_values
from pipeline.dicom.reading.tilt import Shear, outside_value
from pipeline.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import highdicom
    from numpy.typing import DTypeLike

    from pipeline.dicom.reading.geometry import Stack
    from pipeline.dicom.reading.header import Header
    from pipeline.dicom.reading.series import Series

__all__ = ["load"]


def load(series: Series, *, dtype: DTypeLike | None = np.float32, untilt: bool = False) -> highdicom.Volume:
    """Load a series into a volume in its own units (HU, SUV, ...).

    Args:
        series: what :func:`choose` returned.
        dtype: of the voxels: floating-point numbers; integers, which are refused unless they hold all values as
            they are; or None for int16 where it holds all values, and else float32.
        untilt: bring a series of a tilted gantry to an upright grid (see :class:`pipeline.dicom.reading.tilt.Shear`),
            by linear interpolation within each slice; its values are then no whole numbers. What no slice covers gets
            the lowest value of the series, in CT at most -1000 HU. Other series are loaded as they are.

    Returns:
        Axes (slice, row, column), with highdicom's affine to LPS in mm.

    Raises:
        InputError: the series has a problem, its pixels cannot be decoded, or its values are not of the ``dtype``.
    """
    wanted = np.dtype(np.int16 if dtype is None else dtype)
    if wanted.kind not in "fi":
        raise InputError("no type for voxels", expected="floating-point numbers or signed integers", got=wanted)
    if untilt and series.tilted is not None:
        return _untilted(series.tilted, np.dtype(np.float32) if dtype is None else wanted, series.modality)
    if series.problem is not None or series.frames is None:
        raise InputError(series.problem or "the series has no slices")
    geometry = series.frames.geometry
    array = np.empty(geometry.spatial_shape, dtype=wanted)
    misfit = _fill(array, series.frames.headers)
    if misfit is not None and dtype is None:
        array = np.empty(geometry.spatial_shape, dtype=np.float32)
        misfit = _fill(array, series.frames.headers)
    if misfit is not None:
        raise InputError(f"the values do not fit into {wanted}", where=misfit.name, cure="Load them as float32")
    return geometry.with_array(array)


def _untilted(stack: Stack, dtype: np.dtype[Any], modality: str) -> highdicom.Volume:
    """Load tilted slices onto their upright grid, one at a time; only the upright volume is held as a whole."""
    if dtype.kind != "f":
        raise InputError(
            f"interpolated values do not fit into {dtype}", where=stack.headers[0].name, cure="Load them as float32"
        )
    shear = Shear.of_stack(stack)
    array = np.empty(shear.upright_size[::-1], dtype=dtype)
    lowest = np.empty(len(stack.headers))

    def use(index: int, stored: np.ndarray[tuple[int, ...], np.dtype[Any]]) -> None:
        plane = np.empty(stored.shape, dtype=dtype)
        fill_plane(stack.headers[index], stored, plane)
        lowest[index] = plane.min()
        shear.move(plane, index, array[index])

    for_each_frame(stack.headers, use)
    value = outside_value(float(lowest.min()), modality)
    for k, upright in enumerate(array):
        shear.fill_outside(k, upright, value)
    before = [0, *(-begin for begin in shear.origin[::-1])]
    whole = zip(before, stack.geometry.spatial_shape, array.shape, strict=True)
    geometry = stack.geometry.pad([[own, wide - size - own] for own, size, wide in whole])
    return geometry.with_array(array)


def _fill(array: np.ndarray[tuple[int, ...], np.dtype[Any]], headers: Sequence[Header]) -> Header | None:
    """Write the values into the array, slice by slice; return a slice whose values do not fit its integers."""
    if array.dtype.kind == "i":
        fractions = next((header for header in headers if not has_whole_values(header)), None)
        if fractions is not None:
            return fractions
    misfits: list[Header] = []

    def use(index: int, stored: np.ndarray[tuple[int, ...], np.dtype[Any]]) -> None:
        if not misfits and not fill_plane(headers[index], stored, array[index]):
            misfits.append(headers[index])

    for_each_frame(headers, use)
    return misfits[0] if misfits else None
