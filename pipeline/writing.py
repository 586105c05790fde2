"""Files that are whole or absent."""

from __future__ import annotations

import errno
import itertools
import os
import platform
import re
import shutil
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pipeline.errors import InputError

__all__ = ["LONGEST_NAME_BYTES", "clear_leftovers", "into_place", "temporary_path", "whole_file"]

LONGEST_NAME_BYTES = 255  # in the file systems of today

# A folder may be shared: another machine's processes are unknown here.
_MACHINE = f"{zlib.crc32(platform.node().encode()):08x}"
_TEMPORARY = re.compile(r"\.medbundle-([0-9a-f]{8})-(\d{1,9})-\d+(\.\w{1,15}){0,2}", re.ASCII)
_NO_SYNC = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)
_OLD_S = 24 * 3600.0

_numbers = itertools.count()
_used: set[Path] = set()  # temporary paths of this process
_cleared: set[Path] = set()  # folders that this process has cleared of leftovers


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a temporary neighbour of a file to write to, and rename it when the block ends well.

    A rename within a folder is atomic, and both are on the disk when the block has ended. The folder is made when
    needed, and cleared of what killed processes left there; nothing is left behind by a block that fails.

    Args:
        path: the final name; an older file is replaced. The neighbour has the same suffix, and a short name.

    Raises:
        InputError: the file cannot be written.
    """
    temporary = temporary_path(path.parent, suffix=_suffix(path))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = path.parent.absolute()
        if folder not in _cleared:
            _cleared.add(folder)
            clear_leftovers(folder)
        yield temporary
        into_place(temporary, path)
    except OSError as error:
        raise InputError("cannot be written", where=path, got=error.strerror or error) from error
    finally:
        if temporary.is_file():
            temporary.unlink()
        _used.discard(temporary.absolute())


def into_place(temporary: Path, path: Path) -> None:
    """Give a whole file its final name in the same folder or one above, such that it outlives a power cut.

    Raises:
        OSError: as the system calls have it.
    """
    with temporary.open("r+b") as file:
        _sync(file.fileno())
    temporary.replace(path)
    if os.name != "nt":  # where folders cannot be opened
        with suppress(PermissionError):  # a folder that may be written but not listed
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                _sync(folder)
            finally:
                os.close(folder)


def temporary_path(folder: Path, *, suffix: str = "") -> Path:
    """A hidden name in a folder for a file or a folder of this process; it is no longer than 50 bytes."""
    path = folder / f".medbundle-{_MACHINE}-{os.getpid()}-{next(_numbers)}{suffix}"
    _used.add(path.absolute())
    return path


def clear_leftovers(folder: Path) -> None:
    """Remove what :func:`temporary_path` named for processes of this machine that are no more; all else stays."""
    try:
        paths = [*folder.iterdir()]
    except OSError:  # such as no folder yet
        return
    for path in paths:
        found = _TEMPORARY.fullmatch(path.name)
        if found is None or found[1] != _MACHINE or _in_use(path, int(found[2])):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with suppress(OSError):
                path.unlink()


def _in_use(path: Path, process: int) -> bool:
    if process == os.getpid():  # numbers of processes come again, in containers soon
        return path.absolute() in _used
    if os.name == "nt":  # where to ask for a process by os.kill ends it
        with suppress(OSError):
            return time.time() - path.stat().st_mtime < _OLD_S
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    return True


def _sync(file: int) -> None:
    try:
        os.fsync(file)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise


def _suffix(path: Path) -> str:
    """The suffix by which writers choose a format, with that before ``.gz``."""
    suffixes = path.suffixes[-2:] if path.suffix.lower() == ".gz" else path.suffixes[-1:]
    suffix = "".join(suffixes)
    return suffix if re.fullmatch(r"(\.\w{1,15}){0,2}", suffix, re.ASCII) else ""
