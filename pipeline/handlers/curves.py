"""Learning curves as a table and a picture."""

from __future__ import annotations

import csv
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from ignite import distributed as idist
from ignite.engine import Engine, Events

from pipeline.patches.plain_text import plain_text
from pipeline.sources.given import given_path
from pipeline.writing import whole_file

__all__ = ["TrainingCurves"]

_MIN_POINTS = 2


class TrainingCurves:
    """Write ``training.csv`` and ``training.png``: per epoch the loss, the learning rate and the validation's metric.

    Args:
        folder: made when needed.
        validator: the MONAI evaluator of the validation.
        optimizer: whose learning rate is noted.
        labels: the names of the classes, in the order of the metric's channels.
        metric: the name of the validation metric.
        title: what people call it; also the beginning of the column of each class.
    """

    def __init__(
        self,
        *,
        folder: str | Path,
        validator: Engine,
        optimizer: torch.optim.Optimizer,
        labels: Sequence[str],
        metric: str = "val_mean_dice",
        title: str = "Dice",
    ) -> None:
        self.folder = given_path(folder)
        self.validator = validator
        self.optimizer = optimizer
        self.labels = tuple(labels)
        self.metric = metric
        self.title = title
        self.columns = {name: f"{title.lower().replace(' ', '_')}_{name}" for name in self.labels}
        self.rows: list[dict[str, Any]] = []
        self._losses: list[float] = []
        self._validated = False
        self._began = time.monotonic()

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer, after its validation handler."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._collect)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._add_row)
        self.validator.add_event_handler(Events.COMPLETED, self._note_validation)

    def state_dict(self) -> dict[str, Any]:
        """The rows so far, for resuming."""
        return {"rows": [dict(row) for row in self.rows]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on after earlier rows."""
        self.rows = [dict(row) for row in state["rows"]]
        self._began = time.monotonic() - (float(self.rows[-1]["seconds"]) if self.rows else 0.0)

    def _collect(self, engine: Engine) -> None:
        output = engine.state.output
        self._losses.append(float((output[0] if isinstance(output, list) else output)["loss"]))

    def _note_validation(self, _: Engine) -> None:
        self._validated = True

    def _add_row(self, engine: Engine) -> None:
        row: dict[str, Any] = {
            "epoch": engine.state.epoch,
            "iteration": engine.state.iteration,
            "seconds": round(time.monotonic() - self._began, 1),
            "learning_rate": float(self.optimizer.param_groups[0]["lr"]),
            "training_loss": sum(self._losses) / max(len(self._losses), 1),
        }
        self._losses = []
        if self._validated:
            state = self.validator.state
            row[self.metric] = float(state.metrics[self.metric])
            per_class = torch.as_tensor(state.metric_details[self.metric]).float().nanmean(dim=0)
            row.update(zip(self.columns.values(), per_class.tolist(), strict=True))
            self._validated = False
        self.rows.append(row)
        if idist.get_rank() == 0:
            self._write()

    def _write(self) -> None:
        columns = [*_BASIC, self.metric, *self.columns.values()]
        with (
            whole_file(self.folder / "training.csv") as temporary,
            temporary.open("w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.DictWriter(file, columns, restval="")
            writer.writeheader()
            writer.writerows({key: _short(value) for key, value in row.items()} for row in self.rows)
        if len([row for row in self.rows if self.metric in row]) >= _MIN_POINTS:
            self._draw()

    @plain_text()
    def _draw(self) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=(9, 4), layout="constrained")
        loss_axes, metric_axes = figure.subplots(1, 2)
        loss_axes.plot(_column(self.rows, "epoch"), _column(self.rows, "training_loss"), color="black")
        loss_axes.set(xlabel="epoch", title="training loss")
        validated = [row for row in self.rows if self.metric in row]
        for name, column in self.columns.items():
            values = _column(validated, column)
            # The blank, because a label that begins with _ is left out of the legend.
            metric_axes.plot(_column(validated, "epoch"), values, label=f" {name} (last {values[-1]:.3f})")
        scores = _column(validated, self.metric)
        top = max(scores)
        metric_axes.axhline(top, color="grey", linewidth=0.8, linestyle=":", label=f"best mean {top:.3f}")
        # The first epochs would hide the differences that matter.
        lowest = min(scores[len(scores) // 4 :])
        metric_axes.set(
            xlabel="epoch", title=f"validation {self.title}", ylim=(max(0.0, lowest - 0.05), min(1.0, top + 0.05))
        )
        metric_axes.legend(loc="best")
        for axes in (loss_axes, metric_axes):
            axes.grid(alpha=0.3)
            axes.spines[["top", "right"]].set_visible(False)
        with whole_file(self.folder / "training.png") as temporary:
            FigureCanvasAgg(figure).print_png(str(temporary))


_BASIC = ("epoch", "iteration", "seconds", "learning_rate", "training_loss")


def _column(rows: Sequence[Mapping[str, Any]], name: str) -> list[Any]:
    return [row[name] for row in rows]


def _short(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else value
