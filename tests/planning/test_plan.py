from __future__ import annotations

import copy
import inspect
import re
from collections.abc import Callable
from pathlib import Path
from types import GenericAlias
from typing import Any, get_args

import pytest
import yaml
from pydantic import BaseModel

from pipeline.errors import InputError
from pipeline.planning import Plan, load_plan

HIPPOCAMPUS = Path(__file__).parents[2] / "bundles" / "hippocampus_mr_segmentation" / "plan.yaml"


@pytest.mark.parametrize("path", sorted(HIPPOCAMPUS.parents[1].glob("*/plan.yaml")), ids=lambda path: path.parent.name)
def test_shipped_plans_are_valid_and_named_as_their_folder(path: Path) -> None:
    assert load_plan(path).name == path.parent.name


def _misspell(plan: dict[str, Any]) -> None:
    plan["training"]["learning_rat"] = plan["training"].pop("learning_rate")


def _leave_out(plan: dict[str, Any]) -> None:
    del plan["preprocessing"]["window"]


def _negative(plan: dict[str, Any]) -> None:
    plan["training"]["epochs"] = -3


def _gap(plan: dict[str, Any]) -> None:
    plan["labels"][1]["value"] = 5


def _twins(plan: dict[str, Any]) -> None:
    plan["labels"][1]["name"] = plan["labels"][0]["name"]


def _flat_window(plan: dict[str, Any]) -> None:
    plan["preprocessing"]["window"] = [40, 56]


def _no_such_normalization(plan: dict[str, Any]) -> None:
    plan["preprocessing"]["normalization"] = {"kind": "zscores"}


