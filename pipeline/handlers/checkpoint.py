"""Weights and training states that are complete or absent, never half-written."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from ignite import distributed as idist
from ignite.engine import Engine, Events

from pipeline.errors import InputError, one_line
from pipeline.sources.given import given_path
from pipeline.writing import whole_file

__all__ = ["BestCheckpoint", "ResumableState"]

logger = logging.getLogger(__name__)


class _Split(Protocol):
    def save(self) -> None: ...


class BestCheckpoint:
    """Keep the weights with the best key metric of a validator; of equally good ones the last, which trained longest.

    MONAI's ``CheckpointSaver`` writes straight to the final name; here a temporary file is renamed to it. The file is
    a plain state dict, loadable with ``weights_only=True``.

    Args:
        network: whose weights are kept, for example the moving average of the trained ones.
        path: the file.
        split: saved just before the weights, which it must always describe.
    """

    def __init__(self, *, network: torch.nn.Module, path: str | Path, split: _Split | None = None) -> None:
        self.network = network
        self.path = given_path(path)
        self.split = split
        self.best: float | None = None

    def attach(self, engine: Engine) -> None:
        """Attach to a MONAI evaluator with a key metric."""
        engine.add_event_handler(Events.COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Save if no validation so far was better."""
        metric = float(engine.state.metrics[engine.state.key_metric_name])
        metric = -math.inf if math.isnan(metric) else metric  # nothing is greater than NaN
        if self.best is not None and metric < self.best:
            return
        self.best = metric
        if idist.get_rank() == 0:
            if self.split is not None:
                self.split.save()
            weights = {key: value.detach().cpu() for key, value in _unwrapped(self.network).state_dict().items()}
            _save(weights, self.path)

    def state_dict(self) -> dict[str, Any]:
        """The best metric so far, for resuming."""
        return {"best": self.best}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a best metric."""
        self.best = state["best"]


class ResumableState:
    """Write the whole state of a training after each epoch, and go on from it.

    Random numbers are not part of it: :class:`pipeline.handlers.EpochSeed` gives each epoch its own.

    Args:
        path: the state file.
        objects: everything with a state dict: network, moving average, optimiser, schedule, curves, best checkpoint.
        resume: continue from ``path``; refused if it is not there.
    """

    def __init__(self, *, path: str | Path, objects: Mapping[str, Any], resume: bool = False) -> None:
        self.path = given_path(path)
        self.objects = dict(objects)
        self.resume = resume

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer, after all handlers whose state is kept."""
        if self.resume:
            engine.add_event_handler(Events.STARTED, self.load)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.save)

    def save(self, engine: Engine) -> None:
        """Write the state of a finished epoch."""
        if idist.get_rank() != 0:
            return
        state = {name: _unwrapped(value).state_dict() for name, value in self.objects.items()}
        state["engine"] = {"iteration": engine.state.iteration, "epoch": engine.state.epoch}
        _save(state, self.path)

    def load(self, engine: Engine) -> None:
        """Take up a written state."""
        if not self.path.is_file():
            raise InputError("no training to resume", where=self.path, cure="Start it without --resume")
        try:
            state = torch.load(self.path, map_location="cpu", weights_only=True)
            for name, value in self.objects.items():
                _unwrapped(value).load_state_dict(state[name])
            engine.state.iteration, engine.state.epoch = state["engine"]["iteration"], state["engine"]["epoch"]
        except Exception as error:
            cure = "Resume with the plan it was trained with, or start without --resume"
            raise InputError("cannot be resumed", where=self.path, got=one_line(error), cure=cure) from error
        logger.info("resumed after epoch %d", engine.state.epoch)


def _unwrapped(value: Any) -> Any:
    return value.module if isinstance(value, torch.nn.parallel.DistributedDataParallel) else value


def _save(content: Any, path: Path) -> None:
    with whole_file(path) as temporary:
        try:
            torch.save(content, temporary)
        except RuntimeError as error:  # so torch reports a full disk or a missing folder
            raise OSError(str(error)) from error
