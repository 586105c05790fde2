from __future__ import annotations

import itertools
import math
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ignite.engine import Engine, Events
from ignite.handlers import EMAHandler
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedTrainer
from monai.transforms import RandGaussianNoised
from monai.utils import set_determinism

from pipeline.errors import InputError
from pipeline.handlers import BestCheckpoint, BudgetSchedule, EpochSeed, ResumableState

CPU = torch.device("cpu")


def _validator(checkpoint: BestCheckpoint) -> Engine:
    validator = Engine(lambda *_: None)
    validator.state.key_metric_name = "dice"
    checkpoint.attach(validator)
    return validator


def _validate(validator: Engine, dice: float) -> None:
    validator.state.metrics = {"dice": dice}
    validator.run([0], max_epochs=1)


def _fill(network: torch.nn.Module, value: float) -> None:
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(value)


def _kept(path: Path) -> set[float]:
    weights = torch.load(path, map_location="cpu", weights_only=True)
    assert weights.keys() == torch.nn.Linear(2, 2).state_dict().keys()
    return {float(value) for tensor in weights.values() for value in tensor.unique()}


@pytest.mark.parametrize(
    ("scores", "kept"),
    [
        ([0.2, 0.8, 0.5], 2),
        ([0.8, 0.8, 0.7], 2),
        ([0.0], 1),
        ([math.nan, 0.1], 2),
        ([0.3, math.nan, 0.2], 1),
        ([math.nan], 1),
    ],
)
def test_the_best_weights_are_kept_not_the_last(tmp_path: Path, scores: list[float], kept: int) -> None:
    network = torch.nn.Linear(2, 2)
    path = tmp_path / "models" / "model.pt"
    validator = _validator(BestCheckpoint(network=network, path=path))
    for number, score in enumerate(scores, start=1):
        _fill(network, number)
        _validate(validator, score)
    assert _kept(path) == {float(kept)}
    assert [file.name for file in path.parent.iterdir()] == ["model.pt"]


def test_training_on_does_not_change_the_kept_weights(tmp_path: Path) -> None:
    network = torch.nn.Linear(2, 2)
    validator = _validator(BestCheckpoint(network=network, path=tmp_path / "model.pt"))
    _fill(network, 1)
    _validate(validator, 0.5)
    before = (tmp_path / "model.pt").read_bytes()
    _fill(network, 2)
    _validate(validator, 0.4)
    assert (tmp_path / "model.pt").read_bytes() == before
    assert _kept(tmp_path / "model.pt") == {1.0}


def test_a_resumed_checkpoint_knows_what_is_to_be_beaten(tmp_path: Path) -> None:
    network = torch.nn.Linear(2, 2)
    first = BestCheckpoint(network=network, path=tmp_path / "model.pt")
    _fill(network, 1)
    _validate(_validator(first), 0.5)
    second = BestCheckpoint(network=network, path=tmp_path / "model.pt")
    second.load_state_dict(first.state_dict())
    _fill(network, 2)
    _validate(_validator(second), 0.4)
    assert _kept(tmp_path / "model.pt") == {1.0}
    _validate(_validator(second), 0.6)
    assert _kept(tmp_path / "model.pt") == {2.0}


def test_the_split_is_saved_before_the_weights_that_it_describes(tmp_path: Path) -> None:
    saved: list[bool] = []

    class Split:
        def save(self) -> None:
            saved.append((tmp_path / "model.pt").exists())

    validator = _validator(BestCheckpoint(network=torch.nn.Linear(2, 2), path=tmp_path / "model.pt", split=Split()))
    for score in (0.5, 0.4, 0.6):
        _validate(validator, score)
    assert saved == [False, True]


def test_weights_that_cannot_be_written_are_told_in_one_line_and_leave_nothing(tmp_path: Path) -> None:
    (tmp_path / "model.pt").mkdir()
    network = torch.nn.Linear(2, 2)
    with pytest.raises(InputError, match=r"model\.pt: cannot be written"):
        _validate(_validator(BestCheckpoint(network=network, path=tmp_path / "model.pt")), 0.5)
    assert [file.name for file in tmp_path.iterdir()] == ["model.pt"]


