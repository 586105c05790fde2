from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from ignite.engine import Engine, Events
from monai.engines import Evaluator, SupervisedTrainer

from pipeline.handlers import BudgetSchedule, EarlyStopping, FinalValidationHandler, GradientClipping


class Clock:
    """A clock that only moves when told to."""

    def __init__(self) -> None:
        self.now = 5000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("time.monotonic", clock)
    return clock


def _optimizer(*rates: float) -> torch.optim.Optimizer:
    return torch.optim.SGD([{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": rate} for rate in rates], lr=1.0)


def _run(schedule: BudgetSchedule, *, epochs: int, length: int, step: Callable[[], None] = lambda: None) -> Any:
    """The learning rate of each iteration, and the final state."""
    rates: list[float] = []

    def process(engine: Engine, batch: Any) -> None:
        rates.append(schedule.optimizer.param_groups[0]["lr"])
        step()

    engine = Engine(process)
    schedule.attach(engine)
    state = engine.run(range(length), max_epochs=epochs)
    return rates, state


@pytest.mark.parametrize("power", [0.9, 1.0, 2.0])
def test_the_rate_decays_by_the_polynomial(power: float) -> None:
    rates, _ = _run(BudgetSchedule(optimizer=_optimizer(0.5), warmup=0, power=power), epochs=4, length=5)
    assert rates == pytest.approx([0.5 * (1 - step / 20) ** power for step in range(20)])


def test_the_rate_warms_up_linearly() -> None:
    schedule = BudgetSchedule(optimizer=_optimizer(1.0), warmup=0.2, power=0.9)
    rates, _ = _run(schedule, epochs=10, length=10)
    expected = [(1 - n / 100) ** 0.9 * min(1, n / 100 / 0.2 + 0.01) for n in range(100)]
    assert rates == pytest.approx(expected)
    assert rates[0] == pytest.approx(0.01)
    assert rates.index(max(rates)) == 20


@pytest.mark.parametrize("warmup", [0.0, 0.03, 1.0])
def test_the_factor_never_leaves_0_to_1_and_ends_at_0(warmup: float) -> None:
    schedule = BudgetSchedule(optimizer=_optimizer(1.0), warmup=warmup)
    factors = [schedule.factor(step / 1000) for step in range(1001)]
    assert min(factors) == factors[-1] == 0
    assert max(factors) <= 1


def test_each_group_keeps_its_own_peak() -> None:
    optimizer = _optimizer(0.4, 0.1)
    _run(BudgetSchedule(optimizer=optimizer, warmup=0), epochs=1, length=4)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(4 * optimizer.param_groups[1]["lr"])


def test_a_training_out_of_time_ends_in_its_epoch_with_a_decayed_rate(clock: Clock) -> None:
    schedule = BudgetSchedule(optimizer=_optimizer(1.0), warmup=0, power=1.0, time_budget_minutes=1.0)
    completed = []

    def step() -> None:
        clock.now += 4.0

    def process(engine: Engine, batch: Any) -> None:
        rates.append(schedule.optimizer.param_groups[0]["lr"])
        step()

    rates: list[float] = []
    engine = Engine(process)
    schedule.attach(engine)
    engine.add_event_handler(Events.EPOCH_COMPLETED, lambda e: completed.append(e.state.epoch))
    state = engine.run(range(6), max_epochs=1000)
    # 15 iterations of 4 s fill the minute, in the third epoch of 6, which is completed for its handlers.
    assert len(rates) == state.iteration == 15
    assert completed == [1, 2, 3]
    assert state.max_epochs == 3
    assert rates == pytest.approx([1 - 4 * step / 60 for step in range(15)])


def test_a_generous_budget_changes_nothing(clock: Clock) -> None:
    with_budget, _ = _run(BudgetSchedule(optimizer=_optimizer(1.0), time_budget_minutes=1e6), epochs=3, length=4)
    without, _ = _run(BudgetSchedule(optimizer=_optimizer(1.0)), epochs=3, length=4)
    assert with_budget == pytest.approx(without)
    assert len(with_budget) == 12


def test_resuming_counts_the_time_used_before_up_to_the_moment_of_saving(clock: Clock) -> None:
    first = BudgetSchedule(optimizer=_optimizer(1.0), warmup=0, power=1.0, time_budget_minutes=1.0)

    def step() -> None:
        clock.now += 10.0

    _run(first, epochs=1, length=3, step=step)
    clock.now += 5.0  # a validation
    state = first.state_dict()
    assert state["used_seconds"] == pytest.approx(35.0)
    clock.now += 9999.0  # nothing runs
    second = BudgetSchedule(optimizer=_optimizer(0.7), warmup=0, power=1.0, time_budget_minutes=1.0)
    second.load_state_dict(state)
    rates, _ = _run(second, epochs=50, length=50, step=step)
    # At 35, 45 and 55 s of 60; the peak is that of the first training.
    assert rates == pytest.approx([25 / 60, 15 / 60, 5 / 60])


class Validator(Evaluator):
    """Only notes when it was asked to run."""

    def __init__(self) -> None:
        self.epochs: list[int] = []

    def run(self, global_epoch: int = 1) -> None:
        self.epochs.append(global_epoch)


@pytest.mark.parametrize(
    ("epochs", "interval", "expected"),
    [(7, 3, [3, 6, 7]), (6, 3, [3, 6]), (2, 5, [2]), (3, 1, [1, 2, 3])],
)
def test_the_last_epoch_is_validated_and_each_only_once(epochs: int, interval: int, expected: list[int]) -> None:
    validator = Validator()
    engine = Engine(lambda *_: None)
    FinalValidationHandler(validator=validator, interval=interval).attach(engine)
    engine.run(range(2), max_epochs=epochs)
    assert validator.epochs == expected


def test_the_epoch_in_which_the_time_is_used_up_is_validated(clock: Clock) -> None:
    validator = Validator()

    def process(engine: Engine, batch: Any) -> None:
        clock.now += 7.0

    engine = Engine(process)
    BudgetSchedule(optimizer=_optimizer(1.0), time_budget_minutes=1.0).attach(engine)
    FinalValidationHandler(validator=validator, interval=100).attach(engine)
    engine.run(range(4), max_epochs=100)
    assert validator.epochs == [3]


@pytest.mark.parametrize(
    ("patience", "scores", "last"),
    [
        (2, [0.1, 0.5, 0.4, 0.5, 0.9, 0.9], 4),
        (2, [0.1, 0.5, 0.4, 0.6, 0.5, 0.5, 0.9], 6),
        (1, [0.1, 0.2, 0.3, 0.3, 0.9], 4),
        (None, [0.5, 0.4, 0.3, 0.2, 0.1], 5),
    ],
)
def test_training_stops_after_so_many_validations_without_a_better_metric(
    patience: int | None, scores: list[float], last: int
) -> None:
    validator = Engine(lambda *_: None)
    validator.state.key_metric_name = "dice"
    trainer = Engine(lambda *_: None)

    @trainer.on(Events.EPOCH_COMPLETED)
    def validate(engine: Engine) -> None:
        validator.state.metrics = {"dice": scores[engine.state.epoch - 1]}
        validator.run([0], max_epochs=1)

    EarlyStopping(validator=validator, patience=patience).attach(trainer)
    after: list[int] = []
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda engine: after.append(engine.state.epoch))
    trainer.run(range(3), max_epochs=len(scores))
    assert trainer.state.epoch == last
    assert after[-1] == last  # what is attached later, such as the curves, still sees the last epoch


@pytest.mark.parametrize("max_norm", [0.5, 1000.0, None])
def test_the_gradient_of_a_step_is_clipped_as_torch_clips_it(max_norm: float | None) -> None:
    def network() -> torch.nn.Module:
        torch.manual_seed(0)
        return torch.nn.Linear(3, 2)

    torch.manual_seed(1)
    inputs, targets = torch.randn(4, 3), 50 * torch.randn(4, 2)
    expected, trained = network(), network()
    torch.nn.functional.mse_loss(expected(inputs), targets).backward()
    gradients = [parameter.grad.clone() for parameter in expected.parameters()]
    norm = torch.sqrt(sum((gradient**2).sum() for gradient in gradients))
    assert 0.5 < norm < 1000
    scale = min(1.0, max_norm / float(norm)) if max_norm is not None else 1.0
    trainer = SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=1,
        train_data_loader=[{"image": inputs, "label": targets}],
        network=trained,
        optimizer=torch.optim.SGD(trained.parameters(), lr=1.0),
        loss_function=torch.nn.MSELoss(),
        train_handlers=[GradientClipping(network=trained, max_norm=max_norm)],
    )
    trainer.run()
    for before, gradient, after in zip(network().parameters(), gradients, trained.parameters(), strict=True):
        # torch divides by norm + 1e-6; the rest is float32 rounding.
        torch.testing.assert_close(after, before - scale * gradient, rtol=1e-5, atol=1e-6)
