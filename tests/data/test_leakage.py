"""No case is scored whose image or patient the weights know."""

from __future__ import annotations

import gzip
import json
import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.data import DataSplit
from pipeline.errors import InputError

PATIENTS = r"^([a-z]+\d+)"


def _pictures(root: Path, seeds: dict[str, int], suffix: str = ".png") -> Path:
    for name, seed in seeds.items():
        for folder, pixels in (
            ("images", np.random.default_rng(seed).integers(0, 256, (9, 7), dtype=np.uint8)),
            ("labels", np.zeros((9, 7), np.uint8)),
        ):
            path = root / folder / f"{name}{suffix if folder == 'images' else '.png'}"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    return root


def _split(root: Path, datalist: Path, **arguments: Any) -> DataSplit:
    return DataSplit(dataset_dir=root, datalist_file=datalist, folds=3, **arguments)


def _names(cases: list[dict[str, Any]]) -> set[str]:
    return {case["name"] for case in cases}


def _trained(root: Path, fold: int | str = 0, **arguments: Any) -> tuple[Path, set[str], set[str], set[str]]:
    """The datalist of a training, and what it was trained on, validated on and left for testing."""
    split = _split(root, root / "datalist.json", **arguments)
    trained = _names(split.training(fold))
    split.save()
    again = _split(root, root / "datalist.json", **arguments)
    validated = set() if fold == "all" else _names(again.select("validation", fold))
    return root / "datalist.json", trained, validated, _names(again.select("test"))


def _without(datalist: Path, *keys: str) -> Path:
    """As it was written by hand."""
    content = json.loads(datalist.read_text())
    for entry in (*content["test"], *content["training"]):
        for key in keys:
            entry.pop(key)
    datalist.write_text(json.dumps(content))
    return datalist


@pytest.mark.parametrize("fold", [0, "all"])
def test_the_parts_of_the_datalist_itself_are_scored(tmp_path: Path, fold: int | str) -> None:
    root = _pictures(tmp_path, {f"c{number}": number for number in range(12)})
    _, trained, validated, tested = _trained(root, fold)
    assert tested
    assert bool(validated) is (fold == 0)
    assert sorted([*trained, *validated, *tested]) == sorted(f"c{number}" for number in range(12))


@pytest.mark.parametrize("fold", [0, "all"])
@pytest.mark.parametrize("suffix", [".png", ".bmp"])
def test_a_renamed_copy_of_a_trained_image_is_refused_by_its_file(tmp_path: Path, fold: int | str, suffix: str) -> None:
    """Also of one that the training only validated on, and of pictures saved in another format."""
    root = _pictures(tmp_path / "a", {f"c{number}": number for number in range(12)})
    datalist, trained, validated, tested = _trained(root, fold)
    other = _pictures(tmp_path / "b c", {"new": 50, "copy_of_test": int(min(tested)[1:])})
    assert _names(_split(other, datalist).select("test")) == {"new", "copy_of_test"}
    for seen in {min(trained), min(validated or trained)}:
        copied = shutil.copytree(other, tmp_path / f"with {seen}")
        _pictures(copied, {"renamed": int(seen[1:])}, suffix)
        with pytest.raises(InputError) as caught:
            _split(copied, datalist).select("test")
        line = str(caught.value)
        assert f"1 of 3 cases to score were trained on, by image or patient: images/renamed{suffix} (same" in line
        assert f"(same image as {seen}). Take them out" in line


def test_a_copy_beside_the_training_data_is_refused_though_the_datalist_has_no_contents(tmp_path: Path) -> None:
    root = _pictures(tmp_path, {f"c{number}": number for number in range(12)})
    datalist, trained, _, tested = _trained(root)
    _without(datalist, "content", "patient", "image", "label")
    assert _names(_split(root, datalist).select("test")) == tested
    _pictures(root, {"renamed": int(min(trained)[1:])})
    with pytest.raises(InputError, match=rf"images/renamed\.png \(same image as {min(trained)}\)"):
        _split(root, datalist).select("test")


def test_a_volume_compressed_anew_under_another_name_is_refused(tmp_path: Path) -> None:
    for number in range(12):
        for folder in ("images", "labels"):
            (tmp_path / "a" / folder).mkdir(parents=True, exist_ok=True)
            (tmp_path / "a" / folder / f"c{number}.nii.gz").write_bytes(gzip.compress(f"voxels {number}".encode()))
    datalist, trained, _, _ = _trained(tmp_path / "a")
    (tmp_path / "b" / "images").mkdir(parents=True)
    (tmp_path / "b" / "labels").mkdir()
    inside = gzip.decompress((tmp_path / "a" / "images" / f"{min(trained)}.nii.gz").read_bytes())
    (tmp_path / "b" / "images" / "x.nii").write_bytes(inside)
    (tmp_path / "b" / "labels" / "x.nii").write_bytes(inside)
    with pytest.raises(InputError, match=rf"images/x\.nii \(same image as {min(trained)}\)"):
        _split(tmp_path / "b", datalist).select("test")


@pytest.mark.parametrize("by_hand", [False, True], ids=["saved", "by hand"])
@pytest.mark.parametrize("name", ["p{}_1", "p{}"])
def test_a_new_image_of_a_trained_patient_is_refused(tmp_path: Path, by_hand: bool, name: str) -> None:
    """Wherever it is; one of a tested patient is not."""
    root = _pictures(tmp_path / "a", {f"p{number}_0": number for number in range(10)})
    datalist, trained, _, tested = _trained(root, patient_pattern=PATIENTS)
    if by_hand:
        _without(datalist, "content", "patient")
    one, other = name.format(min(trained)[1]), name.format(min(tested)[1])
    elsewhere = _pictures(tmp_path / "b", {other: 51})
    assert _names(_split(elsewhere, datalist, patient_pattern=PATIENTS).select("test")) == {other}
    for folder in (elsewhere, root):
        _pictures(folder, {one: 50})
        with pytest.raises(InputError, match=rf"images/{one}\.png \(same patient as {min(trained)}\)"):
            _split(folder, datalist, patient_pattern=PATIENTS).select("test")


