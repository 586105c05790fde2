from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch

from pipeline.bundle import verify_bundle

CONFIGS, METADATA, WEIGHTS, DOCUMENTS = (
    "configs match plan.yaml",
    "metadata follows the schema",
    "weights load and fit",
    "documents are there",
)


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> NoReturn:
        raise AssertionError("a check asked the network")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def _failed(bundle: Path) -> dict[str, str]:
    checks = verify_bundle(bundle)
    assert len(checks) == 8
    assert all("\n" not in reason for reason in checks.values() if reason is not None)
    return {name: reason for name, reason in checks.items() if reason is not None}


def test_a_sound_bundle_passes_every_check_and_is_left_as_it_was(whole_bundle: Path) -> None:
    before = sorted(path for path in whole_bundle.rglob("*"))
    assert _failed(whole_bundle) == {}
    assert sorted(path for path in whole_bundle.rglob("*")) == before


def test_a_config_edited_by_hand_fails_only_the_comparison_with_the_plan(whole_bundle: Path) -> None:
    config = whole_bundle / "configs" / "train.json"
    content = json.loads(config.read_text())
    content["learning_rate"] = 0.123
    config.write_text(json.dumps(content, indent=2) + "\n")
    failed = _failed(whole_bundle)
    assert failed.keys() == {CONFIGS}
    assert "train.json differ from the plan" in failed[CONFIGS]
    assert "medbundle build phantom_ct_segmentation" in failed[CONFIGS]


@pytest.mark.parametrize("key", ["version", "task", "network_data_format", "required_packages_version"])
def test_metadata_without_a_key_fail_by_its_name(bundle: Path, key: str) -> None:
    path = bundle / "configs" / "metadata.json"
    content = json.loads(path.read_text())
    del content[key]
    path.write_text(json.dumps(content))
    failed = _failed(bundle)
    assert {CONFIGS, METADATA} <= failed.keys()
    assert f"'{key}' is a required property" in failed[METADATA]


def test_a_network_that_does_not_fit_the_metadata_fails_for_the_config_that_has_it(whole_bundle: Path) -> None:
    path = whole_bundle / "configs" / "inference.json"
    content = json.loads(path.read_text())
    content["network_def"]["out_channels"] = 4
    path.write_text(json.dumps(content))
    assert _failed(whole_bundle).keys() == {CONFIGS, "network fits the metadata (inference)", WEIGHTS}


@pytest.mark.parametrize(("config", "key"), [("inference", "inferer"), ("train", "dataset_dir")])
def test_a_missing_property_fails_for_the_config_that_lacks_it(whole_bundle: Path, config: str, key: str) -> None:
    path = whole_bundle / "configs" / f"{config}.json"
    content = json.loads(path.read_text())
    content[f"{key}_renamed"] = content.pop(key)
    path.write_text(json.dumps(content).replace(f'"@{key}"', f'"@{key}_renamed"'))
    failed = _failed(whole_bundle)
    assert f"{config} has MONAI's properties" in failed


def test_weights_of_another_network_and_missing_documents_fail(whole_bundle: Path) -> None:
    torch.save(torch.nn.Linear(2, 2).state_dict(), whole_bundle / "models" / "model.pt")
    (whole_bundle / "LICENSE").unlink()
    failed = _failed(whole_bundle)
    assert failed.keys() == {WEIGHTS, DOCUMENTS}
    assert "LICENSE missing" in failed[DOCUMENTS]


def test_missing_weights_fail_with_the_cure(bundle: Path) -> None:
    failed = _failed(bundle)
    assert failed.keys() == {WEIGHTS, DOCUMENTS}
    assert f"no weights. Run: medbundle train {bundle} --data" in failed[WEIGHTS]
