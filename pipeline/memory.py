"""The memory that can still be had, and what is refused because it would take more."""

from __future__ import annotations

import math
from pathlib import Path

from pipeline.errors import InputError

__all__ = ["available_bytes", "check_fits"]

_MEMINFO, _CGROUP = Path("/proc/meminfo"), Path("/sys/fs/cgroup")
_KIB, _GB = 1024, 1e9
_UNKNOWN_BYTES = 2e9  # where the system does not tell
_ALWAYS_BYTES = 64e6  # what is not worth a question


def available_bytes() -> float:
    """Memory that can be had without swapping: the kernel's estimate, or what a container's limit leaves of it."""
    try:
        lines = _MEMINFO.read_text(encoding="ascii", errors="replace").splitlines()
        free = next(float(line.split()[1]) * _KIB for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return _UNKNOWN_BYTES
    try:
        limit, used = (float((_CGROUP / name).read_text()) for name in ("memory.max", "memory.current"))
        stated = dict(line.split() for line in (_CGROUP / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):  # no container, or one without a limit: "max"
        return free
    return min(free, limit - used + float(stated.get("inactive_file", 0)))  # files are kept only as long as they may


def check_fits(size: tuple[int, ...], voxel_bytes: float, *, where: object) -> None:
    """Refuse what a header claims before anything of its size is allocated.

    Args:
        size: values along each axis, channels included.
        voxel_bytes: of each value.
        where: the file.

    Raises:
        InputError: it is more than the memory that is available, or a size is negative.
    """
    needed = math.prod(size) * voxel_bytes
    shape = " x ".join(map(str, size))
    if min(size, default=0) < 0:
        raise InputError("the header claims a negative size", where=where, got=shape)
    if needed > _ALWAYS_BYTES and needed > (free := available_bytes()):
        raise InputError(
            "is larger than the memory, by its header",
            where=where,
            expected=f"at most {free / _GB:.1f} GB",
            got=f"{shape} values, {needed / _GB:.1f} GB",
            cure="If the file is sound, crop it, or take a machine with more memory",
        )