def test_a_patient_who_is_called_as_the_case_is_known_by_a_pattern(tmp_path: Path) -> None:
    root = _pictures(tmp_path / "a", {f"p{number}": number for number in range(10)})
    datalist, trained, _, _ = _trained(root, patient_pattern=PATIENTS)
    other = _pictures(tmp_path / "b", {f"{min(trained)}_later": 50})
    with pytest.raises(InputError, match=rf"_later\.png \(same patient as {min(trained)}\)"):
        _split(other, datalist, patient_pattern=PATIENTS).select("test")
    assert _split(other, datalist).select("test"), "without a pattern each case is its own"


def test_many_are_counted_and_the_first_named_without_their_patients(tmp_path: Path) -> None:
    root = _pictures(tmp_path / "a", {f"doe{number}_x": number for number in range(20)})
    datalist, trained, _, _ = _trained(root, patient_pattern=r"^(doe\d+)_")
    other = _pictures(tmp_path / "b", {f"file{n}": int(one[3:-2]) for n, one in enumerate(sorted(trained))})
    with pytest.raises(InputError) as caught:
        _split(other, datalist, patient_pattern=r"^(file\d+)").select("test")
    line = str(caught.value)
    assert f"{len(trained)} of {len(trained)} cases to score" in line
    assert line.count("same image") == 5
    assert f", {len(trained) - 5} more. Take" in line
    assert "\n" not in line


@pytest.mark.parametrize("places", [(0, 1), (0, "test"), ("test", 2)])
@pytest.mark.parametrize("shared", ["image", "patient"])
def test_a_hand_made_datalist_that_separates_what_belongs_together_is_refused(
    tmp_path: Path, places: tuple[Any, Any], shared: str
) -> None:
    seeds = {f"c{number}": number for number in range(8)} | ({"c6": 0, "c7": 1} if shared == "image" else {})
    names = {"c6": "c0_later", "c7": "c1_later"} if shared == "patient" else {}
    root = _pictures(tmp_path, {names.get(name, name): seed for name, seed in seeds.items()})
    twin, other = names.get("c6", "c6"), names.get("c7", "c7")
    place = {"c0": places[0], twin: places[1], "c1": 0, other: 0, "c2": 0, "c3": 1, "c4": 2, "c5": "test"}
    content = {
        "test": [{"name": name} for name, where in place.items() if where == "test"],
        "training": [{"name": name, "fold": where} for name, where in place.items() if where != "test"],
    }
    datalist = root / "datalist.json"
    datalist.write_text(json.dumps(content))
    with pytest.raises(InputError, match=rf"1 cases of it .* images/{twin}\.png \(same {shared} as c0\)\. Put them"):
        _split(root, datalist, patient_pattern=PATIENTS).training(0)
    if "test" in places:
        with pytest.raises(InputError, match=rf"\(same {shared} as (c0|{twin})\)"):
            _split(root, datalist, patient_pattern=PATIENTS).select("test")
    for entries in content.values():  # the two in one part, as the other two are
        entries[:] = [entry for entry in entries if entry["name"] != twin]
    part = "test" if places[0] == "test" else "training"
    content[part].append({"name": twin, "fold": places[0]} if part == "training" else {"name": twin})
    datalist.write_text(json.dumps(content))
    _split(root, datalist, patient_pattern=PATIENTS).training(0)


def test_a_validation_case_whose_copy_was_trained_on_elsewhere_is_refused(tmp_path: Path) -> None:
    """The training case itself is not in the folder."""
    root = _pictures(tmp_path / "a", {f"c{number}": number for number in range(12)})
    datalist, trained, validated, _ = _trained(root)
    content = json.loads(datalist.read_text())
    by_name = {entry["name"]: entry for entry in content["training"]}
    other = _pictures(tmp_path / "b", {min(validated): int(min(validated)[1:])})
    assert _names(_split(other, datalist).select("validation", 0)) == {min(validated)}
    by_name[min(trained)]["content"] = by_name[min(validated)]["content"]
    datalist.write_text(json.dumps(content))
    with pytest.raises(InputError, match=rf"{min(validated)}\.png \(same image as {min(trained)}\)"):
        _split(other, datalist).select("validation", 0)


def test_what_cannot_be_known_or_is_no_held_out_score_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = _pictures(tmp_path, {f"c{number}": number for number in range(12)})
    with caplog.at_level(logging.WARNING, "pipeline"):
        assert len(_split(root, root / "absent.json").select("test")) == 12
    assert "absent.json is missing: nothing tells which cases the weights have seen" in caplog.text
    caplog.clear()
    datalist, *_, held_out = _trained(root)
    tested = len(held_out)
    for subset in ("all", "training"):
        caplog.clear()
        with caplog.at_level(logging.WARNING, "pipeline"):
            _split(root, datalist).select(subset)
        assert f"subset {subset}: {12 - tested} of 12 cases were used in training" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.INFO, "pipeline"):
        _split(root, datalist).select("test")
    assert f"{12 - tested} of 12 cases were used in training and are left out" in caplog.text
