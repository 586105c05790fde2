from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.data import find_inputs, find_pairs
from pipeline.data.phantoms import make_phantom, write_phantom_dicom
from pipeline.errors import InputError


def _touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def _names(path: Path, series: str | None = None) -> list[str]:
    return [case["name"] for case in find_inputs(path, series)]


def test_a_file_and_a_folder_of_files(tmp_path: Path) -> None:
    _touch(tmp_path / "b.nii", tmp_path / "a.nii.gz", tmp_path / "._a.nii.gz", tmp_path / "notes.txt")
    assert _names(tmp_path) == ["a", "b"]
    assert _names(tmp_path / "a.nii.gz") == ["a"]


def test_equal_names_in_two_folders_stay_apart(tmp_path: Path) -> None:
    _touch(tmp_path / "p1" / "t1.nii.gz", tmp_path / "p2" / "t1.nii.gz")
    assert _names(tmp_path) == ["p1_t1", "p2_t1"]


def test_names_that_cannot_be_kept_apart_are_refused(tmp_path: Path) -> None:
    _touch(tmp_path / "a.nii.gz", tmp_path / "a.nii")
    with pytest.raises(InputError, match="two inputs have one name"):
        find_inputs(tmp_path)


def test_a_series_folder_and_a_folder_of_them(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_phantom_dicom(make_phantom(1, shape=(8, 8, 3)), tmp_path / "study" / name)
    assert _names(tmp_path / "study" / "one") == ["one"]
    assert _names(tmp_path / "study") == ["one", "two"]
    assert _names(tmp_path, "CT") == [tmp_path.name]


def test_a_decathlon_folder_gives_its_images_not_its_labels(tmp_path: Path) -> None:
    _touch(tmp_path / "imagesTr" / "a.nii.gz", tmp_path / "labelsTr" / "a.nii.gz")
    entry = {"image": "./imagesTr/a.nii.gz", "label": "./labelsTr/a.nii.gz"}
    (tmp_path / "dataset.json").write_text(json.dumps({"training": [entry]}))
    assert [Path(case["image"]).parent.name for case in find_inputs(tmp_path)] == ["imagesTr"]
    assert [case["name"] for case in find_pairs(tmp_path)] == ["a"]


@pytest.mark.parametrize("path", [None, ""])
def test_no_path_at_all(path: str | None) -> None:
    with pytest.raises(InputError, match="dataset_dir is not given"):
        find_inputs(path)


def test_a_path_that_holds_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file or folder"):
        find_inputs(tmp_path / "absent")
    with pytest.raises(InputError, match="holds no image"):
        find_inputs(tmp_path)
    _touch(tmp_path / "notes.txt")
    with pytest.raises(InputError, match="is not an image"):
        find_inputs(tmp_path / "notes.txt")


@pytest.mark.parametrize(("images", "labels"), [("imagesTr", "labelsTr"), ("images", "labels"), ("images", "masks")])
def test_pairs_by_name(tmp_path: Path, images: str, labels: str) -> None:
    _touch(tmp_path / images / "x_0000.nii.gz", tmp_path / labels / "x.nii.gz")
    (case,) = find_pairs(tmp_path)
    assert (case["name"], Path(case["label"]).name) == ("x", "x.nii.gz")


def test_an_orphan_is_refused_by_name(tmp_path: Path) -> None:
    _touch(tmp_path / "images" / "a.nii.gz", tmp_path / "labels" / "a.nii.gz", tmp_path / "images" / "b.nii.gz")
    with pytest.raises(InputError, match=r"b\.nii\.gz: image has no label"):
        find_pairs(tmp_path)
    _touch(tmp_path / "labels" / "b.nii.gz", tmp_path / "labels" / "c.nii.gz")
    with pytest.raises(InputError, match=r"c\.nii\.gz: label has no image"):
        find_pairs(tmp_path)


def test_a_listed_file_that_is_missing_is_named(tmp_path: Path) -> None:
    _touch(tmp_path / "a.nii.gz")
    (tmp_path / "dataset.json").write_text(json.dumps({"training": [{"image": "a.nii.gz", "label": "l.nii.gz"}]}))
    with pytest.raises(InputError, match=r"l\.nii\.gz: label is listed but missing"):
        find_pairs(tmp_path)
