"""The stored values of one slice, and what they mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

from pipeline.dicom.datasets import read_dataset
from pipeline.dicom.elements import COPY_AGAIN, READ_ERRORS
from pipeline.dicom.reading.decoding_worker import decode_frame
from pipeline.errors import InputError

if TYPE_CHECKING:
    from pipeline.dicom.reading.header import Header

__all__ = ["fill_plane", "has_whole_values", "stored_values", "unpacked"]

Array: TypeAlias = "np.ndarray[tuple[int, ...], np.dtype[Any]]"

_EXACT = 1 << 23  # the sum of a 16-bit number and a whole number below this is exact in float32


def stored_values(header: Header) -> Array:
    """Return the stored values of one frame as an integer array (row, column).

    Native little endian values are read from their place in the file, without parsing the header again;
    every other transfer syntax goes through pydicom.

    Raises:
        InputError: the pixel data is damaged, or cannot be decoded.
    """
    if header.pixel_offset is None:
        return unpacked(header, _decoded(header))
    dtype = np.dtype(f"<{'i' if header.signed else 'u'}{header.bits_allocated // 8}")
    count = header.rows * header.columns
    values = np.fromfile(header.path, dtype=dtype, count=count, offset=header.pixel_offset)
    if values.size != count:
        raise InputError("the file is truncated", where=header.path.name, cure=COPY_AGAIN)
    return unpacked(header, values.reshape(header.rows, header.columns))


def unpacked(header: Header, values: Array) -> Array:
    """Return values (row, column) without the bits above the stored ones, which may be anything (PS3.5 8.1.1).

    Raises:
        InputError: the values are not of the size that the header gives.
    """
    if values.shape != (header.rows, header.columns):
        raise InputError(
            "the pixel data is not of the size that the header gives",
            where=header.path.name,
            expected=f"{header.columns} x {header.rows}",
            got=" x ".join(map(str, values.shape[::-1])),
        )
    unused = header.bits_allocated - header.bits_stored
    if unused and values.dtype.itemsize * 8 == header.bits_allocated:
        # An overlay, for one, may be in these bits: shifting up and down again clears them, or fills them with the
        # sign.
        values = (values << unused) >> unused
    return values


def _decoded(header: Header) -> Array:
    try:
        if header.transfer_syntax_uid == DeflatedExplicitVRLittleEndian:
            values: Array = read_dataset(header.path, pixels=True).pixel_array
            return values if values.ndim == 2 else values[header.frame]  # noqa: PLR2004
        return decode_frame(header.path, header.frame)
    except READ_ERRORS as error:
        raise InputError(
            "the pixel data cannot be decoded: the file is damaged, or no decoder for it is installed",
            where=header.path.name,
            got=UID(header.transfer_syntax_uid).name,
            cure=f"{COPY_AGAIN}, uncompressed if need be; JPEG lossless needs: pip install 'medbundle[jpeg]'",
        ) from error


def has_whole_values(header: Header) -> bool:
    """Whether the rescaled values are whole numbers, whatever the stored ones are."""
    if header.lut is not None:
        return True
    return all(value is None or float(value).is_integer() for value in (header.slope, header.intercept))


def fill_plane(header: Header, stored: Array, plane: Array) -> bool:
    """Write the values of a slice in its own units into ``plane``.

    Each slice has its own slope: a PET series differs from slice to slice (PS3.3 C.8.9.4). MONOCHROME1 says
    how to show the values and not what they mean, so nothing is inverted.

    Args:
        header: of the slice.
        stored: what :func:`stored_values` returned, (row, column).
        plane: floating-point numbers, or integers for a slice that :func:`has_whole_values`; (row, column).

    Returns:
        Whether the values fit into the integers of ``plane``; if not, it is left as it was.
    """
    slope, intercept = (1.0 if header.slope is None else header.slope), float(header.intercept or 0)
    if header.lut is not None:
        stored, slope, intercept = header.lut(stored), 1.0, 0.0
    if plane.dtype.kind == "i":
        return _fill_integers(stored, int(slope), int(intercept), plane)
    if slope == 1 and stored.dtype.itemsize <= 2 and intercept.is_integer() and abs(intercept) < _EXACT:  # noqa: PLR2004
        np.add(stored, plane.dtype.type(intercept), out=plane, dtype=plane.dtype, casting="unsafe")  # nothing to round
        return True
    # In double precision, and rounded once on its way into the plane.
    values = np.multiply(stored, slope, dtype=np.float64)
    if intercept:
        values += intercept
    plane[...] = values
    return True


def _fill_integers(stored: Array, slope: int, intercept: int, plane: Array) -> bool:
    ends = [int(end) * slope + intercept for end in (stored.min(), stored.max())]
    limits = np.iinfo(plane.dtype)
    if min(ends) < limits.min or max(ends) > limits.max:
        return False
    if slope == 1 and stored.dtype.isnative and stored.dtype.itemsize == plane.dtype.itemsize:
        # The sum fits, so that it is right modulo the range of the type, whatever the sign of the stored values is.
        offset = np.array(intercept).astype(plane.dtype)
        np.add(stored.view(plane.dtype), offset, out=plane)
    else:
        np.multiply(stored, np.int64(slope), out=plane, dtype=np.int64, casting="unsafe")
        np.add(plane, np.int64(intercept), out=plane, dtype=np.int64, casting="unsafe")
    return True
