"""The same random numbers in each epoch, whatever came before it."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from ignite import distributed as idist
from ignite.engine import Engine, Events
from monai.data.utils import set_rnd

__all__ = ["EpochSeed"]


class EpochSeed:
    """Seed all generators at the start of an epoch from the seed, the epoch and the rank.

    So a resumed training sees the cases in the order and with the augmentation that it would have seen without the
    break, and processes that train together do not augment alike.

    Args:
        dataset: whose random transforms are seeded, each by its own number.
        seed: of the training.
    """

    def __init__(self, *, dataset: Any, seed: int) -> None:
        self.dataset = dataset
        self.seed = seed

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer."""
        engine.add_event_handler(Events.EPOCH_STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """Seed Python, NumPy, torch and the random transforms."""
        sequence = np.random.SeedSequence([self.seed, engine.state.epoch, idist.get_rank()])
        seed = int(sequence.generate_state(1)[0])
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002 - MONAI's random transforms fall back to the legacy generator
        torch.manual_seed(seed)
        set_rnd(self.dataset, seed)
