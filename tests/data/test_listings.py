"""A listing of a data set in foreign shapes: its cases, or one line."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.data import find_inputs, find_pairs
from pipeline.data.listings import training_entries
from pipeline.errors import InputError

GOOD: dict[str, Any] = {"training": [{"image": "a.nii.gz", "label": "b.nii.gz"}], "labels": {"0": "background"}}
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, one in inner for place in _places(one, (*path, key)))]


def _replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = _replaced(copy[path[0]], path[1:], new)
    return copy


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.sampled_from(_places(GOOD)), new=ANYTHING)
def test_wrong_types_at_every_key_are_one_line(place: tuple[Any, ...], new: Any, tmp_path: Path) -> None:
    (tmp_path / "dataset.json").write_text(json.dumps(_replaced(GOOD, place, new)))
    for read in (find_inputs, find_pairs, lambda root: training_entries(root / "dataset.json")):
        with suppress(InputError):
            read(tmp_path)


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff\xfe{\x00}\x00", b"[" * 100_000, b"{", b"\x00\x01\x02", b"[]", b"null", b"NaN", b'{"training": NaN}'],
)
def test_what_is_no_listing_is_one_line(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "dataset.json").write_bytes(content)
    with pytest.raises(InputError) as caught:
        find_pairs(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_byte_order_mark_is_no_content(tmp_path: Path) -> None:
    (tmp_path / "dataset.json").write_bytes(b"\xef\xbb\xbf" + json.dumps(GOOD).encode())
    assert training_entries(tmp_path / "dataset.json") == GOOD["training"]


def test_absolute_paths_and_lists_of_one_are_paths(tmp_path: Path) -> None:
    for name in ("a.nii.gz", "b.nii.gz"):
        (tmp_path / name).touch()
    entry = {"image": [str(tmp_path / "a.nii.gz")], "label": str(tmp_path / "b.nii.gz")}
    (tmp_path / "dataset.json").write_text(json.dumps({"training": [entry]}))
    (case,) = find_pairs(tmp_path)
    assert (case["image"], case["label"]) == (str(tmp_path / "a.nii.gz"), str(tmp_path / "b.nii.gz"))


def test_several_images_a_case_need_a_plan_that_names_them(tmp_path: Path) -> None:
    entry = {"fold": 0, "image": ["a.nii.gz", "b.nii.gz"], "label": "c.nii.gz"}
    (tmp_path / "dataset.json").write_text(json.dumps({"training": [entry]}))
    for read in (find_inputs, find_pairs):
        with pytest.raises(InputError, match="has 2 images a case"):
            read(tmp_path)


def test_an_nnunet_listing_lists_no_case(tmp_path: Path) -> None:
    listing = {
        "channel_names": {"0": "MRI"},
        "labels": {"background": 0, "A": 1},
        "numTraining": 1,
        "file_ending": ".nii",
    }
    (tmp_path / "dataset.json").write_text(json.dumps(listing))
    with pytest.raises(InputError, match="lists no case, and there is no imagesTr"):
        find_inputs(tmp_path)
    for name in ("imagesTr/x_0000.nii", "imagesTr/readme.txt", "imagesTr/._x_0000.nii", "labelsTr/x.nii"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [Path(case["image"]).name for case in find_inputs(tmp_path)] == ["x_0000.nii"]
    assert [case["name"] for case in find_pairs(tmp_path)] == ["x"]


def test_an_nnunet_model_is_called_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "fold_0").mkdir()
    for name in ("plans.json", "dataset.json"):
        (tmp_path / name).write_text("{}")
    for read in (find_inputs, find_pairs):
        with pytest.raises(InputError, match="is a result folder of nnU-Net: a trained model"):
            read(tmp_path)
