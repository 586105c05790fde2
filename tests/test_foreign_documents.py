"""Every reader of JSON, YAML and CSV that a user may hand in: wrong types at each key are one line, never Python's."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import pipeline.workflows.demo as demo_workflow
from pipeline.bundle.applying import open_inference
from pipeline.data import DataSplit, find_classified
from pipeline.dicom.deidentification.pseudonyms import read_uid_map
from pipeline.errors import InputError
from pipeline.evaluation.groups import read_groups
from pipeline.evaluation.measure_table import read_measures
from pipeline.evaluation.quality import read_calibration
from pipeline.planning import load_plan
from pipeline.reports.html.page import read_summary
from pipeline.sources.label_table import read_label_table
from pipeline.workflows.compare import compare

PLAN = yaml.safe_load(Path(demo_workflow.__file__).with_name("demo_plan.yaml").read_text())
CASE = {"name": "a", "patient": "a", "image": "images/a.png", "label": "masks/a.png", "content": "0" * 32}
DATALIST = {
    "format_version": 1,
    "seed": 0,
    "folds": 2,
    "fold": 0,
    "test": [CASE],
    "training": [{**CASE, "name": "b", "fold": 0}],
}
SUMMARY = {"summary": {"x": {"mean": 1}}, "subset": "test", "bootstrap": {"seed": 0}}
LABEL = {"trees": {}, "low": [0.1], "high": [0.9], "ranges": {"f": [0, 1]}}
QUALITY = {"weights_sha256": "w", "labels": {"1": LABEL}, "image_ranges": {"f": [0, 1]}, "level": 0.9}


def _split(path: Path) -> None:
    root = path.parent / "data"
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True, exist_ok=True)
        for name in "abc":
            (root / folder / f"{name}.png").touch()
    split = DataSplit(dataset_dir=root, datalist_file=path, folds=2)
    split.training(0)
    split.held_out()


def _compare(path: Path) -> None:
    table = "case,patient,label,dice,note\na,a,x,0.5,\nb,b,x,0.7,\n"
    (path.parent / "metrics.csv").write_text(table)
    other = path.parent / "other"
    other.mkdir(exist_ok=True)
    (other / "metrics.csv").write_text(table)
    compare([path.parent, other], output=path.parent / "out")


JSON: dict[str, tuple[str, Any, Callable[[Path], Any]]] = {
    "datalist": ("datalist.json", DATALIST, _split),
    "groups": ("groups.json", DATALIST, lambda path: read_groups(path, "patient")),
    "summary": ("summary.json", SUMMARY, read_summary),
    "compare": ("summary.json", SUMMARY, _compare),
    "quality": (
        "quality.json", QUALITY,
        lambda path: read_calibration(path, weights_sha256="w", label_features=["f"], image_features=["f"]),
    ),
    "uid map": ("map.json", {"uids": {"1.2": "2.3"}, "patients": {"h": {"name": "n", "days": 3}}}, read_uid_map),
    "labels": ("labels.json", {"labels": {"1": "Liver", "2": "Spleen"}}, read_label_table),
    "list of labels": ("labels.json", [{"value": 1, "name": "Liver", "color": [1, 2, 3]}], read_label_table),
}  # fmt: skip
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 300) | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)
QUICK = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, one in inner for place in _places(one, (*path, key)))]


def _replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = _replaced(copy[path[0]], path[1:], new)
    return copy


def _is_one_line(read: Callable[[Path], Any], path: Path) -> None:
    try:
        read(path)
    except InputError as error:
        message = str(error)
    else:
        message = ""
    assert "\n" not in message


@pytest.mark.parametrize("name", JSON)
@QUICK
@given(data=st.data())
def test_json_with_wrong_types(name: str, data: st.DataObject, tmp_path: Path) -> None:
    file, content, read = JSON[name]
    place = data.draw(st.sampled_from(_places(content)))
    (tmp_path / file).write_text(json.dumps(_replaced(content, place, data.draw(ANYTHING))))
    _is_one_line(read, tmp_path / file)


@QUICK
@given(place=st.sampled_from(_places(PLAN)), new=ANYTHING)
def test_a_plan_with_wrong_types(place: tuple[Any, ...], new: Any, tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(_replaced(PLAN, place, new)))
    _is_one_line(load_plan, tmp_path / "plan.yaml")


@pytest.mark.parametrize("name", ["metadata.json", "inference.json"])
@QUICK
@given(new=ANYTHING)
def test_configs_that_are_none(name: str, new: Any, tmp_path: Path) -> None:
    configs = tmp_path / "x_segmentation" / "configs"
    configs.mkdir(parents=True, exist_ok=True)
    for file in ("metadata.json", "inference.json"):
        (configs / file).write_text(json.dumps({} if file != name else new))

    def read(bundle: Path) -> None:
        open_inference(
            tmp_path, bundle=bundle, task="segmentation", output_dir=tmp_path, series=None, weights=None, untilt=True
        )

    if not isinstance(new, dict):
        _is_one_line(read, configs.parent)


CSV: dict[str, tuple[list[list[str]], Callable[[Path], Any]]] = {
    "labels": ([["value", "name"], ["1", "Liver"], ["2", "Spleen"]], read_label_table),
    "groups": ([["case", "scanner"], ["a", "x"], ["b", "y"]], read_groups),
    "measures": ([["case", "patient", "label", "dice"], ["a", "a", "x", "0.5"]], read_measures),
    "classes": ([["image", "label"], ["a.png", "cat"]], lambda path: find_classified(path.parent, ["cat", "dog"])),
}


@pytest.mark.parametrize("name", CSV)
@QUICK
@given(data=st.data())
def test_tables_with_wrong_cells(name: str, data: st.DataObject, tmp_path: Path) -> None:
    rows, read = CSV[name]
    rows = [list(row) for row in rows]
    number = data.draw(st.integers(0, len(rows) - 1))
    change = data.draw(st.sampled_from(["cell", "short", "long", "gone"]))
    if change == "cell":
        rows[number][data.draw(st.integers(0, len(rows[number]) - 1))] = data.draw(st.text(max_size=5))
    elif change == "gone":
        del rows[number]
    else:
        rows[number] = rows[number][:-1] if change == "short" else [*rows[number], "more"]
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    path = tmp_path / ("labels.csv" if name != "measures" else "metrics.csv")
    path.write_text(text.getvalue(), encoding="utf-8", errors="replace")
    _is_one_line(read, path)


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe\x00", b"[" * 100_000, b"\x00" * 9, b"- a: [", b"2020-13-45", b"? [a]\n: b"]
)
def test_what_is_no_document_at_all(content: bytes, tmp_path: Path) -> None:
    readers = [
        *((file, read) for file, _, read in JSON.values()),
        ("plan.yaml", load_plan),
        ("metrics.csv", read_measures),
    ]
    for file, read in readers:
        (tmp_path / file).write_bytes(content)
        _is_one_line(read, tmp_path / file)
