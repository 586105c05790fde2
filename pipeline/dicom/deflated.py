"""How large a deflated file (PS3.5 A.5) becomes, before anything of that size is allocated."""

from __future__ import annotations

import os
import zlib
from typing import TYPE_CHECKING, BinaryIO

from pydicom.filereader import read_dataset, read_preamble

from pipeline.dicom.elements import COPY_AGAIN
from pipeline.errors import InputError
from pipeline.memory import available_bytes

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["check_inflated_size"]

_DEFLATED = b"1.2.840.10008.1.2.1.99"
_HEAD_BYTES, _BLOCK = 1024, 2**20
_META_GROUP = 0x0002
_SHARE = 0.25  # of the memory: what is read of it is copied


def check_inflated_size(file: BinaryIO, *, where: Path | None) -> None:
    """Inflate a deflated file block by block, keeping nothing, and refuse it where it is too large for the memory.

    Args:
        file: at its beginning, where it is left.
        where: the file, for messages.

    Raises:
        InputError: it would take more than a quarter of the memory that is free.
    """
    head = file.read(_HEAD_BYTES)
    file.seek(0)
    if _DEFLATED not in head:
        return
    read_preamble(file, force=True)
    read_dataset(file, False, True, stop_when=lambda tag, *_: tag.group != _META_GROUP)
    most, length = _SHARE * available_bytes(), 0
    inflate = zlib.decompressobj(wbits=-15)
    try:
        while not inflate.eof and (block := inflate.unconsumed_tail or file.read(_BLOCK)):
            length += len(inflate.decompress(block, _BLOCK))
            if length > most:
                raise InputError(
                    "inflates to more than the memory can take",
                    where=where,
                    expected=f"at most {most / 1e9:.1f} GB",
                    got=f"a file of {os.fstat(file.fileno()).st_size / 1e6:.1f} MB",
                    cure="Look where it comes from, or take a machine with more memory",
                )
    except zlib.error as error:
        raise InputError("the file is damaged", where=where, got=error, cure=COPY_AGAIN) from None
    finally:
        file.seek(0)
