"""Files that are whole or absent."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import InputError

__all__ = ["whole_file"]


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a temporary neighbour of a file to write to, and rename it when the block ends well.

    A rename within a folder is atomic. The folder is made when needed; nothing is left behind by a block that fails.

    Args:
        path: the final name; an older file is replaced. The neighbour has the same suffix.

    Raises:
        InputError: the file cannot be written.
    """
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise InputError("cannot be written", where=path, got=error.strerror or error) from error
    finally:
        if temporary.is_file():
            temporary.unlink()
