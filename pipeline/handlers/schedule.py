"""The learning rate and the end of a training, by epochs or by the clock."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any

import torch
from ignite import distributed as idist
from ignite import handlers as ignite_handlers
from ignite.engine import Engine, Events
from monai.engines import IterationEvents
from monai.handlers import ValidationHandler

__all__ = ["BudgetSchedule", "EarlyStopping", "FinalValidationHandler", "GradientClipping"]

logger = logging.getLogger(__name__)

_SECONDS = 60.0


class BudgetSchedule:
    """Linear warm-up and polynomial decay of the learning rate over a training that may have a time budget.

    Progress is the share of the iterations done or of the time used, whichever is larger, so that a training cut by
    the clock still ends with a small learning rate. When the budget is used up, the running epoch is the last.

    Args:
        optimizer: its groups' learning rates at construction are the peak.
        warmup: share of the training with a rising learning rate.
        power: of the decay ``(1 - progress) ** power``.
        time_budget_minutes: wall time; None is unlimited. Resuming counts the time used before.
    """

    def __init__(
        self,
        *,
        optimizer: torch.optim.Optimizer,
        warmup: float = 0.03,
        power: float = 0.9,
        time_budget_minutes: float | None = None,
    ) -> None:
        self.optimizer = optimizer
        self.peaks = [float(group["lr"]) for group in optimizer.param_groups]
        self.warmup = warmup
        self.power = power
        self.budget_seconds = None if time_budget_minutes is None else time_budget_minutes * _SECONDS
        self.used_seconds = 0.0
        self._mark: float | None = None

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer."""
        engine.add_event_handler(Events.ITERATION_STARTED, self._set_rate)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._end_in_time)

    def progress(self, engine: Engine) -> float:
        """Share of the training that is done, 0 to 1."""
        iterations = engine.state.max_epochs * engine.state.epoch_length
        done = (engine.state.iteration - 1) / iterations
        if self.budget_seconds is not None:
            done = max(done, self.used_seconds / self.budget_seconds)
        return min(max(float(done), 0.0), 1.0)

    def factor(self, progress: float) -> float:
        """The learning rate at some progress, as a share of its peak."""
        decay = float((1.0 - progress) ** self.power)
        return decay * min(1.0, progress / self.warmup + 0.01) if self.warmup > 0 else decay

    def _set_rate(self, engine: Engine) -> None:
        self._note_time()
        factor = self.factor(self.progress(engine))
        for group, peak in zip(self.optimizer.param_groups, self.peaks, strict=True):
            group["lr"] = peak * factor

    def _end_in_time(self, engine: Engine) -> None:
        if self.budget_seconds is None:
            return
        self._note_time()
        used = self.used_seconds
        if idist.get_world_size() > 1:  # all ranks must end in the same iteration
            used = float(idist.all_reduce(used, "MAX"))
        if used >= self.budget_seconds:
            logger.info("the time budget is used up in epoch %d of %d", engine.state.epoch, engine.state.max_epochs)
            engine.state.max_epochs = engine.state.epoch
            engine.terminate_epoch()

    def _note_time(self) -> None:
        now = time.monotonic()
        self.used_seconds += 0.0 if self._mark is None else now - self._mark
        self._mark = now

    def state_dict(self) -> dict[str, Any]:
        """The time used so far and the peak rates, for resuming."""
        if self._mark is not None:
            self._note_time()
        return {"used_seconds": self.used_seconds, "peaks": list(self.peaks)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a used time."""
        self.used_seconds = float(state["used_seconds"])
        self.peaks = list(state["peaks"])


class EarlyStopping:
    """Ignite's ``EarlyStopping`` on the key metric of a validator, attached from the trainer's side.

    MONAI's ``EarlyStopHandler`` sits on the validator and needs the trainer, which in a config needs the validator.

    Args:
        validator: the MONAI evaluator of the validation.
        patience: validations without a better key metric before the training ends; None never ends it.
    """

    def __init__(self, *, validator: Engine, patience: int | None) -> None:
        self.validator = validator
        self.patience = patience

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer, after its validation handler."""
        if self.patience is not None:
            handler = ignite_handlers.EarlyStopping(self.patience, _key_metric, engine)
            self.validator.add_event_handler(Events.COMPLETED, handler)


def _key_metric(engine: Engine) -> float:
    return float(engine.state.metrics[engine.state.key_metric_name])


class GradientClipping:
    """Limit the norm of the gradient of all parameters together, before each step of the optimiser.

    Args:
        network: whose parameters are trained.
        max_norm: the largest norm; None limits nothing.
    """

    def __init__(self, *, network: torch.nn.Module, max_norm: float | None) -> None:
        self.network = network
        self.max_norm = max_norm

    def attach(self, engine: Engine) -> None:
        """Attach to a MONAI trainer."""
        if self.max_norm is not None:
            engine.add_event_handler(IterationEvents.BACKWARD_COMPLETED, self)

    def __call__(self, _: Engine) -> None:
        """Clip the gradients in place."""
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.max_norm or float("inf"))


class FinalValidationHandler(ValidationHandler):  # type: ignore[misc]
    """MONAI's ``ValidationHandler`` that also validates the last epoch, whatever the interval."""

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer."""

        def due(trainer: Engine, epoch: int) -> bool:
            return bool(epoch % self.interval == 0 or epoch >= trainer.state.max_epochs)

        engine.add_event_handler(Events.EPOCH_COMPLETED(event_filter=due), self)
