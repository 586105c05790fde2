"""Batch-norm statistics that belong to averaged weights."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from ignite.engine import Engine, Events
from monai.inferers import Inferer
from torch.nn.modules.batchnorm import _BatchNorm

__all__ = ["BatchNormStatistics"]


class BatchNormStatistics:
    """Before each validation, measure the batch-norm statistics of a network on training batches.

    Weights that are averaged over the training have activations of their own: with the statistics of the trained
    network, or with averaged ones, their output is worthless (Izmailov et al., Averaging Weights Leads to Wider Optima
    and Better Generalization, 2018, section 3.2). Layers that stay in evaluation mode when the network is trained, as
    those of a frozen backbone, keep their statistics.

    Args:
        network: with the averaged weights.
        validator: the MONAI evaluator that validates it.
        inferer: how the network is applied in training.
        batches: how many batches, the last ones of the epoch, are measured.
    """

    def __init__(self, *, network: torch.nn.Module, validator: Engine, inferer: Inferer, batches: int = 16) -> None:
        self.network = network
        self.validator = validator
        self.inferer = inferer
        self.layers = [layer for layer in network.modules() if isinstance(layer, _BatchNorm)]
        self._images: deque[torch.Tensor] = deque(maxlen=batches)

    def attach(self, engine: Engine) -> None:
        """Attach to a MONAI trainer, before its validation handler."""
        if self.layers:
            # Only of the running epoch, so that a resumed training measures what an unbroken one does.
            engine.add_event_handler(Events.EPOCH_STARTED, lambda _: self._images.clear())
            engine.add_event_handler(Events.ITERATION_STARTED, self._keep)
            self.validator.add_event_handler(Events.STARTED, self._measure)

    def _keep(self, engine: Engine) -> None:
        self._images.append(engine.state.batch["image"])

    def _measure(self, engine: Engine) -> None:
        if not self._images:
            return
        with torch.no_grad(), self._cumulative():
            for image in self._images:
                self.inferer(image.to(engine.state.device), self.network)

    @contextmanager
    def _cumulative(self) -> Iterator[None]:
        """Batch norm takes the mean over the batches; all else, dropout included, works as in inference."""
        was_training = self.network.training
        self.network.train()
        learning = [layer for layer in self.layers if layer.training]
        momenta = [layer.momentum for layer in learning]
        self.network.eval()
        for layer in learning:
            layer.reset_running_stats()
            layer.momentum = None
            layer.train()
        try:
            yield
        finally:
            for layer, momentum in zip(learning, momenta, strict=True):
                layer.momentum = momentum
            self.network.train(was_training)
