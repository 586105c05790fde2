"""Whether there is memory for the next image beside the one that is computed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.sources import Options, open_image

__all__ = ["FitsAhead", "available_bytes"]

_MEMINFO, _CGROUP = Path("/proc/meminfo"), Path("/sys/fs/cgroup")
_KIB, _FLOAT = 1024, 4
_UNKNOWN_BYTES = 2e9  # where the system does not tell


class FitsAhead:
    """Say whether a case may be read while another one is computed.

    It may, where its image as float32 on its own grid is at most a share of the memory that is free now. The share
    leaves room for what its preprocessing needs beside it, which is several times as much.

    Args:
        series: the DICOM series to take where there are several.
        share: of the available memory that the image may take.
        channels: of the image.
    """

    def __init__(self, *, series: str | None = None, share: float = 0.1, channels: int = 1) -> None:
        self.series = series
        self.share = share
        self.channels = channels

    def __call__(self, case: Mapping[str, Any]) -> bool:
        """Compare the size in the header of a case's image with the available memory."""
        try:
            image = open_image(case["image"], Options(series=self.series))
            needed = _FLOAT * self.channels * math.prod(image.size) + image.reading_bytes
        except Exception:  # noqa: BLE001 - whoever reads it says better what is wrong with it
            return True
        return needed <= self.share * available_bytes()


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
