"""Each file of JSON, YAML or CSV that is read, with something else at each of its keys: a result, or one line."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import pipeline
from pipeline.bundle.applying import open_inference
from pipeline.bundle.input_channels import input_channels
from pipeline.data import DataSplit, find_classified, find_inputs, find_pairs
from pipeline.dicom.deidentification.pseudonyms import read_uid_map
from pipeline.errors import InputError
from pipeline.evaluation import read_measures
from pipeline.evaluation.groups import read_groups
from pipeline.evaluation.provenance import about_text, fact_columns, provenance
from pipeline.evaluation.quality import read_calibration
from pipeline.inferers import measured
from pipeline.planning import load_plan
from pipeline.reports.html.learning import learning_plots
from pipeline.reports.html.page import facts_of, read_summary
from pipeline.reports.html.tables import groups_table
from pipeline.sources import read_label_table
from pipeline.workflows.compare import compare

PLAN = Path(pipeline.__file__).parent / "workflows" / "demo_plan.yaml"
DEEP = (
    "[" * 700 + "]" * 700
)  # that many levels can be read, but not followed by a recursion that takes two calls a level
DEEPER = "[" * 100_000
NAMES = [f"c{i}" for i in range(6)]


@dataclass(frozen=True)
class Reader:
    """A reader of a file.

    Attributes:
        file: where the file is below the folder that is read.
        good: what it may hold: a document, or the rows of a table.
        read: reads it, and uses what it gave as its callers do.
        prepare: puts beside it what it refers to.
    """

    file: str
    good: Any
    read: Callable[[Path], Any]
    prepare: Callable[[Path], Any] = lambda _: None


def _pictures(root: Path) -> None:
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
        for number, name in enumerate(NAMES):
            Image.fromarray(np.full((4, 4), number, np.uint8)).save(root / folder / f"{name}.png")


def _listing(file: Path) -> None:
    for read in (find_inputs, find_pairs):
        _unless_refused(read, file.parent)
    find_pairs(file.parent)


def _unless_refused(read: Callable[..., Any], *arguments: Any) -> None:
    try:
        read(*arguments)
    except InputError as error:
        _check_line(error)


def _check_line(error: InputError) -> None:
    text = str(error)
    assert "\n" not in text
    text.encode()


def _deal(file: Path) -> None:
    def split() -> DataSplit:
        return DataSplit(dataset_dir=file.parent, datalist_file=file)

    split().patients()
    for part in ("test", "validation", "training", "all"):
        _unless_refused(split().select, part)
    for fold in (0, "all"):
        _unless_refused(split().training, fold)
    _unless_refused(split().held_out)
    provenance(datalist=file)


def _compared(file: Path) -> None:
    compare([file.parent, file.parent.parent / "other"], output=file.parent.parent / "out")


def _two_evaluations(root: Path) -> None:
    for name in ("", "../other"):
        (root / name).mkdir(parents=True, exist_ok=True)
        (root / name / "metrics.csv").write_text(_csv_text(METRICS))
        (root / name / "summary.json").write_text(json.dumps(SUMMARY))


def _metadata(file: Path) -> None:
    root = file.parent.parent
    about = provenance(bundle=root)
    fact_columns(about), about_text(about)
    input_channels(root)


def _inference(root: Path) -> None:
    (root / "inference.json").write_text("{}")


def _engines(file: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measured, "cache_file", lambda: file)
        measured.recall("key")
        if measured.remember("other", {"float32": measured.CANNOT_RUN}):
            assert measured.recall("other") == {"float32": measured.CANNOT_RUN}


def _calibration(file: Path) -> None:
    read = read_calibration(file, weights_sha256="ab", label_features=["size"], image_features=["grain"])
    read.predict([[0.5]] * len(read.labels), [0.5])


def _csv_text(rows: list[list[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()


RANGE = [0.0, 1.0]
TREE = [0, 0.5, 0, 0.2, 0, 0.7, 0.1, 0.2, 0.3, 0.4]
METRICS = [["case", "patient", "label", "dice", "note"], *([c, c, "A", 0.5, ""] for c in NAMES)]
ROW = {"mean": 0.5, "low": 0.4, "high": 0.6, "std": 0.1, "median": 0.5, "finite": 6, "infinite": 0, "undefined": 0}
SUMMARY: dict[str, Any] = {
    "subset": "test",
    "surface": "boundary_voxels",
    "tolerance": {"A": 1.0},
    "labels": {"1": "A"},
    "definitions": {"dice": "overlap"},
    "bootstrap": {"level": 0.95, "method": "BCa", "resamples": 9, "drawn": "patients", "seed": 0},
    "summary": {"A": {"dice": ROW}},
}
ENTRY = {"name": "c0", "patient": "p0", "image": "images/c0.png", "label": "masks/c0.png", "content": "00"}

READERS: dict[str, Reader] = {
    "listing": Reader("dataset.json", {"training": [{"image": "images/c0.png", "label": "masks/c0.png"}],
                                       "test": ["images/c1.png"], "labels": {"0": "background"}}, _listing, _pictures),
    "deal": Reader("datalist.json", {"format_version": 1, "seed": 0, "folds": 5, "fold": 0, "test": [ENTRY], "training":
                   [{**ENTRY, "name": "c1", "patient": "p1", "content": "01", "fold": 0},
                    {**ENTRY, "name": "c2", "patient": "p2", "content": "02", "fold": 1}]}, _deal, _pictures),
    "labels": Reader("labels.json", {"labels": [{"value": 1, "name": "A", "color": [1, 2, 3]}]}, read_label_table),
    "values and names": Reader("labels.json", {"1": "A", "B": 2}, read_label_table),
    "groups listed": Reader("a.json", {"test": [{"name": "c0", "at": "x"}], "training": [{"name": "c1", "at": "y"}]},
                            lambda file: read_groups(file, "at")),
    "UIDs": Reader("uids.json", {"uids": {"1.2": "2.3"}, "patients": {"ab": {"name": "P", "days": 3}}}, read_uid_map),
    "calibration": Reader("quality.json", {
        "weights_sha256": "ab", "level": 0.9, "image_ranges": {"grain": RANGE}, "labels": {"1": {
            "name": "A", "start": 0.5, "trees": [TREE], "spread_at": RANGE, "spread": RANGE, "quantile": 2.0,
            "ranges": {"size": RANGE}}}}, _calibration),
    "summary": Reader("summary.json", SUMMARY, lambda file: facts_of(read_summary(file))),
    "compared": Reader("one/summary.json", SUMMARY, _compared, _two_evaluations),
    "groups": Reader("groups.json", {"by": "site", "groups": {"x": {"cases": 1, "patients": 1, "summary":
                     {"A": {"dice": ROW}}}}}, groups_table),
    "metadata": Reader("configs/metadata.json", {"version": "1", "task": "x", "network_data_format": {"inputs": {
                       "image": {"channel_def": {"0": "MR"}}}}}, _metadata, _inference),
    "channels": Reader("configs/inference.json", {"cases": {"dimensions": 3, "channels": [{"name": "t1"}]}}, _metadata),
    "engines": Reader("engines.json", {"key": {"float32": {"seconds": 1.0, "start": 0.1, "agreement": 1.0}}}, _engines),
    "plan": Reader("plan.yaml", yaml.safe_load(PLAN.read_text()), load_plan),
    "classes": Reader("labels.csv", [["image", "label"], *([f"images/{c}.png", "ab"[n % 2]] for n, c in
                      enumerate(NAMES))], lambda file: find_classified(file.parent, ["a", "b"]), _pictures),
    "flags": Reader("labels.csv", [["image", "a", "b"], *([f"images/{c}.png", 0, 1] for c in NAMES)],
                    lambda file: find_classified(file.parent, ["a", "b"], multi_label=True), _pictures),
    "label table": Reader("labels.csv", [["value", "name"], [1, "A"], [2, "B"]], read_label_table),
    "groups table": Reader("groups.csv", [["case", "patient", "at"], ["c0", "p", "x"], ["c1", "q", "y"]],
                           lambda file: read_groups(file, "at")),
    "metrics": Reader("metrics.csv", METRICS, lambda file: read_measures(file).summary()),
    "curves": Reader("training.csv", [["epoch", "learning_rate", "training_loss", "val_mean_dice"], [1, 0.1, 2, 0.5],
                     [2, 0.1, 1, 0.6]], learning_plots),
}  # fmt: skip
SCALARS = st.sampled_from([None, True, False, 0, 1, -1, 10**400, 0.5, 1e308, "", "x", "0", "\0", "\ud800", "a\nb",
                           "../..", "$1", "x" * 3000, float("nan"), float("inf")])  # fmt: skip
VALUES = st.recursive(
    SCALARS | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, one in inner for place in _places(one, (*path, key)))]


def _changed(value: Any, path: tuple[Any, ...], how: str, new: Any) -> Any:
    """A copy in which what stands at a place is another value, absent, or under another key."""
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    if len(path) > 1 or how == "value" or (how == "key" and isinstance(copy, list)):
        copy[path[0]] = _changed(copy[path[0]], path[1:], how, new)
    elif how == "absent":
        del copy[path[0]]
    else:
        copy[str(new)] = copy.pop(path[0])
    return copy


def _write(reader: Reader, folder: Path, content: bytes | str) -> Path:
    root = folder / "read"
    shutil.rmtree(folder, ignore_errors=True)
    file = root / reader.file
    file.parent.mkdir(parents=True, exist_ok=True)
    reader.prepare(file.parent)
    file.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
    return file


def _text(reader: Reader, content: Any) -> str:
    if reader.file.endswith(".csv"):
        return _csv_text(content)
    if reader.file.endswith(".yaml"):
        return yaml.safe_dump(content)
    return json.dumps(content)


@pytest.mark.parametrize("name", READERS)
def test_what_is_right_is_read(name: str, tmp_path: Path) -> None:
    reader = READERS[name]
    reader.read(_write(reader, tmp_path, _text(reader, reader.good)))


@pytest.mark.parametrize("name", READERS)
def test_wrong_types_at_every_key_are_one_line(name: str, tmp_path: Path) -> None:
    reader = READERS[name]

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
    @given(
        place=st.sampled_from(_places(reader.good)), how=st.sampled_from(["value"] * 4 + ["absent", "key"]), new=VALUES
    )
    def walk(place: tuple[Any, ...], how: str, new: Any) -> None:
        content = _changed(reader.good, place, how, new)
        try:
            text = _text(reader, content)
        except (yaml.YAMLError, RecursionError, csv.Error, TypeError, ValueError):
            return  # it cannot be written like that
        _unless_refused(reader.read, _write(reader, tmp_path / "walk", text))

    walk()


@pytest.mark.parametrize("name", [name for name, reader in READERS.items() if reader.file.endswith(".json")])
def test_lists_in_lists_are_one_line(name: str, tmp_path: Path) -> None:
    reader = READERS[name]
    for place in _places(reader.good):
        text = json.dumps(_changed(reader.good, place, "value", "DEEP")).replace('"DEEP"', DEEP)
        _unless_refused(reader.read, _write(reader, tmp_path / "walk", text))


@pytest.mark.parametrize("file", ["metadata.json", "inference.json"])
@pytest.mark.parametrize("content", ["[]", "null", "3", '"text"', "NaN", "[[1], {}]", '{"task": [1]}', "{"])
def test_a_config_that_is_none_is_one_line(file: str, content: str, tmp_path: Path) -> None:
    configs = tmp_path / "x_segmentation" / "configs"
    configs.mkdir(parents=True)
    for one in ("metadata.json", "inference.json"):
        (configs / one).write_text(content if one == file else "{}")
    given = {"bundle": configs.parent, "task": "segmentation", "output_dir": tmp_path, "series": None, "weights": None}
    _unless_refused(lambda: open_inference(tmp_path, **given, untilt=True))


NO_DOCUMENTS = {
    "nothing": b"",
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "binary": bytes(range(256)) * 4,
    "zeros": bytes(64),
    "half": b'{"training": [{"image": "a',
    "nested": DEEPER.encode(),
    "nested mapping": b'{"a":' * 50_000,
    "null": b"null",
    "number": b"1" * 5000,
    "text": b'"text"',
    "list": b"[[]]",
    "keys twice": b'{"labels": 1, "labels": 2, "training": 1, "training": 2}',
    "NaN": b"NaN",
    "latin": "Läsion,Straße\nä,ö\n".encode("latin-1"),
    "commas": b",,,\n,,,\n,\n",
    "quotes": b'"a,b\n"c"d","\n',
    "old line ends": b"image,label\rimages/c0.png,a\r",
    "a field without end": b'image,label\n"' + b"x" * 200_000,
    "aliases": b"a: &a [x,x]\n" + b"".join(b"%c: &%c [*%c,*%c]\n" % (n + 1, n + 1, n, n) for n in range(97, 122)),
    "date": b"name: 2026-01-01\n2026-01-01: x\n1: 2\n? [a]\n: b\n",
    "tags": b"!!python/object/apply:os.getcwd []\n",
}


@pytest.mark.parametrize("content", NO_DOCUMENTS)
@pytest.mark.parametrize("name", READERS)
def test_what_is_no_such_document_is_one_line(name: str, content: str, tmp_path: Path) -> None:
    reader = READERS[name]
    _unless_refused(reader.read, _write(reader, tmp_path, NO_DOCUMENTS[content]))


@pytest.mark.parametrize("name", READERS)
def test_a_byte_order_mark_is_no_content(name: str, tmp_path: Path) -> None:
    reader = READERS[name]
    reader.read(_write(reader, tmp_path, b"\xef\xbb\xbf" + _text(reader, reader.good).encode()))


@pytest.mark.parametrize("name", READERS)
def test_a_folder_is_no_document(name: str, tmp_path: Path) -> None:
    reader = READERS[name]
    file = _write(reader, tmp_path, "")
    file.unlink()
    file.mkdir()
    _unless_refused(reader.read, file)


def test_only_line_ends_end_a_row(tmp_path: Path) -> None:
    rows = [["case", "at"], ["a\u2028b\x0bc\x1c", "one\ntwo"], ["d", "x"]]
    (tmp_path / "groups.csv").write_text(_csv_text(rows), encoding="utf-8", newline="")
    assert read_groups(tmp_path / "groups.csv", "at").of_case == {"a\u2028b\x0bc": "one\ntwo", "d": "x"}
