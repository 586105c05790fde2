"""What a plan says in words is never read by MONAI's parser: it comes out as it was written, and nothing runs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from monai.bundle import ConfigParser, run

from pipeline.bundle import build_bundle, literal, verify_bundle
from pipeline.cli import main
from pipeline.errors import InputError, find_input_error
from pipeline.planning import Plan, load_plan

CODE = '$open("PWNED","w")'
MEANT = [CODE, "@device", "%configs", "$1+1", "a #1", "#", "a::b", "@##x %::y", "$import antigravity", "a, \"b'ü🫀"]
TEXTS = pytest.mark.parametrize("text", MEANT)
CONFIGS = ["inference", "train", "evaluate", "multi_gpu_train"]


@pytest.fixture(autouse=True)
def _nothing_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    yield
    assert not list(tmp_path.rglob("PWNED"))


def _plan(text: str, *, task: str = "segmentation") -> dict[str, Any]:
    """A plan with that text in the place of each text."""
    segments = task == "segmentation"
    code = {"value": text, "scheme": text, "meaning": text}
    channel = {"name": text, "files": text, "modality": text, "description": re.escape(text), "body_part": text}
    label = {"value": int(segments), "name": text, "category": code, "type": code, "modifier": code}
    network = {"_target_": "pipeline.networks.ConvNet", "spatial_dims": 3, "in_channels": 2, "out_channels": 1,
               "features": [4, 4]}  # fmt: skip
    if segments:
        label["source_names"] = [text]
        network = {"_target_": "monai.networks.nets.UNet", "spatial_dims": 3, "in_channels": 2, "out_channels": 2,
                   "channels": [4, 8], "strides": [2]}  # fmt: skip
    return {
        **dict.fromkeys(("title", "description", "intended_use", "authors", "copyright"), text),
        "references": [text],
        "changelog": {"0.1.0": text},
        "name": f"texts_{task}",
        "version": "0.1.0",
        "task": task,
        "dimensions": 3,
        "data": {"modality": text, "channels": [channel, channel | {"name": f"{text} 2"}], "source": text,
                 "license": text, "patient_pattern": f"(.){re.escape(text)}|$", "folds": 2},
        "labels": [label],
        "preprocessing": {"window": [16, 16, 8], "normalization": {"kind": "zscore"}},
        "network": network,
        "training": {"epochs": 1},
    }  # fmt: skip


def _built(folder: Path, plan: dict[str, Any]) -> Path:
    folder.mkdir()
    (folder / "plan.yaml").write_text(yaml.safe_dump(plan))
    assert main(["build", str(folder)]) == 0
    return folder


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, one in value.items():
            yield key
            yield from _texts(one)
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one)
    elif isinstance(value, str):
        yield value


def _leaves(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """The texts with the key of the mapping that they are in."""
    if isinstance(value, dict):
        for name, one in value.items():
            yield from _leaves(one, name)
    elif isinstance(value, list):
        for one in value:
            yield from _leaves(one, key)
    else:
        yield key, str(value)


@TEXTS
def test_a_literal_is_parsed_to_the_text_itself(text: str) -> None:
    given = {"one": text, "path": Path(text), "many": [text, {"deep": text}], "number": 3, "none": None}
    config = json.loads(
        json.dumps({"x": {"_target_": "builtins.dict", "value": literal(given)}, "device": 1, "y": "@x"})
    )
    assert ConfigParser(config).get_parsed_content("y") == {"value": {**given, "path": text}}


@pytest.mark.parametrize("text", ["Liver", "T1-weighted, 3 T", "Lésion (left)", ""])
def test_plain_text_stands_in_a_config_as_it_is(text: str) -> None:
    assert literal(text) == text


@pytest.mark.parametrize("task", ["segmentation", "classification"])
def test_no_text_of_a_plan_reaches_a_config_as_it_is(task: str, tmp_path: Path) -> None:
    plain, odd = (
        _built(tmp_path / name, _plan(text, task=task)) for name, text in (("plain", "plain"), ("odd", "$7#@%"))
    )
    for name in CONFIGS:
        known = {*_texts(json.loads((plain / "configs" / f"{name}.json").read_text()))}
        added = {*_texts(json.loads((odd / "configs" / f"{name}.json").read_text()))} - known
        assert [text for text in added if set("$#@%") & set(text)] == []
        assert added or name == "multi_gpu_train"


def test_the_plan_here_has_each_text_that_a_plan_can_have() -> None:
    """So that a new one is tried as well."""
    definitions = Plan.model_json_schema()
    texts = {
        name
        for one in [definitions, *definitions["$defs"].values()]
        for name, field in one.get("properties", {}).items()
        for kind in [field, field.get("items", {}), field.get("additionalProperties", {}), *field.get("anyOf", [])]
        if isinstance(kind, dict) and kind.get("type") == "string" and not {"const", "enum", "pattern"} & kind.keys()
    }
    given = {key for key, value in _leaves(_plan("sentinel")) if "sentinel" in value}
    assert texts - given == {"reason"}  # of ImageNet's statistics, which no config has


@TEXTS
@pytest.mark.parametrize("task", ["segmentation", "classification"])
def test_a_plan_of_such_texts_gives_a_bundle_that_says_them(text: str, task: str, tmp_path: Path) -> None:
    bundle = _built(tmp_path / f"texts_{task}", _plan(text, task=task))
    parser = ConfigParser()
    parser.read_config([str(bundle / "configs" / f"{name}.json") for name in ("train", "evaluate")])
    parser.read_meta(str(bundle / "configs" / "metadata.json"))
    parser["dataset_dir"] = str(tmp_path)
    assert parser.get_parsed_content("labels") == {str(int(task == "segmentation")): text}
    parser.get_parsed_content("_meta_::network_data_format")  # which MONAI's check of properties asks for
    metadata = json.loads((bundle / "configs" / "metadata.json").read_text())
    assert metadata["name"].replace(" ", "") == text.replace(" ", "")
    inference = ConfigParser()
    inference.read_config(str(bundle / "configs" / "inference.json"))
    if task == "segmentation":
        inference["cases"], inference["case_threads"], inference["output_dir"] = [], None, str(tmp_path)
        saver = inference.get_parsed_content("postprocessing").transforms[0].transform
        assert (saver.algorithm.name, saver.segments[0].name) == (text, text)
        assert (
            saver.segments[0].category == saver.segments[0].property_type == saver.segments[0].modifier == (text,) * 3
        )


def test_verify_finds_nothing_wrong_with_such_texts(tmp_path: Path) -> None:
    plan = _plan(CODE, task="classification")
    plan["labels"].append({"value": 1, "name": "@device"})
    plan["network"]["out_channels"] = 2
    bundle = _built(tmp_path / "texts_classification", plan)
    parser = ConfigParser()
    parser.read_config(str(bundle / "configs" / "inference.json"))
    (bundle / "models").mkdir()
    torch.save(parser.get_parsed_content("network_def").state_dict(), bundle / "models" / "model.pt")
    problems = {name: problem for name, problem in verify_bundle(bundle).items() if problem is not None}
    assert [*problems] == ["documents are there"], problems


@pytest.mark.parametrize(
    ("network", "field"),
    [
        ({"_target_": "subprocess.call", "args": ["touch", "PWNED"]}, "network: _target_"),
        ({"_target_": "monai.networks.utils.os.system", "command": "touch PWNED"}, "network: _target_"),
        ({"_target_": "builtins.open", "file": "PWNED", "mode": "w"}, "network: _target_"),
        ({"_target_": "$open('PWNED', 'w')"}, "network: _target_"),
        ({"_target_": ["$open('PWNED', 'w')"]}, "network: _target_"),
        ({"act": {"_target_": "builtins.open", "file": "PWNED", "mode": "w"}}, "network: act._target_"),
        (
            {"act": ["relu", {"x": [{"_target_": "os.system", "command": "touch PWNED"}]}]},
            "network: act.1.x.0._target_",
        ),
        ({"act": CODE}, "network: act"),
        ({"act": ["PRELU", {"init": "@device"}]}, "network: act.1.init"),
        ({"norm": "%device"}, "network: norm"),
        ({"_requires_": [CODE]}, "network: _requires_"),
        ({"_mode_": "debug"}, "network: _mode_"),
        ({CODE: 1}, "network: "),
        ({"_target_": None}, "network: _target_"),
    ],
)
def test_a_network_that_would_run_something_else_is_refused(
    network: dict[str, Any], field: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = _plan("text")
    plan["network"] |= network
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(plan))
    assert main(["build", str(tmp_path)]) == 1
    printed = capsys.readouterr().err
    assert field in printed
    assert printed.count("\n") == 1
    assert not (tmp_path / "configs").exists()


@pytest.mark.parametrize(
    "network",
    [
        {"act": ["PRELU", {"init": 0.2}], "norm": "BATCH"},
        {"_target_": "monai.networks.nets.resnet10", "n_input_channels": 1, "num_classes": 2},
        {"_target_": "UNet"},
        {"act": {"_target_": "torch.nn.PReLU"}, "_desc_": "small"},
    ],
)
def test_networks_of_monai_and_torch_are_taken(network: dict[str, Any], tmp_path: Path) -> None:
    plan = _plan("text")
    plan["network"] |= network
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(plan))
    assert load_plan(tmp_path / "plan.yaml").network == plan["network"]


def test_a_changelog_has_versions_as_keys(tmp_path: Path) -> None:
    plan = _plan("text") | {"changelog": {"_target_": "builtins.open"}}
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(plan))
    with pytest.raises(InputError, match="changelog"):
        build_bundle(tmp_path)


def test_plain_monai_run_reads_nothing_into_such_texts(tmp_path: Path) -> None:
    bundle = _built(tmp_path / "texts_segmentation", _plan(CODE))
    config = bundle / "configs" / "inference.json"
    with pytest.raises(Exception, match=r".") as caught:
        run(config_file=str(config), logging_file=False, dataset_dir=str(tmp_path / "no"))
    assert "no such file or folder" in str(find_input_error(caught.value))


@pytest.mark.parametrize("pattern", ["(", "(a)(?P<x>", "*(a)", "no group"])
def test_a_pattern_that_is_none_is_one_line(pattern: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = _plan("text")
    plan["data"]["patient_pattern"] = pattern
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(plan))
    assert main(["build", str(tmp_path)]) == 1
    printed = capsys.readouterr().err
    assert "data.patient_pattern: must be a regular expression" in printed
    assert printed.count("\n") == 1
