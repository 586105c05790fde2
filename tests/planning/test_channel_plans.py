from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

import pipeline.workflows.demo as demo_workflow
from pipeline.bundle.configs import inference_config, train_config
from pipeline.errors import InputError
from pipeline.planning import load_plan
from pipeline.planning.plan import Plan


def _plan(folder: Path, channels: list[Any], *, dropout: float = 0.0, **changes: Any) -> Plan:
    plan = yaml.safe_load(Path(demo_workflow.__file__).with_name("demo_plan.yaml").read_text())
    plan["data"]["channels"] = channels
    plan["network"]["in_channels"] = len(channels)
    plan["training"]["augmentation"] = {**plan["training"].get("augmentation", {}), "channel_dropout": dropout}
    path = folder / "plan.yaml"
    path.write_text(yaml.safe_dump({**plan, **changes}))
    return load_plan(path)


def test_a_name_alone_is_a_channel(tmp_path: Path) -> None:
    plan = _plan(tmp_path, ["T1", {"name": "FLAIR", "files": "*_flair.*"}])
    assert [channel.name for channel in plan.data.channels] == ["T1", "FLAIR"]
    assert plan.channel_rules == [{"name": "T1"}, {"name": "FLAIR", "files": "*_flair.*"}]


def test_the_rules_are_in_the_configs_of_several_channels_alone(tmp_path: Path) -> None:
    rules = [{"name": "CT", "modality": "CT"}, {"name": "PET", "description": "^WB@PET$"}]
    plan = _plan(tmp_path, rules)
    cases, split = inference_config(plan)["cases"], train_config(plan)["split"]
    assert cases["channels"][0] == split["channels"][0] == rules[0]
    assert cases["channels"][1]["description"]["_target_"] == "pipeline.bundle.literal_text"
    one = _plan(tmp_path, [{"name": "CT", "modality": "CT"}])
    assert "channels" not in inference_config(one)["cases"]
    assert "channels" not in train_config(one)["split"]


def test_normalisation_per_channel_and_dropout(tmp_path: Path) -> None:
    channels = ["CT", {"name": "PET", "optional": True, "normalization": {"kind": "zscore"}}]
    config = train_config(_plan(tmp_path, channels, dropout=0.2))["train"]
    (own,) = [one for one in config["deterministic_transforms"] if one["_target_"] == "pipeline.transforms.PerChanneld"]
    assert [[step["_target_"] for step in steps] for steps in own["transforms"]] == [
        ["ScaleIntensityRanged"], ["NormalizeIntensityd"]
    ]  # fmt: skip
    assert config["random_transforms"][-1] == {
        "_target_": "pipeline.transforms.RandChannelDropoutd", "keys": ["image"], "prob": 0.2, "channels": [1]
    }  # fmt: skip


@pytest.mark.parametrize(
    ("channels", "dropout", "message"),
    [
        (["CT", {"name": "PET", "optional": True}], 0.0, r"channel_dropout: must be above 0, for PET is optional"),
        ([{"name": "a", "optional": True}, {"name": "b", "optional": True}], 0.1, r"one must not be optional"),
        (["CT", "ct"], 0.0, r"data\.channels: names must differ"),
        (["CT"], 0.5, r"channel_dropout: needs several channels"),
        (["CT", {"name": "PET", "description": "("}], 0.0, r"channels\.1\.description: must be a regular expression"),
        (["CT", {"name": "PET", "modalty": "PT"}], 0.0, r"unknown field, did you mean modality\?"),
        (["CT", 7], 0.0, r"data\.channels\.1: "),
    ],
)  # fmt: skip
def test_a_wrong_channel_is_named(tmp_path: Path, channels: list[Any], dropout: float, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        _plan(tmp_path, channels, dropout=dropout)
    assert "\n" not in str(caught.value)
