"""Values out of a DICOM header as they are stored, and what reading a damaged file may raise.

pydicom's own conversion may warn, and quote the value in the warning.
"""

from __future__ import annotations

import hashlib
import math
import struct
from typing import TYPE_CHECKING

from pydicom.charset import convert_encodings, decode_bytes
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.errors import InvalidDicomError

from pipeline.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from pydicom.dataset import Dataset

__all__ = [
    "COPY_AGAIN",
    "READ_ERRORS",
    "decoded_text",
    "hashed",
    "number",
    "numbers",
    "raw_value",
    "text",
    "whole_number",
]


READ_ERRORS = (
    InvalidDicomError,
    AttributeError,
    EOFError,
    KeyError,
    NotImplementedError,
    OSError,
    TypeError,
    ValueError,
    struct.error,
)
"""What pydicom raises on damaged files."""
COPY_AGAIN = "Copy or export the series again"
"""The cure for a damaged file."""


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


def numbers(dataset: Dataset, keyword: str, count: int, path: Path) -> tuple[float, ...]:
    """Return the finite numbers of a DS value, or refuse the file."""
    written = text(dataset, keyword)
    if not written:
        raise InputError(f"no {keyword}, so that the place of the slice is unknown", where=path.name)
    try:
        values = tuple(float(value) for value in written.split("\\"))
    except ValueError:
        values = ()
    if len(values) != count or not all(map(math.isfinite, values)):
        raise InputError(
            f"{keyword} cannot be used", where=path.name, expected=f"{count} numbers", got=repr(written[:80])
        )
    return values


def number(dataset: Dataset, keyword: str, path: Path) -> float | None:
    """Return the number of a DS value; ``None`` where it is absent."""
    return numbers(dataset, keyword, 1, path)[0] if text(dataset, keyword) else None
