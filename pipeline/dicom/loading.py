"""The voxels of a series."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.dicom.decoding import for_each_frame
from pipeline.dicom.pixels import fill_plane, has_whole_values
from pipeline.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import highdicom
    from numpy.typing import DTypeLike

    from pipeline.dicom.header import Header
    from pipeline.dicom.series import Series

__all__ = ["load"]


def load(series: Series, *, dtype: DTypeLike | None = np.float32) -> highdicom.Volume:
    """Load a series into a volume in its own units (HU, SUV, ...).

    Args:
        series: what :func:`choose` returned.
        dtype: of the voxels: floating-point numbers; integers, which are refused unless they hold all values as
            they are; or None for int16 where it holds all values, and else float32.

    Returns:
        Axes (slice, row, column), with highdicom's affine to LPS in mm.

    Raises:
        InputError: the series has a problem, its pixels cannot be decoded, or its values are not of the ``dtype``.
    """
    if series.problem is not None or series.frames is None:
        raise InputError(series.problem or "the series has no slices")
    wanted = np.dtype(np.int16 if dtype is None else dtype)
    if wanted.kind not in "fi":
        raise InputError("no type for voxels", expected="floating-point numbers or signed integers", got=wanted)
    geometry = series.frames.geometry
    array = np.empty(geometry.spatial_shape, dtype=wanted)
    misfit = _fill(array, series.frames.headers)
    if misfit is not None and dtype is None:
        array = np.empty(geometry.spatial_shape, dtype=np.float32)
        misfit = _fill(array, series.frames.headers)
    if misfit is not None:
        raise InputError(f"the values do not fit into {wanted}", where=misfit.name, cure="Load them as float32")
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
