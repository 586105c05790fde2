"""Matplotlib takes a name with two ``$`` for a formula, and ends with an error where it is none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["plain_text"]


@contextmanager
def plain_text() -> Iterator[None]:
    """Texts of figures that are made in the block, or in the function that this decorates, are drawn as they are."""
    from matplotlib import rc_context

    with rc_context({"text.parse_math": False}):
        yield
