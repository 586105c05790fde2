"""The stored values of one slice, and their rescaling."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pydicom
from pydicom.uid import UID

from pipeline.dicom.elements import COPY_AGAIN, READ_ERRORS
from pipeline.errors import InputError

if TYPE_CHECKING:
    from pipeline.dicom.header import Header

__all__ = ["fill_plane", "stored_values"]

Array: TypeAlias = "np.ndarray[tuple[int, ...], np.dtype[Any]]"


def stored_values(header: Header) -> Array:
    """Return the stored values of a single-frame image as an integer array (row, column).

    Native little endian values are read from their place in the file, without parsing the header again;
    every other transfer syntax goes through pydicom.
    """
    if header.pixel_offset is None:
        return _decoded(header)
    dtype = np.dtype(f"<{'i' if header.signed else 'u'}{header.bits_allocated // 8}")
    count = header.rows * header.columns
    values = np.fromfile(header.path, dtype=dtype, count=count, offset=header.pixel_offset)
    if values.size != count:
        raise InputError("the file is truncated", where=header.path.name, cure=COPY_AGAIN)
    unused = header.bits_allocated - header.bits_stored
    if unused:
        # The bits above the stored ones may hold anything, an overlay for one (PS3.5 8.1.1): shifting up and
        # down again clears them, or fills them with the sign.
        values = (values << unused) >> unused
    return values.reshape(header.rows, header.columns)


def _decoded(header: Header) -> Array:
    try:
        values: Array = pydicom.dcmread(header.path, force=True).pixel_array
    except (*READ_ERRORS, RuntimeError) as error:
        raise InputError(
            "the pixel data cannot be decoded: the file is damaged, or no decoder for it is installed",
            where=header.path.name,
            got=UID(header.transfer_syntax_uid).name,
            cure=f"{COPY_AGAIN}, uncompressed if need be",
        ) from error
    if values.shape != (header.rows, header.columns):
        raise InputError(
            "the pixel data is not of the size that the header gives",
            where=header.path.name,
            expected=f"{header.columns} x {header.rows}",
            got=" x ".join(map(str, values.shape[::-1])),
        )
    return values


def fill_plane(header: Header, plane: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> None:
    """Write the rescaled values of a slice into ``plane`` (row, column).

    Each slice has its own slope: a PET series differs from slice to slice (PS3.3 C.8.9.4). MONOCHROME1 says
    how to show the values and not what they mean, so nothing is inverted.
    """
    slope = 1.0 if header.slope is None else header.slope
    # The product is taken in double precision, block by block, and rounded once on its way into the plane.
    np.multiply(stored_values(header), np.float64(slope), out=plane, casting="unsafe")
    if header.intercept:
        plane += np.float32(header.intercept)
