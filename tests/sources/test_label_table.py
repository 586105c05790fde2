"""Tables of labels: each command reads every form, and any other content is refused in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from label_tables import FORMS

from pipeline.errors import InputError
from pipeline.sources import read_label_table
from pipeline.workflows.convert import convert
from pipeline.workflows.evaluate import evaluate_folders


def label_map(path: Path) -> Path:
    labels = np.zeros((8, 8, 4), dtype=np.uint8)
    labels[1:4, 1:4, 1:3], labels[5:7, 1:4, 1:3] = 1, 7
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(labels, np.eye(4)), path)
    return path


@pytest.mark.parametrize("form", FORMS)
def test_every_form_for_every_command(form: str, tmp_path: Path) -> None:
    table = tmp_path / form
    table.write_text(FORMS[form], encoding="utf-8")
    assert {one.value: one.name for one in read_label_table(table)} == {1: "Liver", 7: "Spleen"}
    source = label_map(tmp_path / "references" / "a.nii.gz")
    _, names = convert(source, tmp_path / "out.nii.gz", labels=table)
    assert [(one["value"], one["name"]) for one in json.loads(names.read_text())["labels"]] == [
        (1, "Liver"), (7, "Spleen"),
    ]  # fmt: skip
    label_map(tmp_path / "predictions" / "a.nii.gz")
    folders = tmp_path / "predictions", tmp_path / "references"
    scores, failures = evaluate_folders(*folders, output_dir=tmp_path / "scores", labels=table)
    assert (failures, scores.labels) == ({}, {1: "Liver", 7: "Spleen"})


def test_values_above_255_are_for_evaluations(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"1035": "ctx-lh-insula"}')
    assert read_label_table(tmp_path / "a.json", any_value=True)[0].value == 1035
    with pytest.raises(InputError, match=r"labels\.0\.value: .*less than or equal to 255 \(got 1035\)"):
        read_label_table(tmp_path / "a.json")


def test_a_name_for_0_is_left_out_with_a_word(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "a.json").write_text('{"0": "Clear Label", "1": "Liver"}')
    assert [one.value for one in read_label_table(tmp_path / "a.json")] == [1]
    assert "0 is background: its label 'Clear Label' is left out" in caplog.text


KEYS = st.sampled_from(["labels", "value", "name", "type", "color", "1", "0"]) | st.text(max_size=4)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200)
@given(content=json_values)
def test_json_of_any_shape_is_a_table_or_one_line(content: Any, tmp_path: Path) -> None:
    read_or_refuse(tmp_path / "a.json", json.dumps(content))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200)
@given(content=st.text(max_size=60) | st.text(max_size=40).map(lambda rows: f"value,name\n{rows}"))
def test_text_of_any_kind_is_a_table_or_one_line(content: str, tmp_path: Path) -> None:
    read_or_refuse(tmp_path / "a.csv", content)


@pytest.mark.parametrize(
    "content",
    [
        "[" * 100_000,
        '{"labels": ' * 50_000,
        json.dumps({"9" * 5000: "a"}),
        '{"a": ' + "9" * 5000 + "}",
        '{"labels": {"whole": [1, 2], "part": 1}}',
        '{"labels": {"background": 0, "lesion": 1.5}}',
        '[{"value": 1, "name": "a", "type": "64033007"}]',
        '[{"value": true, "name": null}]',
    ],
    ids=lambda content: content[:20],
)
def test_odd_json_is_refused_in_one_line(content: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(InputError) as caught:
        read_label_table(tmp_path / "a.json")
    assert "\n" not in str(caught.value)


def read_or_refuse(path: Path, content: str) -> None:
    path.write_text(content, encoding="utf-8", errors="surrogatepass", newline="")
    try:
        told = [f"{one.value} {one.name}" for one in read_label_table(path, any_value=True)]
        assert all(one[0] in "123456789" for one in told)
    except InputError as error:
        told = str(error).splitlines()
        assert len(told) == 1
