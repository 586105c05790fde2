"""How large a deflated file (PS3.5 A.5) becomes, before anything of that size is allocated."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, BinaryIO

from pipeline.dicom.elements import COPY_AGAIN
from pipeline.errors import InputError
from pipeline.memory import available_bytes

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["check_inflated_size"]

_DEFLATED = b"1.2.840.10008.1.2.1.99"
_HEAD_BYTES, _BLOCK = 1024, 2**20
_META_START, _META_LENGTH_AT = 144, 140  # of group 0002: behind its length, and the length itself
_SHARE = 0.25  # of the memory: what is read of it is copied


def check_inflated_size(file: BinaryIO, path: Path) -> None:
    """Inflate a deflated file block by block, keeping nothing, and refuse it where it is too large for the memory.

    Args:
        file: at its beginning, where it is left.
        path: of the file.

    Raises:
        InputError: it would take more than a quarter of the memory that is free.
    """
    head = file.read(_HEAD_BYTES)
    file.seek(0)
    if _DEFLATED not in head:
        return
    file.seek(_META_START + int.from_bytes(head[_META_LENGTH_AT:_META_START], "little"))
    most, length = _SHARE * available_bytes(), 0
    inflate = zlib.decompressobj(wbits=-15)
    try:
        while not inflate.eof and (block := inflate.unconsumed_tail or file.read(_BLOCK)):
            length += len(inflate.decompress(block, _BLOCK))
            if length > most:
                raise InputError(
                    "inflates to more than the memory can take",
                    where=path.name,
                    expected=f"at most {most / 1e9:.1f} GB",
                    got=f"a file of {path.stat().st_size / 1e6:.1f} MB",
                    cure="Look where it comes from, or take a machine with more memory",
                )
    except zlib.error as error:
        raise InputError("the file is damaged", where=path.name, got=error, cure=COPY_AGAIN) from None
    finally:
        file.seek(0)
