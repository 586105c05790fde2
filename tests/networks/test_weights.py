"""Weights in the wrappings that trainers leave are the same weights."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

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
    ],
)
def test_what_holds_no_such_weights_is_one_line(content: Any, message: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "weights.pt")
    with pytest.raises(InputError, match=message) as caught:
        load_weights(_network(1), tmp_path / "weights.pt")
    assert "\n" not in str(caught.value)
