"""Load a network's weights when an engine starts."""

from __future__ import annotations

from pathlib import Path

from ignite.engine import Engine, Events
from torch import nn

from pipeline.networks.weights import load_weights

__all__ = ["LoadWeights"]


class LoadWeights:
    """MONAI's ``CheckpointLoader`` for weights alone, wrapped or not, which says in one line what does not fit.

    Args:
        path: see :func:`pipeline.networks.weights.load_weights`.
        network: that gets the weights.
    """

    def __init__(self, *, path: str | Path, network: nn.Module) -> None:
        self.path = Path(path)
        self.network = network

    def attach(self, engine: Engine) -> None:
        """Load when the engine starts."""
        engine.add_event_handler(Events.STARTED, self)

    def __call__(self, engine: Engine) -> None:  # noqa: ARG002 - ignite's interface
        """Load the weights."""
        inner = self.network
        if isinstance(inner, nn.DataParallel | nn.parallel.DistributedDataParallel):
            inner = inner.module
        load_weights(inner, self.path)
