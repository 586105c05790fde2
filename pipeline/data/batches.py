"""How many cases make a batch."""

from __future__ import annotations

from collections.abc import Sized

__all__ = ["drops_last"]


def drops_last(*, dataset: Sized, batch_size: int) -> bool:
    """Whether an incomplete last batch may be dropped: not where it is the only one."""
    return len(dataset) >= batch_size