class Training:
    """A small training with random order and random noise, made anew as a new process would make it."""

    def __init__(self, folder: Path, *, epochs: int, resume: bool = False, num_workers: int = 0) -> None:
        set_determinism(0)
        generator = torch.Generator().manual_seed(7)
        inputs = torch.randn(8, 3, generator=generator)
        cases = [{"image": x, "label": x.sum(0, keepdim=True)} for x in inputs]
        self.network = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Dropout(0.5), torch.nn.Linear(4, 1))
        optimizer = torch.optim.AdamW(self.network.parameters(), lr=0.05)
        schedule = BudgetSchedule(optimizer=optimizer, warmup=0.1)
        ema = EMAHandler(self.network, momentum=0.2)
        self.average = ema.ema_model
        self.draws: list[float] = []
        self.order: list[list[float]] = []
        self.state = ResumableState(
            path=folder / "state.pt",
            resume=resume,
            objects={"network": self.network, "ema": ema.ema_model, "optimizer": optimizer, "schedule": schedule},
        )
        dataset = Dataset(cases, RandGaussianNoised("image", prob=0.5))
        self.trainer = SupervisedTrainer(
            device=CPU,
            max_epochs=epochs,
            train_data_loader=DataLoader(dataset, batch_size=2, shuffle=True, num_workers=num_workers),
            network=self.network,
            optimizer=optimizer,
            loss_function=torch.nn.MSELoss(),
            train_handlers=[EpochSeed(dataset=dataset, seed=0), schedule, ema, self, self.state],
        )

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._note)

    def _note(self, engine: Engine) -> None:
        self.draws += [random.random(), float(np.random.rand())]  # noqa: NPY002, S311 - legacy generators are seeded
        self.order.append(torch.cat([case["label"] for case in engine.state.batch]).tolist())

    def run(self, *, until: int | None = None) -> Training:
        if until is not None:
            self.trainer.add_event_handler(
                Events.EPOCH_COMPLETED, lambda engine: engine.state.epoch == until and engine.terminate()
            )
        self.trainer.run()
        return self


def _weights(network: torch.nn.Module) -> list[float]:
    return torch.cat([parameter.detach().ravel() for parameter in network.parameters()]).tolist()


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_resumed_training_goes_on_as_if_it_had_never_stopped(tmp_path: Path, num_workers: int) -> None:
    whole = Training(tmp_path / "whole", epochs=4, num_workers=num_workers).run()
    first = Training(tmp_path / "parts", epochs=4, num_workers=num_workers).run(until=2)
    assert len(first.order) == 8
    rest = Training(tmp_path / "parts", epochs=4, num_workers=num_workers, resume=True).run()
    assert rest.trainer.state.epoch == 4
    assert rest.trainer.state.iteration == whole.trainer.state.iteration == 16
    assert first.order + rest.order == whole.order
    assert rest.order != whole.order[:8]
    assert first.draws + rest.draws == whole.draws
    assert _weights(rest.network) == _weights(whole.network)
    assert _weights(rest.average) == _weights(whole.average)
    assert _weights(rest.average) != _weights(rest.network)


def test_each_epoch_has_its_own_noise(tmp_path: Path) -> None:
    training = Training(tmp_path, epochs=3)
    seen: list[float] = []
    training.trainer.add_event_handler(
        Events.ITERATION_COMPLETED, lambda e: seen.append(sum(float(case["image"].sum()) for case in e.state.batch))
    )
    training.run()
    # Each epoch sums over the same images, in another order, so that only their noise tells the sums apart.
    sums = [sum(seen[start : start + 4]) for start in (0, 4, 8)]
    assert min(abs(a - b) for a, b in itertools.combinations(sums, 2)) > 1e-3


def test_the_state_is_plain_and_alone_in_its_folder(tmp_path: Path) -> None:
    training = Training(tmp_path / "new", epochs=1).run()
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["state.pt"]
    state = torch.load(tmp_path / "new" / "state.pt", map_location="cpu", weights_only=True)
    assert state["engine"] == {"iteration": 4, "epoch": 1}
    assert isinstance(state["network"], Mapping)
    for name, tensor in training.network.state_dict().items():
        assert torch.equal(state["network"][name], tensor)


def test_nothing_to_resume_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"state\.pt: no training to resume"):
        Training(tmp_path, epochs=1, resume=True).run()


def _half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _foreign(path: Path) -> None:
    torch.save({"something": 1}, path)


@pytest.mark.parametrize("spoil", [_half, _foreign], ids=["half a file", "another file"])
def test_a_state_that_cannot_be_taken_up_is_told_in_one_line(tmp_path: Path, spoil: Any) -> None:
    Training(tmp_path, epochs=1).run()
    spoil(tmp_path / "state.pt")
    with pytest.raises(InputError, match=r"state\.pt: cannot be resumed") as caught:
        Training(tmp_path, epochs=2, resume=True).run()
    assert "\n" not in str(caught.value)


def test_a_finished_training_resumed_with_more_epochs_goes_on(tmp_path: Path) -> None:
    before = _weights(Training(tmp_path, epochs=1).run().network)
    rest = Training(tmp_path, epochs=2, resume=True).run()
    assert rest.trainer.state.epoch == 2
    assert len(rest.order) == 4
    assert _weights(rest.network) != before
