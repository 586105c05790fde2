"""What long work shows: where it stands and when it will end."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Sequence
from typing import Any

import torch
from ignite import distributed as idist
from ignite.engine import Engine, Events
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from pipeline.handlers.schedule import BudgetSchedule

__all__ = ["CaseProgress", "TrainingProgress"]

logger = logging.getLogger(__name__)


class TrainingProgress:
    """A line per epoch in the log, and a bar with the remaining time on a terminal.

    Args:
        validator: the MONAI evaluator of the validation.
        schedule: knows how much of the training is done, by epochs or by the clock.
        labels: the names of the classes, in the order of the metric's channels.
        metric: the name of the validation metric.
        title: what people call it.
    """

    def __init__(
        self,
        *,
        validator: Engine,
        schedule: BudgetSchedule,
        labels: Sequence[str],
        metric: str = "val_mean_dice",
        title: str = "Dice",
    ) -> None:
        self.validator = validator
        self.schedule = schedule
        self.labels = tuple(labels)
        self.metric = metric
        self.title = title
        self._began = 0.0
        self._first: float | None = None
        self._loss = 0.0
        self._validated = False
        self._bar = _bar()
        self._task = self._bar.add_task("training", total=1.0)

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer, after its validation handler."""
        engine.add_event_handler(Events.STARTED, self._start)
        self.validator.add_event_handler(Events.COMPLETED, self._note_validation)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._advance)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._report)
        engine.add_event_handler(Events.COMPLETED, self._complete)
        engine.add_event_handler(Events.EXCEPTION_RAISED, self._fail)

    def _start(self, _: Engine) -> None:
        self._began = time.monotonic()
        if _on_terminal(self._bar) and idist.get_rank() == 0:
            self._bar.start()

    def _note_validation(self, _: Engine) -> None:
        self._validated = True

    def _advance(self, engine: Engine) -> None:
        if self._first is None:  # only now is a resumed state taken up
            self._first = self.schedule.progress(engine)
        output = engine.state.output
        loss = float((output[0] if isinstance(output, list) else output)["loss"])
        first = (engine.state.iteration - 1) % engine.state.epoch_length == 0
        self._loss = loss if first else 0.9 * self._loss + 0.1 * loss
        epoch = f"epoch {engine.state.epoch}/{engine.state.max_epochs}"
        self._bar.update(self._task, completed=self.schedule.progress(engine), description=f"{epoch} loss {loss:.3f}")

    def _report(self, engine: Engine) -> None:
        if idist.get_rank() != 0:
            return
        spent, done = time.monotonic() - self._began, self.schedule.progress(engine)
        left = spent / max(done - (self._first or 0.0), 1e-6) * (1.0 - done)
        line = f"epoch {engine.state.epoch}/{engine.state.max_epochs}  loss {self._loss:.4f}"
        state = self.validator.state
        if self._validated:
            self._validated = False
            classes = torch.as_tensor(state.metric_details[self.metric]).float().nanmean(dim=0).tolist()
            each = "  ".join(f"{name} {value:.4f}" for name, value in zip(self.labels, classes, strict=True))
            line += f"  {self.title} {state.metrics[self.metric]:.4f} ({each})"
        logger.info("%s  %s spent, about %s left", line, _clock(spent), _clock(left))

    def _complete(self, engine: Engine) -> None:
        self._bar.update(self._task, completed=1.0)
        self._stop(engine)

    def _stop(self, _: Engine) -> None:
        if self._bar.live.is_started:  # else it would print an empty line
            self._bar.stop()

    def _fail(self, engine: Engine, error: BaseException) -> None:
        self._stop(engine)
        raise error


class CaseProgress:
    """A bar over the cases of an evaluator, with the remaining time; nothing where there is no terminal.

    Args:
        total: the number of cases.
    """

    def __init__(self, *, total: int) -> None:
        self._bar = _bar()
        self._task = self._bar.add_task("cases", total=total)
        self.total = total

    def attach(self, engine: Engine) -> None:
        """Attach to an evaluator."""
        if self.total > 1 and _on_terminal(self._bar):
            engine.add_event_handler(Events.STARTED, lambda _: self._bar.start())
            engine.add_event_handler(Events.ITERATION_COMPLETED, lambda _: self._bar.advance(self._task))
            engine.add_event_handler(Events.COMPLETED, lambda _: self._bar.stop())


def _on_terminal(bar: Progress) -> bool:
    """Whether to show a bar: rich takes standard output over while it does, which may be a file."""
    return bar.console.is_terminal and sys.stdout.isatty()


def _bar() -> Progress:
    columns: list[Any] = [TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%")]
    return Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=Console(stderr=True))


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}"
