"""Values out of a DICOM header as they are stored, and what reading a damaged file may raise.

pydicom's own conversion may warn, and quote the value in the warning.
"""

from __future__ import annotations

import hashlib
import math
import sqlite3
import struct
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from pydicom.charset import convert_encodings, decode_bytes
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.errors import BytesLengthException, InvalidDicomError

from pipeline.errors import InputError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

__all__ = [
    "COPY_AGAIN",
    "READ_ERRORS",
    "decoded_text",
    "first_item",
    "hashed",
    "number",
    "numbers",
    "plain_text",
    "raw_value",
    "text",
    "whole_number",
]


READ_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    BytesLengthException,
    EOFError,
    InvalidDicomError,
    LookupError,
    OSError,
    RuntimeError,  # RecursionError, of sequences in sequences, is one
    TypeError,
    ValueError,
    sqlite3.Error,  # highdicom keeps what frames are about in a table
    struct.error,
    zlib.error,
)
"""What pydicom, its decoders and highdicom raise on damaged files."""
COPY_AGAIN = "Copy or export the series again"
"""The cure for a damaged file."""

_BINARY_FORMATS = {"FD": "d", "FL": "f", "UL": "L", "US": "H", "SL": "l", "SS": "h"}  # PS3.5 6.2, to struct's letters


def raw_value(dataset: Dataset, keyword: str) -> bytes:
    """Return the bytes of an element as stored: converting them could warn with the value in the text."""
    tag = tag_for_keyword(keyword)
    if tag is None or (element := dataset.get_item(tag)) is None:
        return b""
    value = element.value
    if isinstance(element, RawDataElement):
        return value or b""
    return value if isinstance(value, bytes) else str(value or "").encode()


def text(dataset: Dataset, keyword: str) -> str:
    """Return an ASCII value without its padding; "" where it is absent."""
    return raw_value(dataset, keyword).decode("latin-1").strip(" \0\r\n\t")


def hashed(dataset: Dataset, keyword: str) -> str:
    """Return a hash of a value that must not be shown, or "" where it is absent."""
    value = text(dataset, keyword).casefold()
    return hashlib.sha256(value.encode()).hexdigest() if value else ""


def decoded_text(dataset: Dataset, keyword: str) -> str:
    """Return a text in the file's own character set, in one line."""
    raw = raw_value(dataset, keyword)
    try:
        encodings = convert_encodings(dataset.get("SpecificCharacterSet") or "ISO_IR 6")
        decoded = decode_bytes(raw, encodings, set())
    except (LookupError, ValueError):
        decoded = raw.decode("latin-1")
    return " ".join(decoded.replace("\0", " ").split())


def whole_number(dataset: Dataset, keyword: str) -> int | None:
    """Return an IS value; ``None`` where there is none that can be read."""
    try:
        return int(text(dataset, keyword))
    except ValueError:
        return None


def plain_text(dataset: Dataset, keyword: str) -> str:
    """Return a value as text whatever its VR, several joined by backslashes; "" where it is absent."""
    tag = tag_for_keyword(keyword)
    element = None if tag is None else dataset.get_item(tag)
    if tag is None or element is None or not element.value:
        return ""
    letter = _BINARY_FORMATS.get(dictionary_VR(tag))
    if not isinstance(element, RawDataElement):
        values = [element.value] if isinstance(element.value, str | int | float) else list(element.value)
    elif letter is None:
        return text(dataset, keyword)
    else:
        raw = raw_value(dataset, keyword)
        count = len(raw) // struct.calcsize(f"={letter}")
        order = "<" if element.is_little_endian else ">"
        values = list(struct.unpack_from(f"{order}{count}{letter}", raw))
    return "\\".join(f"{value:g}" if isinstance(value, float) else str(value) for value in values)


def first_item(dataset: Dataset, keyword: str) -> Dataset | None:
    """Return the first item of a sequence; ``None`` where there is none."""
    sequence = dataset.get(keyword)
    return sequence[0] if sequence else None


def numbers(dataset: Dataset, keyword: str, count: int, where: Path | str) -> tuple[float, ...]:
    """Return the finite numbers of a DS value, or refuse what ``where`` names."""
    where = where.name if isinstance(where, Path) else where
    written = text(dataset, keyword)
    if not written:
        raise InputError(f"no {keyword}, so that the place of the slice is unknown", where=where)
    try:
        values = tuple(float(value) for value in written.split("\\"))
    except ValueError:
        values = ()
    if len(values) != count or not all(map(math.isfinite, values)):
        raise InputError(f"{keyword} cannot be used", where=where, expected=f"{count} numbers", got=repr(written[:80]))
    return values


def number(dataset: Dataset, keyword: str, where: Path | str) -> float | None:
    """Return the number of a DS value; ``None`` where it is absent."""
    return numbers(dataset, keyword, 1, where)[0] if text(dataset, keyword) else None
