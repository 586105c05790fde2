"""How many cases make a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ignite import distributed as idist

__all__ = ["fill_batch"]


def fill_batch(cases: Sequence[Any], *, batch_size: int) -> list[Any]:
    """The cases, in turn again and again where they are fewer than a batch of each process.

    A batch of one case has no variance between its cases, and where it is pooled to a single value batch normalisation
    cannot train on it (Ioffe and Szegedy 2015). Repeated cases are augmented each in its own way.

    Args:
        cases: at least one.
        batch_size: the number of cases in a batch.
    """
    wanted = batch_size * idist.get_world_size()
    return [cases[i % len(cases)] for i in range(max(len(cases), wanted))]
