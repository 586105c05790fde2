"""Whether a file is whole: checksums and lengths that the libraries which decode it do not ask for."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from pipeline.errors import InputError

__all__ = ["check_inflated", "check_png", "read_to_the_end"]

COPY_AGAIN = "Copy it again from its source"
_BLOCK = 2**20
_MOST_BEYOND = 2**24  # bytes after the voxels that still make sense
_PNG_START = b"\x89PNG\r\n\x1a\n"
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))  # Adam7
_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # of a pixel, by PNG's colour type


def read_to_the_end(stream: BinaryIO, *, where: Path) -> None:
    """Read what is left of a gzip stream, so that Python compares its checksum and length (RFC 1952).

    Raises:
        InputError: they differ, the end is missing, or much more follows than the header says.
    """
    beyond = 0
    try:
        while block := stream.read(_BLOCK):
            beyond += len(block)
            if beyond > _MOST_BEYOND:
                raise InputError("cannot be read: it holds more than its header says", where=where, cure=COPY_AGAIN)
    except (EOFError, OSError, zlib.error) as error:
        raise InputError(
            "cannot be read: it is damaged", where=where, got=" ".join(str(error).split()), cure=COPY_AGAIN
        ) from None


def check_inflated(stream: BinaryIO, expected: int, *, where: Path) -> None:
    """Inflate zlib or gzip data without keeping it, and compare its checksum and length.

    Args:
        stream: at the beginning of the compressed data.
        expected: how many bytes there are to be.
        where: the file.

    Raises:
        InputError: the data is damaged, cut off or of another length.
    """
    inflate, length = zlib.decompressobj(wbits=47), 0  # either format, by its header
    try:
        while not inflate.eof and length <= expected:
            block = inflate.unconsumed_tail or stream.read(_BLOCK)
            if not block:
                raise InputError(
                    "cannot be read: it is cut off",
                    where=where,
                    expected=f"{expected} bytes",
                    got=length,
                    cure=COPY_AGAIN,
                )
            length += len(inflate.decompress(block, _BLOCK))
    except zlib.error as error:
        raise InputError("cannot be read: it is damaged", where=where, got=error, cure=COPY_AGAIN) from None
    if length != expected:
        got = f"{length} bytes" if length < expected else "more"
        raise InputError(
            "cannot be read: its data has another length",
            where=where,
            expected=f"{expected} bytes",
            got=got,
            cure=COPY_AGAIN,
        )


def check_png(path: Path) -> None:
    """Check the checksum of every chunk of a PNG, and that its pixels are all there (ISO/IEC 15948, sections 5 and 10).

    Raises:
        InputError: a checksum is wrong, the end is missing, or there are too few pixels.
    """
    with path.open("rb") as file:
        if file.read(len(_PNG_START)) != _PNG_START:
            return  # of another format, as who decodes it will say
        inflate, length, expected, seen_end = zlib.decompressobj(), 0, 0, False
        for name, data in _chunks(file, path):
            if name == b"IHDR":
                expected = _png_bytes(data, path)
            elif name == b"IDAT":
                length += _inflated_length(inflate, data, path)
            seen_end = seen_end or name == b"IEND"
    if not seen_end:
        raise InputError("cannot be read: it is cut off", where=path, expected="a PNG to its end", cure=COPY_AGAIN)
    if length < expected:
        raise InputError(
            "cannot be read: it lacks pixels", where=path, expected=f"{expected} bytes", got=length, cure=COPY_AGAIN
        )


def _chunks(file: BinaryIO, path: Path) -> Iterator[tuple[bytes, bytes]]:
    while len(head := file.read(8)) == 8:  # noqa: PLR2004 - length and name
        length, name = struct.unpack(">I4s", head)
        data, checksum = file.read(length), file.read(4)
        if len(checksum) < 4:  # noqa: PLR2004
            raise InputError("cannot be read: it is cut off", where=path, expected="a PNG to its end", cure=COPY_AGAIN)
        if zlib.crc32(data, zlib.crc32(name)) != int.from_bytes(checksum, "big"):
            kind = name.decode("latin-1")
            raise InputError(f"cannot be read: the checksum of its chunk {kind} is wrong", where=path, cure=COPY_AGAIN)
        yield name, data
        if name == b"IEND":
            return


def _inflated_length(inflate: zlib._Decompress, data: bytes, path: Path) -> int:
    length = 0
    try:
        while data:
            length += len(inflate.decompress(data, _BLOCK))
            data = inflate.unconsumed_tail
    except zlib.error as error:
        raise InputError("cannot be read: it is damaged", where=path, got=error, cure=COPY_AGAIN) from None
    return length


def _png_bytes(data: bytes, path: Path) -> int:
    """Bytes of all rows, each with its filter's."""
    try:
        width, height, depth, colours, _, _, interlaced = struct.unpack(">IIBBBBB", data)
        bits = depth * _SAMPLES[colours]
    except (struct.error, KeyError):
        raise InputError("cannot be read: it has no sound PNG header", where=path, cure=COPY_AGAIN) from None
    passes = _PASSES if interlaced else ((0, 0, 1, 1),)
    total = 0
    for left, top, across, down in passes:
        columns, rows = -(-(width - left) // across), -(-(height - top) // down)
        if columns > 0 and rows > 0:
            total += rows * (1 + (columns * bits + 7) // 8)
    return total
