from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.errors import InputError
from pipeline.planning import load_plan

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


@pytest.mark.parametrize("text", ["[1, 2", "just words", ""])
def test_what_is_no_plan_at_all_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=r"plan\.yaml"):
        load_plan(path)
