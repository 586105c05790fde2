from __future__ import annotations

import csv
import json
import logging
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Engine, Events
from PIL import Image

from pipeline.handlers import BudgetSchedule, TrainingCurves, TrainingProgress

LABELS = ["left", "right"]


class Training:
    """An engine with made-up losses, and a validator with made-up Dice, in the form in which MONAI leaves them."""

    def __init__(self, *, validate_at: tuple[int, ...] = (2, 3), length: int = 4) -> None:
        self.validator = Engine(lambda *_: None)
        self.optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
        self.trainer = Engine(lambda engine, batch: [{"loss": torch.tensor(float(engine.state.iteration))}])
        self.length = length

        @self.trainer.on(Events.EPOCH_COMPLETED)
        def validate(engine: Engine) -> None:
            epoch = engine.state.epoch
            if epoch in validate_at:
                cases = torch.tensor([[0.1 * epoch, 0.5], [0.3 * epoch, float("nan")]])
                self.validator.state.metric_details = {"val_mean_dice": cases}
                self.validator.state.metrics = {"val_mean_dice": 0.2 * epoch}
                self.validator.run([0], max_epochs=1)

    def curves(self, folder: Path) -> TrainingCurves:
        return TrainingCurves(folder=folder, validator=self.validator, optimizer=self.optimizer, labels=LABELS)

    def run(self, *handlers: Any, epochs: int, first: int = 0) -> None:
        for handler in handlers:
            handler.attach(self.trainer)

        @self.trainer.on(Events.STARTED)
        def resume(engine: Engine) -> None:
            engine.state.epoch, engine.state.iteration = first, first * self.length

        self.trainer.run(range(self.length), max_epochs=epochs)


def _rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "training.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_table_has_a_row_per_epoch_and_dice_where_it_was_validated(tmp_path: Path) -> None:
    training = Training()
    training.run(training.curves(tmp_path / "new"), epochs=3)
    rows = _rows(tmp_path / "new")
    columns = ["epoch", "iteration", "seconds", "learning_rate", "training_loss"]
    assert list(rows[0]) == [*columns, "val_mean_dice", "dice_left", "dice_right"]
    # The loss of an iteration is its number, so the means are those of 1 to 4, 5 to 8 and 9 to 12.
    assert [(row["epoch"], row["iteration"], float(row["training_loss"])) for row in rows] == [
        ("1", "4", 2.5),
        ("2", "8", 6.5),
        ("3", "12", 10.5),
    ]
    assert {row["learning_rate"] for row in rows} == {"0.5"}
    dice = [tuple(row[name] for name in ("val_mean_dice", "dice_left", "dice_right")) for row in rows]
    assert dice[0] == ("", "", "")
    # Per class the mean over the cases that have it: a case without the class is NaN.
    assert [tuple(map(float, numbers)) for numbers in dice[1:]] == [(0.4, 0.4, 0.5), (0.6, 0.6, 0.5)]


def test_the_picture_opens_and_nothing_else_is_left(tmp_path: Path) -> None:
    training = Training()
    training.run(training.curves(tmp_path), epochs=3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["training.csv", "training.png"]
    with Image.open(tmp_path / "training.png") as picture:
        picture.load()
        assert picture.width > picture.height > 100
        assert len(picture.convert("RGB").getcolors(2**24)) > 10


def test_no_picture_is_drawn_of_a_single_point(tmp_path: Path) -> None:
    training = Training(validate_at=(2,))
    training.run(training.curves(tmp_path), epochs=3)
    assert [path.name for path in tmp_path.iterdir()] == ["training.csv"]


@pytest.mark.parametrize("undefined", [(2,), (1,), (1, 2, 3)])
def test_a_metric_of_0_or_none_at_all_can_be_drawn(tmp_path: Path, undefined: tuple[int, ...]) -> None:
    training = Training(validate_at=(1, 2, 3))

    @training.validator.on(Events.COMPLETED)
    def spoil(engine: Engine) -> None:
        value = float("nan") if training.trainer.state.epoch in undefined else 0.0
        engine.state.metrics = {"val_mean_dice": value}
        engine.state.metric_details = {"val_mean_dice": torch.full((2, 2), value)}

    training.run(training.curves(tmp_path), epochs=3)
    assert [row["val_mean_dice"] for row in _rows(tmp_path)] == ["nan" if n in undefined else "0" for n in (1, 2, 3)]
    assert (tmp_path / "training.png").is_file()


def test_resumed_curves_go_on_after_the_rows_before(tmp_path: Path) -> None:
    first = Training()
    curves = first.curves(tmp_path)
    first.run(curves, epochs=2)
    state = json.loads(json.dumps(curves.state_dict()))  # plain values only
    second = Training()
    resumed = second.curves(tmp_path)
    resumed.load_state_dict(state)
    second.run(resumed, epochs=3, first=2)
    rows = _rows(tmp_path)
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert [float(row["training_loss"]) for row in rows] == [2.5, 6.5, 10.5]
    assert [float(row["seconds"]) for row in rows] == sorted(float(row["seconds"]) for row in rows)


def test_the_log_has_a_line_per_epoch_and_the_time_left_counts_from_where_it_was_resumed(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    training = Training(validate_at=(2, 3), length=100)
    schedule = BudgetSchedule(optimizer=training.optimizer)
    progress = TrainingProgress(validator=training.validator, schedule=schedule, labels=LABELS)

    @training.trainer.on(Events.ITERATION_STARTED)
    def pass_time(engine: Engine) -> None:
        now[0] += 1.0

    with caplog.at_level(logging.INFO, logger="pipeline.handlers.progress"):
        training.run(schedule, progress, epochs=10, first=8)
    lines = [record.getMessage() for record in caplog.records if record.name == "pipeline.handlers.progress"]
    assert [line.split("  ")[0] for line in lines] == ["epoch 9/10", "epoch 10/10"]
    # 100 s for one of the two epochs to come: as many are left, and a second since the rate counts finished steps.
    assert lines[0].endswith("0:01:40 spent, about 0:01:42 left")


def test_the_log_shows_the_dice_of_each_label_where_it_was_validated(caplog: pytest.LogCaptureFixture) -> None:
    training = Training(validate_at=(2,))
    schedule = BudgetSchedule(optimizer=training.optimizer)
    progress = TrainingProgress(validator=training.validator, schedule=schedule, labels=LABELS)
    with caplog.at_level(logging.INFO, logger="pipeline.handlers.progress"):
        training.run(schedule, progress, epochs=3)
    lines = [record.getMessage() for record in caplog.records if record.name == "pipeline.handlers.progress"]
    assert ["Dice" in line for line in lines] == [False, True, False]
    assert "Dice 0.4000 (left 0.4000  right 0.5000)" in lines[1]


@pytest.mark.parametrize("name", ["$\\frac{$", "_hidden", "a_b^c"])
def test_a_class_of_any_name_is_drawn(name: str, tmp_path: Path) -> None:
    training = Training()
    curves = TrainingCurves(
        folder=tmp_path, validator=training.validator, optimizer=training.optimizer, labels=[name, "right"]
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # matplotlib warns of labels that it leaves out
        training.run(curves, epochs=3)
    assert _rows(tmp_path)[2][f"dice_{name}"] == "0.6"
    with Image.open(tmp_path / "training.png") as picture:
        assert picture.size[0] > 0
