from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.bundle import check_run, open_workflow
from pipeline.errors import InputError, find_input_error


@pytest.fixture(autouse=True)
def _excepthook() -> Iterator[None]:
    before = sys.excepthook
    yield
    sys.excepthook = before


def _refusal(bundle: Path, config: str = "inference", **overrides: Any) -> str:
    workflow = open_workflow(bundle, [config], training=config == "train", **overrides)
    with pytest.raises(Exception, match=r".") as caught:
        workflow.initialize()
    error = find_input_error(caught.value)
    assert error is not None, repr(caught.value)
    assert "\n" not in str(error)
    return str(error)


@pytest.mark.parametrize(
    ("config", "key", "cure"),
    [
        ("inference", "ouput_dir", "Did you mean --output_dir?"),
        ("inference", "weight", "Did you mean --weights?"),
        ("train", "epoch", "Did you mean --epochs?"),
        ("train", "learning_rat", "Did you mean --learning_rate?"),
        ("train", "zzz", "See the keys of the config file"),
    ],
)
def test_an_unknown_override_is_refused_with_the_nearest_known_one(
    whole_bundle: Path, tmp_path: Path, config: str, key: str, cure: str
) -> None:
    refusal = _refusal(whole_bundle, config, dataset_dir=tmp_path, **{key: 3})
    assert refusal == f"unknown override --{key}. {cure}"


@pytest.mark.parametrize(("config", "key"), [("train", "weights"), ("train", "subset"), ("inference", "epochs")])
def test_an_override_that_only_another_config_knows_is_refused(
    whole_bundle: Path, tmp_path: Path, config: str, key: str
) -> None:
    assert _refusal(whole_bundle, config, dataset_dir=tmp_path, **{key: 3}).startswith(f"unknown override --{key}. ")


@pytest.mark.parametrize(
    ("configs", "overrides"),
    [
        (["inference"], {"series": "1", "output_dir": "masks"}),
        (["train"], {"epochs": 1, "resume": True, "train::trainer::max_epochs": 1}),
        (["train", "evaluate"], {"subset": "all", "weights": "a.pt", "fold": 1}),
        (["train", "multi_gpu_train"], {"backend": "gloo", "epochs": 1}),
        (["train"], {"tracking": "mlflow"}),
    ],
)
def test_what_the_configs_of_the_run_know_may_be_overridden(
    whole_bundle: Path, configs: list[str], overrides: dict[str, Any]
) -> None:
    workflow = open_workflow(whole_bundle, configs, training=True, **overrides)
    # A list of its own, because multi_gpu_train.json starts a group of processes before.
    workflow.parser["initialize"] = [{"_target_": "pipeline.bundle.check_run", "dataset_dir": None}]
    with pytest.raises(Exception, match=r".") as caught:
        workflow.initialize()
    assert str(find_input_error(caught.value)).startswith("dataset_dir is not given")


@pytest.mark.parametrize("config", ["inference", "train"])
def test_no_dataset_dir_is_told_in_one_line(whole_bundle: Path, config: str) -> None:
    assert _refusal(whole_bundle, config) == "dataset_dir is not given. Pass --dataset_dir with a file or folder"


@pytest.mark.parametrize("config", ["inference", "train"])
def test_a_dataset_dir_that_does_not_exist_is_named(whole_bundle: Path, tmp_path: Path, config: str) -> None:
    refusal = _refusal(whole_bundle, config, dataset_dir=tmp_path / "absent")
    assert refusal.startswith(f"{tmp_path / 'absent'}: no such file or folder. ")


def test_missing_weights_are_named(bundle: Path, tmp_path: Path) -> None:
    refusal = _refusal(bundle, dataset_dir=tmp_path)
    assert refusal.startswith(f"{bundle / 'models' / 'model.pt'}: no weights. Train the bundle first")


def test_given_weights_that_are_missing_are_named(whole_bundle: Path, tmp_path: Path) -> None:
    refusal = _refusal(whole_bundle, dataset_dir=tmp_path, weights=tmp_path / "other.pt")
    assert refusal.startswith(f"{tmp_path / 'other.pt'}: no weights.")


@pytest.mark.parametrize("below", ["", "masks", "masks/of/today"])
@pytest.mark.parametrize(("config", "option"), [("inference", "output_dir"), ("train", "ckpt_dir")])
def test_an_output_that_is_a_file_is_named(
    whole_bundle: Path, tmp_path: Path, config: str, option: str, below: str
) -> None:
    (tmp_path / "file").touch()
    refusal = _refusal(whole_bundle, config, dataset_dir=tmp_path, **{option: tmp_path / "file" / below})
    assert refusal == f"{tmp_path / 'file'}: is not a folder. Give another output folder"


def test_a_folder_without_leave_to_write_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: False)  # root may write anywhere
    with pytest.raises(InputError, match=rf"^{tmp_path}: cannot be written\."):
        check_run(dataset_dir=str(tmp_path), output_dir=str(tmp_path / "new"), one_line_errors=False)


def test_a_sound_run_passes_and_makes_nothing(tmp_path: Path) -> None:
    weights = tmp_path / "model.pt"
    weights.touch()
    check_run(dataset_dir=str(tmp_path), weights=str(weights), output_dir=str(tmp_path / "a" / "b"))
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt"]


def test_from_then_on_a_users_error_is_printed_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    others: list[BaseException] = []
    monkeypatch.setattr(sys, "excepthook", lambda kind, error, trace: others.append(error))
    check_run(dataset_dir=str(tmp_path))
    hook = sys.excepthook
    check_run(dataset_dir=str(tmp_path))
    assert sys.excepthook is hook  # once is enough
    wrapped = RuntimeError("instantiating")
    wrapped.__cause__ = InputError("is empty", where="a.nii")
    hook(RuntimeError, wrapped, None)
    assert capsys.readouterr().err == "medbundle: a.nii: is empty\n"
    assert others == []
    foreign = ZeroDivisionError("division by zero")
    hook(ZeroDivisionError, foreign, None)
    assert others == [foreign]
    assert capsys.readouterr().err == ""
