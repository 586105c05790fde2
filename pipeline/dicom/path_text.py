"""Paths as one text: alone of an image's metadata, a text survives the collation of cases."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["joined", "parted"]

_LINE, _NUL = "\n", "\0"  # no path has a NUL, but it may have a line break, which that stands for


def joined(paths: Iterable[object]) -> str:
    """Paths, a line each."""
    return _LINE.join(str(path).replace(_LINE, _NUL) for path in paths)


def parted(text: object) -> list[str]:
    """The paths that :func:`joined` was given."""
    return [path.replace(_NUL, _LINE) for path in str(text).split(_LINE)]
