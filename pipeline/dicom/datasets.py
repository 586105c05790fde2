"""The one place where DICOM files are opened: damage is one line, and no small file fills the memory."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

import pydicom
from pydicom.datadict import tag_for_keyword

from pipeline.dicom.deflated import check_inflated_size
from pipeline.dicom.elements import COPY_AGAIN, READ_ERRORS
from pipeline.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from pydicom.dataset import FileDataset

__all__ = ["read_dataset", "read_open", "reading"]


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what pydicom and highdicom raise on damaged files into an ``InputError`` that quotes no value.

    pydicom converts an element when it is asked for, so that this belongs around all that is read of a data set.
    """
    try:
        yield
    except InputError:
        raise
    except READ_ERRORS as error:
        missing = error.name if isinstance(error, AttributeError) else None
        what = f"the file has no {missing}" if missing and tag_for_keyword(missing) else "the file cannot be read"
        raise InputError(what, where=path, got=type(error).__name__, cure=COPY_AGAIN) from None


def read_dataset(
    path: Path, *, keywords: Sequence[str] | None = None, pixels: bool = False, force: bool = True
) -> FileDataset:
    """Read a DICOM file.

    Args:
        path: of the file.
        keywords: the elements that are wanted; all of them when absent.
        pixels: whether to go on to the pixel data and beyond.
        force: whether a file that does not begin as DICOM is read all the same.

    Raises:
        InputError: it is damaged, or deflated and too large for the memory.
    """
    with reading(path), path.open("rb") as file:
        return read_open(file, where=path, keywords=keywords, pixels=pixels, force=force)


def read_open(
    file: BinaryIO,
    *,
    where: Path | None,
    keywords: Sequence[str] | None = None,
    pixels: bool = False,
    force: bool = True,
) -> FileDataset:
    """Read an open DICOM file, and leave it before the pixels unless they are read.

    Args:
        file: at its beginning.
        where: the file, for messages; None where its name must not be told.
        keywords: see :func:`read_dataset`.
        pixels: likewise.
        force: likewise.

    Raises:
        InputError: it is deflated and damaged, or too large for the memory.
        Exception: one of :data:`pipeline.dicom.elements.READ_ERRORS`.
    """
    check_inflated_size(file, where=where)
    tags = None if keywords is None else list(keywords)
    return pydicom.dcmread(file, stop_before_pixels=not pixels, specific_tags=tags, force=force)
