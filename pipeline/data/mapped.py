"""Volumes of floating-point numbers in files, of which only some planes are in memory at a time."""

from __future__ import annotations

import errno
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import InputError

__all__ = ["HEADER_BYTES", "MappedVolume"]

# Room for the header and the extension flag of NIfTI-1 (348 + 4 bytes) or NIfTI-2 (540 + 4); a multiple of 16, as
# both ask for.
HEADER_BYTES = 544

_BYTES = 4  # of a float32
_MAPPED_BYTES = 16e6  # the planes that are mapped at a time; mapped pages count as the process's memory
_ZEROS = bytes(2**20)
_NO_ALLOCATION = (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS)


@dataclass(frozen=True, kw_only=True)
class MappedVolume:
    """float32 voxels in a file, the first axis fastest, as NIfTI has them, after room for a header.

    Attributes:
        path: of the file.
        size: voxels along each axis.
    """

    path: Path
    size: tuple[int, ...]

    @classmethod
    def allocate(cls, path: Path, size: Sequence[int]) -> MappedVolume:
        """Make the file, of zeros, with all of its space on the disk: a mapping has no way to say that there is none.

        Raises:
            InputError: the file cannot be made, or there is not enough space; nothing is left of it then.
        """
        made = cls(path=path, size=tuple(int(n) for n in size))
        length = HEADER_BYTES + math.prod(made.size) * _BYTES
        try:
            with path.open("xb") as file:
                _allocate(file, length)
        except OSError as error:
            path.unlink(missing_ok=True)
            raise InputError(
                "cannot be written", where=path.parent, expected=f"{length / 1e6:.1f} MB of space", got=error.strerror
            ) from error
        return made

    def planes(self) -> Iterator[tuple[int, np.ndarray]]:
        """Some planes of the last axis after the other: the first one's index, and (X, Y[, n]), which may be changed.

        Each part is mapped anew, so that what was written counts as the system's cache and not as our memory.
        """
        for start, stop in self._parts(0, self.size[-1]):
            yield start, self._map(start, stop)

    def write(self, place: Sequence[slice], values: np.ndarray) -> None:
        """Write a box.

        Args:
            place: a slice with both ends for each axis.
            values: of that shape.
        """
        first, last = place[-1].start, place[-1].stop
        for start, stop in self._parts(first, last):
            self._map(start, stop)[tuple(place[:-1])] = values[..., start - first : stop - first]

    def _parts(self, first: int, last: int) -> Iterator[tuple[int, int]]:
        count = max(int(_MAPPED_BYTES // (math.prod(self.size[:-1]) * _BYTES)), 1)
        for start in range(first, last, count):
            yield start, min(start + count, last)

    def _map(self, start: int, stop: int) -> np.ndarray:
        offset = HEADER_BYTES + start * math.prod(self.size[:-1]) * _BYTES
        shape = (*self.size[:-1], stop - start)
        return np.memmap(self.path, dtype="<f4", mode="r+", offset=offset, shape=shape, order="F")


def _allocate(file: Any, length: int) -> None:
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(file.fileno(), 0, length)
        except OSError as error:
            if error.errno not in _NO_ALLOCATION:
                raise
        else:
            return
    for start in range(0, length, len(_ZEROS)):
        file.write(_ZEROS[: length - start])
