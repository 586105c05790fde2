"""Memory that cannot be had, said in one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from pipeline.errors import InputError

__all__ = ["is_shortage", "shortage_in_one_line"]

# How torch's allocators (Linux, Windows) and oneDNN say it, in a plain RuntimeError.
_SAID = ("can't allocate memory", "not enough memory", "could not create a memory", "out of memory")


def is_shortage(error: BaseException) -> bool:
    """Whether an error says that there is no memory left: NumPy and Python have a class for it, torch on a CPU none."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _SAID)


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
