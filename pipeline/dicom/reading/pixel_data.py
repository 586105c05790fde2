"""Where the pixel data of a file is, and whether all of it is there (PS3.5 section 8 and annex A)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from pydicom.uid import DeflatedExplicitVRLittleEndian

from pipeline.dicom.elements import COPY_AGAIN
from pipeline.errors import InputError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from pipeline.dicom.reading.header import Header

__all__ = ["PixelData", "check_length", "find_pixel_data"]

_PIXEL_DATA, _FLOAT, _DOUBLE_FLOAT = (0x7FE0, 0x0010), (0x7FE0, 0x0008), (0x7FE0, 0x0009)
_ITEM = b"\xfe\xff\x00\xe0"
_SEQUENCE_END = b"\xfe\xff\xdd\xe0"
_UNDEFINED = 0xFFFFFFFF
_HEAD = 12
_ITEM_HEAD = 8


@dataclass(frozen=True, kw_only=True)
class PixelData:
    """The PixelData element of a file.

    ``offset`` is where native values begin, and ``length`` how many bytes the element says it has; both are ``None``
    for compressed ones. ``fragments`` counts the items of encapsulated data without its offset
    table, and ``whole`` says whether the last of them ends within the file.
    """

    offset: int | None = None
    length: int | None = None
    fragments: int | None = None
    whole: bool = True


def find_pixel_data(dataset: Dataset, file: BinaryIO, syntax: str, *, size: int, name: str) -> PixelData | None:
    """Return where the pixel data is; ``None`` where there is none.

    pydicom leaves the file at the tag of the pixel data, where it stopped.

    Raises:
        InputError: the pixels are floating-point numbers, which no image with a rescaling has.
    """
    if syntax == DeflatedExplicitVRLittleEndian:
        return PixelData() if "Rows" in dataset else None
    implicit, little = dataset.original_encoding
    start = file.tell()
    order = "<" if little else ">"
    head = file.read(_HEAD)
    if len(head) < _HEAD:
        return None
    tag = struct.unpack(f"{order}HH", head[:4])
    if tag in {_FLOAT, _DOUBLE_FLOAT}:
        raise InputError("pixel data of floating-point numbers is not supported", where=name, expected="integers")
    if tag != _PIXEL_DATA:
        return None
    length = struct.unpack(f"{order}L", head[4:8] if implicit else head[8:12])[0]
    offset = start + (_ITEM_HEAD if implicit else _HEAD)
    if length == _UNDEFINED:
        return _encapsulated(file, offset, size)
    return PixelData(offset=offset, length=length)


def _encapsulated(file: BinaryIO, offset: int, size: int) -> PixelData:
    """Walk over the items of encapsulated data: a decoder may make a picture of half a fragment without a word."""
    items = 0
    while True:
        file.seek(offset)
        head = file.read(_ITEM_HEAD)
        if head[:4] == _SEQUENCE_END:
            return PixelData(fragments=items - 1)
        if len(head) < _ITEM_HEAD or head[:4] != _ITEM:
            # Some writers leave out the end of the sequence; what follows is then the end of the file.
            return PixelData(fragments=items - 1, whole=not head)
        offset += _ITEM_HEAD + int(struct.unpack("<L", head[4:])[0])
        if offset > size:
            return PixelData(fragments=items - 1, whole=False)
        items += 1


def check_length(header: Header, pixels: PixelData, *, size: int) -> None:
    """Refuse a file that holds less than its header says.

    Raises:
        InputError: the file is truncated.
    """
    if pixels.fragments is not None and (not pixels.whole or pixels.fragments < header.frames):
        raise InputError(
            "the file is truncated within its compressed pixel data",
            where=header.path.name,
            expected=f"{header.frames} compressed frame{'s' if header.frames > 1 else ''}",
            got=f"{pixels.fragments} whole fragments",
            cure=COPY_AGAIN,
        )
    if pixels.length is None or pixels.offset is None:
        return
    expected = header.rows * header.columns * header.frames * header.bits_allocated // 8
    present = min(pixels.length, size - pixels.offset)
    if present < expected:
        raise InputError(
            "the file is truncated",
            where=header.path.name,
            expected=f"{expected} bytes of pixel data",
            got=max(present, 0),
            cure=COPY_AGAIN,
        )
