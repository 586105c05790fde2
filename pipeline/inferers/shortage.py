"""Memory that cannot be had, said in one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.errors import InputError, is_shortage

__all__ = ["shortage_in_one_line"]


@contextmanager
def shortage_in_one_line(*, expected: object = None, cure: str) -> Iterator[None]:
    """Turn an error of an allocator into one that says what to do.

    Args:
        expected: what would have been enough.
        cure: what the user can do.

    Raises:
        InputError: there was not enough memory in the block; all other errors stay as they are.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_shortage(error):
            raise
        raise InputError("not enough memory", where="image", expected=expected, cure=cure) from error
