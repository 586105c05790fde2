"""Weights in the wrappings that trainers leave are the same weights."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.errors import InputError
from pipeline.networks.weights import load_weights


def _network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3))
    network.model = nn.Linear(2, 2)  # a name of its own that is also a prefix of others
    return network


def _prefixed(state: dict[str, Any], prefix: str) -> dict[str, Any]:
    return {prefix + name: value for name, value in state.items()}


WRAPPED = {
    "plain": lambda state: state,
    "model": lambda state: {"model": state},
    "DataParallel": lambda state: _prefixed(state, "module."),
    "torch.compile": lambda state: _prefixed(state, "_orig_mod."),
    "both": lambda state: _prefixed(state, "module._orig_mod."),
    "state_dict": lambda state: {"state_dict": state, "epoch": 3},
    "Lightning": lambda state: {"state_dict": _prefixed(state, "net."), "pytorch-lightning_version": "2.5"},
    "nnU-Net": lambda state: {"network_weights": state, "trainer_name": "nnUNetTrainer"},
    "tutorial": lambda state: {"model_state_dict": state, "optimizer_state_dict": {"state": {}}},
    "deep": lambda state: {"state_dict": {"model": _prefixed(state, "module.")}},
    "beside tensors": lambda state: {"state_dict": state, "epoch": torch.tensor(3), "best": torch.tensor(0.9)},
    "with its loss": lambda state: {"state_dict": {**_prefixed(state, "net."), "criterion.weight": torch.ones(2)}},
    "AveragedModel": lambda state: {**_prefixed(state, "module."), "n_averaged": torch.tensor(5)},
    "a wrapped part": lambda state: {name.replace(".", "._orig_mod.", 1): value for name, value in state.items()},
    "FSDP": lambda state: _prefixed(state, "_fsdp_wrapped_module."),
    "DeepSpeed": lambda state: {"module": state, "optimizer": {"state": {0: {"exp_avg": torch.ones(3)}}}},
    "a name of its own": lambda state: {"segmenter": state},
    "a prefix of its own": lambda state: {"state_dict": _prefixed(state, "segmenter.unet.")},
    "of several the usual one": lambda state: {"ema": {n: v + 1 for n, v in state.items()}, "network": state},
    "NumPy's numbers": lambda state: {"network_weights": state, "ema": np.float64(0.5), "steps": np.int64(7)},
}


@pytest.mark.parametrize("name", WRAPPED)
def test_wrapped_weights_are_loaded_and_it_is_said(name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    trained = _network(1)
    torch.save(WRAPPED[name](trained.state_dict()), tmp_path / "weights.pt")
    with caplog.at_level(logging.INFO, "pipeline"):
        loaded = load_weights(_network(2), tmp_path / "weights.pt")
    for key, value in trained.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value)
    assert ("the weights are taken out of its" in caplog.text) == (name not in ("plain", "model"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"epoch": 3}, "holds no weights"),
        ([1, 2], "holds no weights"),
        ({}, "holds no weights"),
        ({"state_dict": {}}, "holds no weights"),
        ({"other.0.weight": torch.zeros(3)}, "weights are of another network"),
        ({"module.0.weight": torch.zeros(3)}, "weights are of another network"),
        ({"epoch": torch.tensor(1), "state_dict": {"other": torch.ones(1)}}, "weights are of another network"),
        (argparse.Namespace(lr=1), "holds more than weights .*got an object of argparse.Namespace"),
    ],
)
def test_what_holds_no_such_weights_is_one_line(content: Any, message: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "weights.pt")
    with pytest.raises(InputError, match=message) as caught:
        load_weights(_network(1), tmp_path / "weights.pt")
    assert "\n" not in str(caught.value)


def test_of_two_networks_none_is_guessed(tmp_path: Path) -> None:
    one, other = _network(1).state_dict(), _network(2).state_dict()
    for twins in (
        {"teacher": one, "student": other},
        {"state_dict": {**_prefixed(one, "teacher."), **_prefixed(other, "student.")}},
    ):
        torch.save(twins, tmp_path / "weights.pt")
        with pytest.raises(InputError, match=r"more than once .*teacher.*student"):
            load_weights(_network(3), tmp_path / "weights.pt")


def test_a_part_of_another_network_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole = {**_prefixed(_network(1).state_dict(), "encoder."), "decoder.weight": torch.ones(2)}
    torch.save(whole, tmp_path / "weights.pt")
    with caplog.at_level(logging.INFO, "pipeline"):
        load_weights(_network(2), tmp_path / "weights.pt")
    assert "out of its prefix encoder.; left out: decoder.weight" in caplog.text


def test_what_no_torch_has_written_is_one_line(tmp_path: Path) -> None:
    for content in (b"", b"no weights", b"PK\x03\x04", bytes(300)):
        (tmp_path / "weights.pt").write_bytes(content)
        with pytest.raises(InputError, match="holds no weights") as caught:
            load_weights(_network(1), tmp_path / "weights.pt")
        assert "\n" not in str(caught.value)
