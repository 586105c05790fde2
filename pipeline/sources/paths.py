"""Where a case's image lies: at one path, or at several."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

from pipeline.errors import InputError

__all__ = ["NO_IMAGE", "ImagePaths", "channels_of", "first_of", "paths_of"]

ImagePaths: TypeAlias = "str | Path | Sequence[str | Path]"
"""A path, or several, as ``case["image"]`` holds them."""

NO_IMAGE = os.devnull
"""In a list, in the place of a channel that a case lacks: a path, because MONAI makes one of every entry."""


def paths_of(image: ImagePaths) -> tuple[Path, ...]:
    """All paths of a case's image, in order.

    Args:
        image: a file or a folder, or a list: one entry per channel, where DICOM files or folders that hold one series
            are one channel in several parts, see :func:`channels_of`. A channel that the case lacks has none.
    """
    entries = [image] if isinstance(image, str | os.PathLike) else image
    return tuple(Path(entry) for entry in entries if str(entry) != NO_IMAGE)


def channels_of(image: ImagePaths) -> tuple[tuple[Path, ...], ...]:
    """The paths of each channel in order; no path where the case lacks the channel.

    Args:
        image: see :func:`paths_of`. A single path may hold several channels.
    """
    if isinstance(image, str | os.PathLike):
        return ((Path(image),),)
    channels: list[list[Path]] = []
    place: dict[str, int] = {}  # of a series among the channels
    for entry in image:
        path = Path(entry)
        missing = str(entry) == NO_IMAGE
        series = "" if missing or len(image) == 1 else _series_uid(path)
        if series in place:
            channels[place[series]].append(path)
            continue
        if series:
            place[series] = len(channels)
        channels.append([] if missing else [path])
    return tuple(map(tuple, channels))


def first_of(image: ImagePaths) -> tuple[Path, ...]:
    """The paths of the first channel that a case has: its grid is the case's, and it is what people are shown."""
    return next(paths for paths in channels_of(image) if paths)


def _series_uid(path: Path) -> str:
    """The SeriesInstanceUID of a DICOM file, or of the first image in a folder; "" of anything else."""
    from pipeline.dicom.reading.headers import read_header
    from pipeline.sources.kinds import is_dicom

    files = [path] if path.is_file() else sorted(path.rglob("*")) if path.is_dir() else []
    for file in files:
        if file.name.startswith(".") or not is_dicom(file):
            continue
        with suppress(InputError):  # the reader says later, by name, what is wrong with it
            header = read_header(file)
            if header is not None:
                return header.series_uid
    return ""
