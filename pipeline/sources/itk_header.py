"""What ITK reads past in the headers of NRRD (teem.sourceforge.net/nrrd/format.html) and MetaImage files.

ITK takes every length for millimetres and every space for one of its own, and does not compare checksums.
"""

from __future__ import annotations

import gzip
import math
from pathlib import Path

from pipeline.errors import InputError
from pipeline.sources.integrity import COPY_AGAIN, check_inflated

__all__ = ["check_meta_image", "check_nrrd"]

_HEADER_BYTES = 2**16
_SPACES = {"left-posterior-superior", "lps", "right-anterior-superior", "ras", "left-anterior-superior", "las"}
_BYTES = {
    "signed char": 1, "int8": 1, "int8_t": 1, "uchar": 1, "unsigned char": 1, "uint8": 1, "uint8_t": 1,
    "short": 2, "short int": 2, "signed short": 2, "signed short int": 2, "int16": 2, "int16_t": 2,
    "ushort": 2, "unsigned short": 2, "unsigned short int": 2, "uint16": 2, "uint16_t": 2,
    "int": 4, "signed int": 4, "int32": 4, "int32_t": 4, "uint": 4, "unsigned int": 4, "uint32": 4, "uint32_t": 4,
    "longlong": 8, "long long": 8, "int64": 8, "int64_t": 8, "ulonglong": 8, "unsigned long long": 8, "uint64": 8,
    "uint64_t": 8, "float": 4, "double": 8,
    "met_char": 1, "met_uchar": 1, "met_short": 2, "met_ushort": 2, "met_int": 4, "met_uint": 4, "met_long": 4,
    "met_ulong": 4, "met_long_long": 8, "met_ulong_long": 8, "met_float": 4, "met_double": 8,
}  # fmt: skip


def check_nrrd(path: Path, *, voxels: bool) -> None:
    """Refuse what ITK would misread or believe.

    Args:
        path: of the header.
        voxels: whether compressed data is read to its end, too.

    Raises:
        InputError: another unit than mm, a space whose axes are no body axes, a missing or damaged data file.
    """
    head = _head(path)
    fields = _fields(head[: _end_of(head)], ":")
    units = {unit for unit in fields.get("space units", "").replace('"', " ").split() if unit}
    if units - {"mm", "???", "none"}:
        raise InputError("its lengths are not in mm", where=path, got=fields["space units"], cure="Rewrite it in mm")
    space = fields.get("space", "").lower()
    if space and space not in _SPACES:
        expected = "left-posterior-superior, right-anterior-superior or left-anterior-superior"
        raise InputError("its axes are none of the patient", where=path, expected=expected, got=f"space {space}")
    data = _data_file(path, fields.get("data file", fields.get("datafile")))
    length = _stated_bytes(fields.get("sizes", ""), fields.get("type", ""))
    compressed = fields.get("encoding", "").lower() in ("gzip", "gz") and _begins_at_once(fields)
    if voxels and compressed and data is not None and length is not None:
        with data.open("rb") as file:
            file.seek(_end_of(head) if data == path else 0)
            check_inflated(file, length, where=data)


def check_meta_image(path: Path, *, voxels: bool) -> None:
    """Refuse what ITK would misread or believe; see :func:`check_nrrd`.

    Raises:
        InputError: another unit than mm, a missing or damaged data file.
    """
    head = _head(path)
    start = head.find(b"ElementDataFile")
    if start < 0:
        what = "cannot be read: the header does not end"
        raise InputError(what, where=path, expected="ElementDataFile", cure=COPY_AGAIN)
    fields = _fields(head[:start], "=")
    unit = fields.get("distanceunits", "mm").lower()
    if unit not in ("mm", "?", ""):
        raise InputError("its lengths are not in mm", where=path, got=f"DistanceUnits {unit}", cure="Rewrite it in mm")
    line, _, _ = head[start:].partition(b"\n")
    name = line.decode("latin-1").partition("=")[2].strip()
    data = path if name.upper() == "LOCAL" else _data_file(path, name)
    if not voxels or fields.get("compresseddata", "false").lower() != "true" or data is None:
        return
    expected = _stated_bytes(fields.get("dimsize", ""), fields.get("elementtype", ""))
    if expected is not None:
        with data.open("rb") as file:
            file.seek(start + len(line) + 1 if data == path else 0)
            check_inflated(file, expected * int(fields.get("elementnumberofchannels", "1")), where=data)


def _head(path: Path) -> bytes:
    opened = gzip.open if path.suffix.lower() == ".gz" else open
    with opened(path, "rb") as file:
        return bytes(file.read(_HEADER_BYTES))


def _fields(text: bytes, sign: str) -> dict[str, str]:
    pairs = (line.partition(sign) for line in text.decode("latin-1").splitlines() if not line.startswith("#"))
    return {name.strip().lower(): value.lstrip("=").strip() for name, found, value in pairs if found}


def _data_file(path: Path, name: str | None) -> Path | None:
    """The file of the voxels; None for a list of files, which ITK reads itself."""
    if name is None:
        return path
    if name.upper().startswith("LIST") or "%" in name:
        return None
    file = path.parent / name
    if not file.is_file():
        raise InputError("its data file is missing", where=path, expected=name, cure="Copy both files together")
    return file


def _end_of(head: bytes) -> int:
    """Where the empty line ends that ends a header."""
    ends = [head.find(end) + len(end) for end in (b"\n\n", b"\r\n\r\n") if end in head]
    return min(ends, default=len(head))


def _begins_at_once(fields: dict[str, str]) -> bool:
    return all(fields.get(name, "0") in ("0", "") for name in ("byte skip", "byteskip", "line skip", "lineskip"))


def _stated_bytes(sizes: str, kind: str) -> int | None:
    """Bytes of all values, as far as the header can be understood; ITK says what is wrong with it otherwise."""
    try:
        return math.prod(int(size) for size in sizes.split()) * _BYTES[kind.lower()]
    except (ValueError, KeyError):
        return None