def _no_group(plan: dict[str, Any]) -> None:
    plan["data"]["patient_pattern"] = "abc"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_misspell, r"training\.learning_rat: unknown field, did you mean learning_rate\?"),
        (_leave_out, r"preprocessing\.window: Field required"),
        (_negative, r"training\.epochs: .*greater than or equal to 1 \(got -3\)"),
        (_gap, r"values must be 1, 2, \.\.\. in order, got \[1, 5\]"),
        (_twins, r"names must differ"),
        (_flat_window, r"preprocessing\.window: expected 3 numbers, got 2"),
        (_no_such_normalization, r"preprocessing\.normalization: .*'zscore'"),
        (_no_group, r"data\.patient_pattern: must be a regular expression with one"),
    ],
)
def test_a_wrong_plan_is_refused_by_field(
    tmp_path: Path, spoil: Callable[[dict[str, Any]], None], message: str
) -> None:
    plan = yaml.safe_load(HIPPOCAMPUS.read_text())
    spoil(plan)
    path = tmp_path / "plan.yaml"
    path.write_text(yaml.safe_dump(plan))
    with pytest.raises(InputError, match=message) as caught:
        load_plan(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


PICTURES: dict[str, Any] = {
    **dict.fromkeys(("title", "description", "intended_use", "authors", "copyright"), "text"),
    "name": "polyp_segmentation",
    "version": "0.1.0",
    "task": "segmentation",
    "dimensions": 2,
    "data": {"modality": "ES", "channels": ["red", "green", "blue"], "source": "text", "license": "CC0"},
    "labels": [{"value": 1, "name": "polyp"}],
    "preprocessing": {"window": [64, 64], "normalization": {"kind": "imagenet"}},
    "network": {"_target_": "pipeline.networks.UNet", "in_channels": 3, "out_channels": 2},
    "training": {"epochs": 1},
}


def _loaded(folder: Path, changes: dict[str, Any]) -> Plan:
    """The plan for pictures with changes at dotted fields, read from a file."""
    plan = copy.deepcopy(PICTURES)
    for place, value in changes.items():
        *sections, field = place.split(".")
        section = plan
        for name in sections:
            section = section[name]
        section[field] = value
    (folder / "plan.yaml").write_text(yaml.safe_dump(plan))
    return load_plan(folder / "plan.yaml")


CLASSIFIER = {
    "name": "polyp_classification",
    "task": "classification",
    "labels": [{"value": 0, "name": "flat"}, {"value": 1, "name": "raised"}],
}
IMAGENET = "preprocessing.normalization"


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"data.modality": "CT", IMAGENET: {"kind": "imagenet", "reason": "the encoder's weights are published ones"}},
        {"data.modality": "CT", IMAGENET: {"kind": "unit"}},
        {"preprocessing.resize": [96, 96], "preprocessing.keep_aspect": True, "preprocessing.center_crop": [64, 64]},
        {"preprocessing.resize": [96, 64]},
        CLASSIFIER,
        {**CLASSIFIER, "multi_label": True},
    ],
)
def test_plans_for_pictures_are_taken(tmp_path: Path, changes: dict[str, Any]) -> None:
    plan = _loaded(tmp_path, changes)
    assert plan.dimensions == 2
    assert plan.channel_count == 2, "background and one label, or two classes"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data.modality": "CT"}, r"ImageNet's statistics are of photographs, not of CT; say in `reason`"),
        ({"data.modality": "CT", IMAGENET: {"kind": "imagenet", "reason": ""}}, "statistics are of photographs"),
        ({"data.channels": ["grey"]}, r"imagenet needs 3 channels, got 1"),
        ({"preprocessing.keep_aspect": True}, r"preprocessing: .*keep_aspect needs a resize to a square"),
        ({"preprocessing.keep_aspect": True, "preprocessing.resize": [96, 64]}, r"needs a resize to a square"),
        ({"preprocessing.resize": [96]}, r"preprocessing\.resize: expected 2 numbers, got 1"),
        ({"preprocessing.resize": [96, 96, 96]}, r"preprocessing\.resize: expected 2 numbers, got 3"),
        ({"preprocessing.center_crop": [96, 96, 96]}, r"preprocessing\.center_crop: expected 2 numbers, got 3"),
        ({"preprocessing.spacing_mm": [1.0, 1.0]}, r"spacing_mm: pictures have no spacing; use resize"),
        ({"preprocessing.median_radius": 0}, r"preprocessing\.median_radius: .*greater than or equal to 1"),
        ({IMAGENET: {"kind": "clahe", "clip_limit": 0}}, r"clip_limit: .*greater than 0"),
        ({"training.augmentation": {"elastic_probability": 0.2}}, r"elastic_probability: is for 3D only"),
        ({"multi_label": True}, r"multi_label: is for classification"),
        ({**CLASSIFIER, "labels": [{"value": 1, "name": "flat"}]}, r"values must be 0, 1, \.\.\. in order, got \[1\]"),
        ({**CLASSIFIER, "name": "polyp_segmentation"}, r"name: must end in _classification"),
        ({"labels": [{"value": 1, "name": "polyp", "mask_colors": [[0, 0]]}]}, r"mask_colors\.0"),
    ],
)
def test_a_wrong_plan_for_pictures_is_refused_by_field(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        _loaded(tmp_path, changes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["[1, 2", "just words", ""])
def test_what_is_no_plan_at_all_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=r"plan\.yaml"):
        load_plan(path)


def _sections(model: type[BaseModel]) -> set[type[BaseModel]]:
    """A model and those that its fields hold, at any depth."""
    found: set[type[BaseModel]] = set()
    waiting: list[Any] = [model]
    while waiting:
        one = waiting.pop()
        if not inspect.isclass(one) or isinstance(one, GenericAlias):
            waiting += get_args(one)
        elif issubclass(one, BaseModel) and one not in found:
            found.add(one)
            waiting += [field.annotation for field in one.model_fields.values()]
    return found


def test_each_field_of_a_plan_has_a_description() -> None:
    sections = _sections(Plan)
    assert {"Plan", "Label", "Code", "Channel", "Augmentation", "ZScore"} <= {one.__name__ for one in sections}
    lacking = []
    for section in sections:
        _, _, attributes = (section.__doc__ or "").partition("Attributes:")
        described = set(re.findall(r"^ {8}(\w+): \S", attributes, re.MULTILINE))
        lacking += [f"{section.__name__}.{name}" for name in section.model_fields.keys() - described]
        assert described <= section.model_fields.keys(), "a field that there is no more"
    assert not lacking
