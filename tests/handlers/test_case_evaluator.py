from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ignite.engine import Engine
from monai.data import DataLoader
from monai.inferers import SimpleInferer

from pipeline.data import CaseFailures, SurvivingCases
from pipeline.errors import CasesFailed, InputError
from pipeline.handlers import CaseEvaluator, CaseProgress, ScoreCases

SPOILT = {"unreadable", "too large", "unwritable"}


class Table:
    """Notes the cases that reach it."""

    def __init__(self) -> None:
        self.rows: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def add(self, name: str, prediction: Any, reference: Any, *, patient: str | None, spacing_mm: Any) -> None:
        self.rows[name] = (np.asarray(prediction), np.asarray(reference))


def _load(case: dict[str, Any]) -> dict[str, Any]:
    if case["name"] == "unreadable":
        # As MONAI wraps what a reader raises.
        raise RuntimeError("applying transform <LoadImaged>") from InputError("is empty", where="unreadable.nii")
    image = torch.full((1, 2, 2, 2), 99.0 if case["name"] == "too large" else 1.0)
    return {**case, "image": image, "label": torch.ones(1, 2, 2, 2)}


NO_MEMORY = "too large: not enough memory for the image. Close other programs, or crop the image"


def _network(batch: torch.Tensor) -> torch.Tensor:
    if batch.max() > 50:
        raise MemoryError("no memory\nfor this case")
    return batch * 2


class Save:
    """Writes the prediction's sum to ``<name>.txt``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, data: dict[str, Any]) -> dict[str, Any]:
        if data["name"] == "unwritable":
            raise InputError("cannot be written", where="unwritable.nii.gz")
        (self.folder / f"{data['name']}.txt").write_text(str(float(data["pred"].sum())))
        return data


def _run(names: list[str], folder: Path) -> tuple[CaseFailures, Table]:
    failures, table = CaseFailures(), Table()
    dataset = SurvivingCases(data=[{"name": name} for name in names], transform=_load, failures=failures)
    evaluator = CaseEvaluator(
        failures=failures,
        device=torch.device("cpu"),
        val_data_loader=DataLoader(dataset, batch_size=1, num_workers=0),
        network=torch.nn.Identity(),
        inferer=_Inferer(),
        postprocessing=Save(folder),
        val_handlers=[ScoreCases(table=table), CaseProgress(total=len(names))],
    )
    evaluator.run()
    return failures, table


class _Inferer(SimpleInferer):
    def __call__(self, inputs: torch.Tensor, network: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        return super().__call__(inputs, _network)


def test_all_cases_that_can_be_finished_are(tmp_path: Path) -> None:
    names = ["a", "unreadable", "b", "too large", "c", "unwritable", "d"]
    failures, table = _run(names, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt", "b.txt", "c.txt", "d.txt"]
    assert {path.read_text() for path in tmp_path.iterdir()} == {"16.0"}
    assert failures.total == 7
    assert failures.reasons == {
        "unreadable": "unreadable.nii: is empty",
        "too large": NO_MEMORY,
        "unwritable": "unwritable.nii.gz: cannot be written",
    }
    assert list(table.rows) == ["a", "b", "c", "d"]
    prediction, reference = table.rows["c"]
    assert prediction.shape == reference.shape == (2, 2, 2)
    assert prediction.dtype == np.uint8
    assert (prediction == 2).all()
    assert (reference == 1).all()


@pytest.mark.parametrize("names", [["unreadable"], ["unreadable", "unwritable"], ["too large", "unreadable", "a"]])
def test_a_bad_case_at_either_end_is_no_matter(tmp_path: Path, names: list[str]) -> None:
    failures, table = _run(names, tmp_path)
    assert failures.reasons.keys() == SPOILT & set(names)
    assert table.rows.keys() == set(names) - SPOILT
    assert failures.total == len(names)


def test_several_cases_end_with_status_3_and_a_list(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    failures, _ = _run(["a", "unreadable", "unwritable"], tmp_path)
    assert capsys.readouterr().err == ""
    with pytest.raises(CasesFailed) as caught:
        failures.finish()
    assert caught.value.code == 3
    assert capsys.readouterr().err.splitlines() == [
        "medbundle: 2 of 3 cases failed:",
        "  unreadable: unreadable.nii: is empty",
        "  unwritable: unwritable.nii.gz: cannot be written",
    ]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("unreadable", "unreadable.nii: is empty"),
        ("too large", NO_MEMORY),
        ("unwritable", "unwritable.nii.gz: cannot be written"),
    ],
)
def test_the_only_case_is_the_users_error(tmp_path: Path, name: str, reason: str) -> None:
    failures, _ = _run([name], tmp_path)
    with pytest.raises(InputError) as caught:
        failures.finish()
    assert str(caught.value) == reason


def test_no_failure_is_no_error(tmp_path: Path) -> None:
    failures, _ = _run(["a", "b"], tmp_path)
    failures.finish()
    assert failures.reasons == {}


def test_a_keyboard_interrupt_ends_the_run(tmp_path: Path) -> None:
    failures = CaseFailures()

    def interrupt(case: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(SurvivingCases(data=[{"name": "a"}], transform=interrupt, failures=failures))
    assert failures.reasons == {}


def test_the_first_reason_of_a_case_stays() -> None:
    failures = CaseFailures()
    failures.record("a", InputError("is empty"))
    failures.record("a", ValueError("follows from it"))
    assert failures.reasons == {"a": "is empty"}


def test_a_progress_bar_without_a_terminal_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    engine = Engine(lambda *_: None)
    CaseProgress(total=3).attach(engine)
    engine.run(range(3), max_epochs=1)
    assert capsys.readouterr() == ("", "")
