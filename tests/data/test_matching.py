"""Files of two folders belong together by name: the same name first, then nnU-Net's."""

from __future__ import annotations

import logging
import unicodedata
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from pipeline.data import find_pairs
from pipeline.data.matching import match_marked_names, match_names
from pipeline.errors import InputError
from pipeline.evaluation.folders import match_folders


def _pictures(root: Path, images: list[str], masks: list[str]) -> Path:
    for folder, names in (("images", images), ("masks", masks)):
        (root / folder).mkdir(parents=True)
        for name in names:
            Image.fromarray(np.full((4, 5), len(name), np.uint8)).save(root / folder / f"{name}.png")
    return root


@pytest.mark.parametrize(
    ("images", "labels", "pairs"),
    [
        (["f_0000", "f_0001"], ["f_0000", "f_0001"], {"f_0000": "f_0000", "f_0001": "f_0001"}),
        (["a_0000", "b_0000"], ["a", "b"], {"a_0000": "a", "b_0000": "b"}),
        (["a_0000", "b"], ["a", "b"], {"a_0000": "a", "b": "b"}),
        (["case", "case_0000"], ["case"], {"case": "case"}),
        (["case", "case_0000"], ["case", "case_0000"], {"case": "case", "case_0000": "case_0000"}),
        (["x_0000_0000"], ["x_0000"], {"x_0000_0000": "x_0000"}),
        (["a_0001"], ["a"], {}),
        (["Case_1", "case_2"], ["case_1", "CASE_2"], {"Case_1": "case_1", "case_2": "CASE_2"}),
        (["IMG_0000"], ["img"], {"IMG_0000": "img"}),
        (["a", "A"], ["a"], {"a": "a"}),
        (["A"], ["a", "á"], {"A": "a"}),
        (["aB"], ["Ab", "AB"], {}),
        (["aB", "Ab"], ["AB"], {}),
    ],
)  # fmt: skip
def test_an_exact_name_wins(images: list[str], labels: list[str], pairs: dict[str, str]) -> None:
    assert match_names(images, labels) == pairs


def test_names_may_be_composed_or_decomposed() -> None:
    name = "Läsion é"
    one, other = (unicodedata.normalize(form, name) for form in ("NFC", "NFD"))
    assert one != other
    assert match_names([one], [other]) == {one: other}


def test_pictures_of_a_video_are_pairs(tmp_path: Path) -> None:
    names = [f"frame_{n:04d}" for n in range(3)]
    assert [case["name"] for case in find_pairs(_pictures(tmp_path, names, names))] == names


def test_an_image_that_no_rule_pairs_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"case_0000\.png: image has no label"):
        find_pairs(_pictures(tmp_path, ["case", "case_0000"], ["case"]))


def test_predictions_of_a_video_meet_their_references(tmp_path: Path) -> None:
    for folder in ("pred", "ref"):
        (tmp_path / folder).mkdir()
        for name in ("frame_0000", "frame_0001", "other"):
            end = "_0000" if (folder, name) == ("pred", "other") else ""
            nib.save(
                nib.Nifti1Image(np.ones((2, 2, 2), np.uint8), np.eye(4)), tmp_path / folder / f"{name}{end}.nii.gz"
            )
    found = match_folders(tmp_path / "pred", tmp_path / "ref")
    assert {name: pair[0].name for name, pair in found.pairs.items() if pair[0]} == {
        "frame_0000": "frame_0000.nii.gz",
        "frame_0001": "frame_0001.nii.gz",
        "other": "other_0000.nii.gz",
    }


@pytest.mark.parametrize(
    ("images", "labels", "pairs"),
    [
        (["img_1", "img_2"], ["img_1_mask", "img_2_mask"], {"img_1": "img_1_mask", "img_2": "img_2_mask"}),
        (["1", "2"], ["label-1", "label-2"], {"1": "label-1", "2": "label-2"}),
        (["a_0000"], ["a_Segmentation"], {"a_0000": "a_Segmentation"}),
        (["a", "b"], ["a_mask", "b_seg"], {}),
        (["a", "b"], ["a_mask"], {}),
        (["a"], ["a_mask", "b_mask"], {}),
        (["a"], ["a_other"], {}),
        ([], [], {}),
    ],
)  # fmt: skip
def test_one_mark_in_all_labels_names_is_no_part_of_them(
    images: list[str], labels: list[str], pairs: dict[str, str]
) -> None:
    assert match_marked_names(images, labels) == pairs


def test_marked_masks_are_paired_and_it_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "pipeline"):
        cases = find_pairs(_pictures(tmp_path, ["img_1", "img_2"], ["img_1_mask", "img_2_mask"]))
    assert [(case["name"], Path(case["label"]).name) for case in cases] == [
        ("img_1", "img_1_mask.png"), ("img_2", "img_2_mask.png"),
    ]  # fmt: skip
    assert "2 labels are paired as img_1_mask is with img_1" in caplog.text


def test_a_marked_file_is_no_prediction(tmp_path: Path) -> None:
    for folder, names in (("pred", ["a_gt", "b"]), ("ref", ["a", "b"])):
        (tmp_path / folder).mkdir()
        for name in names:
            nib.save(nib.Nifti1Image(np.ones((2, 2, 2), np.uint8), np.eye(4)), tmp_path / folder / f"{name}.nii.gz")
    found = match_folders(tmp_path / "pred", tmp_path / "ref")
    assert found.pairs["a"][0] is None
    assert [*found.ignored] == ["a_gt"]


def test_a_further_channel_has_a_cure(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a_0001\.png: image has no label .*data\.channels of plan\.yaml"):
        find_pairs(_pictures(tmp_path, ["a_0000", "a_0001"], ["a"]))
