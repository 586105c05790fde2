"""Inferers in inferers: the one of a kind that others are put around."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

__all__ = ["layers", "rewrapped", "unwrap"]

T = TypeVar("T")


def layers(inferer: Any) -> Iterator[Any]:
    """An inferer and those that it holds as ``inferer``, the outermost first."""
    while inferer is not None:
        yield inferer
        inferer = getattr(inferer, "inferer", None)


def unwrap(inferer: Any, kind: type[T]) -> T | None:
    """The outermost inferer of a kind, where there is one."""
    return next((one for one in layers(inferer) if isinstance(one, kind)), None)


def rewrapped(inferer: Any, kind: type[T], change: Callable[[T], Any]) -> Any:
    """The same inferers around another: the outermost one of a kind gives way, and none of the given ones is changed.

    Args:
        inferer: has one of that kind in it.
        kind: of what gives way.
        change: makes what takes its place.
    """
    if isinstance(inferer, kind):
        return change(inferer)
    around = copy.copy(inferer)
    around.inferer = rewrapped(inferer.inferer, kind, change)
    return around
