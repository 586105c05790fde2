from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.uid import generate_uid

from pipeline.data import find_inputs, find_pairs
from pipeline.data.phantoms import make_phantom, write_phantom_dicom
from pipeline.errors import InputError
from pipeline.sources import CaseReader
from pipeline.sources.paths import NO_IMAGE

T1_FLAIR: list[dict[str, Any]] = [{"name": "T1"}, {"name": "FLAIR"}]
CT_PET: list[dict[str, Any]] = [{"name": "CT", "modality": "CT"}, {"name": "PET", "modality": "PT"}]


def _volumes(root: Path, *names: str, channels: int = 1) -> Path:
    shape = (4, 4, 3) if channels == 1 else (4, 4, 3, channels)
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(np.zeros(shape, np.int16), np.eye(4)), path)
    return root


def _found(root: Path, rules: list[dict[str, Any]] = T1_FLAIR) -> dict[str, Any]:
    """The images of each case, from the root on."""

    def below(path: str) -> str:
        return path if path == NO_IMAGE else Path(path).relative_to(root).as_posix()

    cases = find_inputs(root, channels=rules, dimensions=3)
    assert not any("problem" in case for case in cases)
    return {
        case["name"]: below(case["image"]) if isinstance(case["image"], str) else [*map(below, case["image"])]
        for case in cases
    }


def test_nnunet_raw_names(tmp_path: Path) -> None:
    _volumes(tmp_path, "a_0001.nii.gz", "a_0000.nii.gz", "b_2_0000.nii.gz", "b_2_0001.nii.gz")
    assert _found(tmp_path) == {
        "a": ["a_0000.nii.gz", "a_0001.nii.gz"],
        "b_2": ["b_2_0000.nii.gz", "b_2_0001.nii.gz"],
    }


def test_numbers_count_although_a_name_has_the_words_of_a_channel(tmp_path: Path) -> None:
    _volumes(tmp_path, "ct_7_0000.nii.gz", "ct_7_0001.nii.gz")
    assert _found(tmp_path, CT_PET) == {"ct_7": ["ct_7_0000.nii.gz", "ct_7_0001.nii.gz"]}


def test_words_count_although_names_end_in_a_number(tmp_path: Path) -> None:
    _volumes(tmp_path, "t1_0000.nii.gz", "flair_0000.nii.gz", "t1_0001.nii.gz", "flair_0001.nii.gz")
    rules = [{"name": "T1"}, {"name": "FLAIR", "optional": True}]
    assert _found(tmp_path, rules) == {n: [f"t1_{n}.nii.gz", f"flair_{n}.nii.gz"] for n in ("0000", "0001")}


@pytest.mark.parametrize(
    "rules",
    [T1_FLAIR, [{"name": "one", "files": "*_t1.*"}, {"name": "two", "files": "*_flair.nii*"}],
     [{"name": "one", "files": "_t1"}, {"name": "two", "files": "flair"}]],
    ids=["names", "patterns", "words"],
)  # fmt: skip
def test_one_folder_a_case_with_names_by_channel(
    tmp_path: Path, rules: list[dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    kinds = ("flair", "seg", "t1", "t1ce", "t2")
    _volumes(tmp_path, *(f"BraTS_{n}/BraTS_{n}_{kind}.nii.gz" for n in (1, 2) for kind in kinds))
    assert _found(tmp_path, rules) == {
        f"BraTS_{n}": [f"BraTS_{n}/BraTS_{n}_t1.nii.gz", f"BraTS_{n}/BraTS_{n}_flair.nii.gz"] for n in (1, 2)
    }
    (line,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert "BraTS_1/BraTS_1_seg.nii.gz" in line
    assert "and 1 more" in line, "six files are no channel"
    assert _found(tmp_path / "BraTS_1", rules) == {"BraTS_1": ["BraTS_1_t1.nii.gz", "BraTS_1_flair.nii.gz"]}


def test_files_called_by_their_channel_alone(tmp_path: Path) -> None:
    _volumes(tmp_path, "p1/T1.nii.gz", "p1/FLAIR.nii.gz", "p2/T1.nii.gz", "p2/FLAIR.nii.gz")
    assert _found(tmp_path) == {n: [f"{n}/T1.nii.gz", f"{n}/FLAIR.nii.gz"] for n in ("p1", "p2")}


def test_files_in_a_folder_per_channel(tmp_path: Path) -> None:
    _volumes(tmp_path, "T1/01.nii.gz", "T1/02.nii.gz", "FLAIR/01.nii.gz", "FLAIR/02.nii.gz")
    assert _found(tmp_path) == {n: [f"T1/{n}.nii.gz", f"FLAIR/{n}.nii.gz"] for n in ("01", "02")}


def test_two_patients_with_a_channel_each_are_never_one_case(tmp_path: Path) -> None:
    _volumes(tmp_path, "anna_t1.nii.gz", "bert_flair.nii.gz")
    problems = [case["problem"] for case in find_inputs(tmp_path, channels=T1_FLAIR)]
    assert "case anna: channel FLAIR is missing" in problems[0]
    assert "case bert: channel T1 is missing" in problems[1]


def test_one_file_that_holds_all_channels(tmp_path: Path) -> None:
    _volumes(tmp_path, "a.nii.gz", "b_0000.nii.gz", channels=2)
    assert _found(tmp_path) == {"a": "a.nii.gz", "b_0000": "b_0000.nii.gz"}


def test_one_of_the_files_brings_the_others_of_its_case(tmp_path: Path) -> None:
    _volumes(tmp_path, *(f"{case}_000{n}.nii.gz" for case in "ab" for n in range(2)))
    (case,) = find_inputs(tmp_path / "b_0001.nii.gz", channels=T1_FLAIR)
    assert case == {"name": "b", "image": [str(tmp_path / "b_0000.nii.gz"), str(tmp_path / "b_0001.nii.gz")]}


def test_a_listing_with_several_images_a_case(tmp_path: Path) -> None:
    _volumes(tmp_path, "x/p1_t1.nii.gz", "y/p1_flair.nii.gz", "x/p2_t1.nii.gz", "y/p2_flair.nii.gz", "p1.nii", "p2.nii")
    entries = [{"image": [f"x/p{n}_t1.nii.gz", f"y/p{n}_flair.nii.gz"], "label": f"p{n}.nii"} for n in (1, 2)]
    (tmp_path / "dataset.json").write_text(json.dumps({"training": entries}))
    images = {f"p{n}": [f"x/p{n}_t1.nii.gz", f"y/p{n}_flair.nii.gz"] for n in (1, 2)}
    assert _found(tmp_path) == images
    pairs = find_pairs(tmp_path, channels=T1_FLAIR)
    assert {pair["name"]: Path(pair["label"]).name for pair in pairs} == {"p1": "p1.nii", "p2": "p2.nii"}
    assert [pair["image"] for pair in pairs] == [[str(tmp_path / one) for one in images[name]] for name in ("p1", "p2")]


def test_a_missing_channel_is_refused_by_name(tmp_path: Path) -> None:
    _volumes(tmp_path, "a_0000.nii.gz")
    with pytest.raises(InputError, match=r"case a: channel FLAIR is missing \(expected T1 by _0000 or its name, FLAIR"):
        find_inputs(tmp_path, channels=T1_FLAIR)


def test_a_missing_channel_stops_its_own_case_alone(tmp_path: Path) -> None:
    _volumes(tmp_path, "a_0000.nii.gz", "b_0000.nii.gz", "b_0001.nii.gz")
    first, second = find_inputs(tmp_path, channels=T1_FLAIR)
    assert "case a: channel FLAIR is missing" in first["problem"]
    assert second["name"] == "b"
    assert "problem" not in second


def test_a_missing_channel_that_may_be_missing_has_no_image(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    _volumes(tmp_path, "a_0000.nii.gz", "b_0000.nii.gz", "b_0001.nii.gz")
    rules = [{"name": "T1"}, {"name": "FLAIR", "optional": True}]
    with caplog.at_level(logging.INFO, "pipeline"):
        found = _found(tmp_path, rules)
    assert found == {"a": ["a_0000.nii.gz", NO_IMAGE], "b": ["b_0000.nii.gz", "b_0001.nii.gz"]}
    assert [record.getMessage() for record in caplog.records if "without" in record.getMessage()] == [
        "a: without FLAIR, which becomes 0"
    ]


def test_two_files_for_one_channel_are_refused(tmp_path: Path) -> None:
    _volumes(tmp_path, "p/a_t1.nii.gz", "p/a_T1.nii", "p/a_flair.nii.gz")
    with pytest.raises(InputError, match=r"case p: channel T1 could be any of a_T1\.nii, a_t1\.nii\.gz"):
        find_inputs(tmp_path, channels=T1_FLAIR)


def test_a_folder_without_any_channel_is_refused_with_what_was_expected(tmp_path: Path) -> None:
    _volumes(tmp_path, "scan.nii.gz")
    with pytest.raises(
        InputError, match=r"none|holds no image that is one of the 2 channels.*T1 by _0000.*got scan\.nii\.gz"
    ):
        find_inputs(tmp_path, channels=T1_FLAIR)
    with pytest.raises(InputError, match=r"scan\.nii\.gz: is none of the 2 channels"):
        find_inputs(tmp_path / "scan.nii.gz", channels=T1_FLAIR)


def test_a_named_series_is_refused_where_the_network_takes_several(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="names one image, but the network takes several"):
        find_inputs(tmp_path, series="3", channels=T1_FLAIR)


def _series(
    folder: Path,
    seed: int,
    *,
    study: str,
    modality: str,
    description: str,
    number: int,
    patient: str = "p",
    **tags: str,
) -> Path:
    write_phantom_dicom(make_phantom(seed, shape=(6, 5, 4), spacing_mm=(4, 4, 5)), folder)
    uid, frame = generate_uid(), generate_uid(entropy_srcs=[study])
    for file in folder.iterdir():
        dataset = pydicom.dcmread(file)
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.FrameOfReferenceUID = study, uid, frame
        dataset.Modality, dataset.SeriesDescription, dataset.SeriesNumber = modality, description, number
        dataset.PatientID = patient
        for keyword, value in tags.items():
            setattr(dataset, keyword, value)
        dataset.save_as(file)
    return folder


def test_series_of_a_study_by_modality(tmp_path: Path) -> None:
    for patient in ("p", "q"):
        study = generate_uid()
        for number, modality in enumerate(("PT", "CT", "MR"), 1):
            about = {"study": study, "modality": modality, "number": number, "patient": patient}
            _series(tmp_path / patient / modality, number, description=f"{modality} series", **about)
    assert _found(tmp_path, CT_PET) == {name: [f"{name}/CT", f"{name}/PT"] for name in ("p", "q")}
    assert _found(tmp_path, [{"name": "PET"}, {"name": "MR"}]) == {n: [f"{n}/PT", f"{n}/MR"] for n in ("p", "q")}


def test_series_of_one_folder_by_description_and_body_part(tmp_path: Path) -> None:
    study = generate_uid()
    for number, (word, part) in enumerate((("ax T1", "HEAD"), ("ax T1", "NECK"), ("sag FLAIR", "HEAD")), 1):
        about = {"study": study, "modality": "MR", "number": number}
        folder = _series(tmp_path / "x" / str(number), number, description=word, BodyPartExamined=part, **about)
        for file in list(folder.iterdir()):
            file.rename(tmp_path / "x" / f"{number}_{file.name}")
        folder.rmdir()
    rules = [{"name": "a", "description": r"\bt1\b", "body_part": "head"}, {"name": "b", "description": "FLAIR$"}]
    names = [f"{number}_{n:04d}.dcm" for number in (1, 3) for n in range(4)]
    assert _found(tmp_path / "x", rules) == {"x": names}
    with pytest.raises(
        InputError, match=r"channel a could be any of 2 series: number 1 'ax T1' MR; number 2 'ax T1' MR"
    ):
        find_inputs(tmp_path, channels=[{"name": "a", "description": "T1"}, rules[1]])


def test_series_of_two_studies_are_never_one_case(tmp_path: Path) -> None:
    for number, modality in enumerate(("CT", "PT"), 1):
        _series(tmp_path / modality, number, study=generate_uid(), modality=modality, description="", number=number)
    problems = [case["problem"] for case in find_inputs(tmp_path, channels=CT_PET)]
    assert ["PET is missing" in problems[0], "CT is missing" in problems[1]] == [True, True]


def test_labelled_cases_of_every_layout(tmp_path: Path) -> None:
    raw = _volumes(tmp_path / "raw", "imagesTr/a_0000.nii.gz", "imagesTr/a_0001.nii.gz", "labelsTr/a.nii.gz")
    brats = _volumes(
        tmp_path / "brats", *(f"p{n}/p{n}_{kind}.nii.gz" for n in (1, 2) for kind in ("t1", "flair", "seg"))
    )
    whole = _volumes(_volumes(tmp_path / "4d", "imagesTr/a.nii.gz", channels=2), "labelsTr/a.nii.gz")

    def pairs(root: Path) -> dict[str, tuple[int, str]]:
        found = find_pairs(root, channels=T1_FLAIR)
        return {
            one["name"]: (1 if isinstance(one["image"], str) else len(one["image"]), Path(one["label"]).name)
            for one in found
        }

    assert pairs(raw) == {"a": (2, "a.nii.gz")}
    assert pairs(brats) == {"p1": (2, "p1_seg.nii.gz"), "p2": (2, "p2_seg.nii.gz")}
    assert pairs(whole) == {"a": (1, "a.nii.gz")}
    (raw / "imagesTr" / "a_0001.nii.gz").unlink()
    with pytest.raises(InputError, match="case a: channel FLAIR is missing"):
        find_pairs(raw, channels=T1_FLAIR)
    (brats / "p2" / "p2_seg.nii.gz").unlink()
    with pytest.raises(InputError, match=r"p2_t1\.nii\.gz: image has no label"):
        find_pairs(brats, channels=T1_FLAIR)


def _listing(root: Path, *images: Any) -> Path:
    _volumes(root, "label.nii.gz")
    entries = [{"image": image, "label": "label.nii.gz"} for image in images]
    (root / "dataset.json").write_text(json.dumps({"training": entries}))
    return root


def test_a_listing_as_nnunet_1_writes_it_without_numbers(tmp_path: Path) -> None:
    _volumes(tmp_path, "imagesTr/a_0000.nii.gz", "imagesTr/a_0001.nii.gz", "imagesTr/b_0000.nii.gz")
    _listing(tmp_path, "./imagesTr/a.nii.gz", "./imagesTr/b.nii.gz")
    first, second = find_inputs(tmp_path, channels=T1_FLAIR)
    assert first["image"] == [str(tmp_path / "imagesTr" / f"a_000{n}.nii.gz") for n in range(2)]
    assert "case b: channel FLAIR is missing" in second["problem"]
    with pytest.raises(InputError, match="case b: channel FLAIR is missing"):
        find_pairs(tmp_path, channels=T1_FLAIR)


def test_a_listing_may_leave_a_channel_out(tmp_path: Path) -> None:
    _volumes(tmp_path, "p_t1.nii.gz", "p_flair.nii.gz")
    _listing(tmp_path, ["p_t1.nii.gz", None])
    (case,) = find_inputs(tmp_path, channels=[{"name": "T1"}, {"name": "FLAIR", "optional": True}])
    assert case["image"] == [str(tmp_path / "p_t1.nii.gz"), NO_IMAGE]
    (case,) = find_inputs(tmp_path, channels=T1_FLAIR)
    assert "channel FLAIR is missing" in case["problem"]


def test_a_listing_may_name_the_folder_of_a_case(tmp_path: Path) -> None:
    _volumes(tmp_path, "p/t1.nii.gz", "p/flair.nii.gz")
    _listing(tmp_path, "p")
    (case,) = find_pairs(tmp_path, channels=T1_FLAIR)
    assert (case["name"], case["image"]) == ("p", [str(tmp_path / "p" / f"{one}.nii.gz") for one in ("t1", "flair")])


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (["a.nii.gz"], r"another number of images \(expected T1, FLAIR, got 1: a\.nii\.gz"),
        (["a.nii.gz", "b.nii.gz", "c.nii.gz"], r"got 3: "),
        ([], r"got none"),
        ([None, None], r"got none"),
        ("", r"neither a path nor a list of paths"),
        (["a.nii.gz", " "], r"neither a path nor a list of paths"),
        ("a\0b", r"neither a path nor a list of paths"),
        (7, r"neither a path nor a list of paths \(got 7\)"),
        (["a.nii.gz", {"x": 1}], r"neither a path nor a list of paths"),
        (["a.nii.gz", "gone.nii.gz"], r"gone\.nii\.gz: image is listed but missing"),
        ("gone.nii.gz", r"gone\.nii\.gz: image is listed but missing"),
    ],
)
@pytest.mark.parametrize("find", [find_inputs, find_pairs])
def test_a_listing_that_names_no_case_is_one_line(tmp_path: Path, image: Any, message: str, find: Any) -> None:
    _volumes(tmp_path, "a.nii.gz", "b.nii.gz", "c.nii.gz")
    with pytest.raises(InputError, match=message) as caught:
        find(_listing(tmp_path, image), channels=T1_FLAIR)
    assert "\n" not in str(caught.value)


def test_the_longer_name_or_pattern_is_meant_where_a_file_has_both(tmp_path: Path) -> None:
    _volumes(tmp_path, "p_T1.nii.gz", "p_T1_c.nii.gz", "q_t1.nii.gz", "q_t1_c.nii.gz")
    for rules in (
        [{"name": "T1"}, {"name": "T1 c"}],
        [{"name": "a", "files": "*_t1*"}, {"name": "b", "files": "*_t1_c*"}],
    ):
        assert _found(tmp_path, rules) == {
            "p": ["p_T1.nii.gz", "p_T1_c.nii.gz"], "q": ["q_t1.nii.gz", "q_t1_c.nii.gz"]
        }  # fmt: skip


def test_a_series_is_never_two_channels(tmp_path: Path) -> None:
    about = {"study": generate_uid(), "modality": "CT"}
    _series(tmp_path / "x" / "1", 1, description="arterial", number=1, **about)
    rules = [{"name": "late", "modality": "CT"}, {"name": "early", "modality": "CT", "description": "arterial"}]
    with pytest.raises(InputError, match="channel late is missing"):
        find_inputs(tmp_path, channels=rules)
    with pytest.raises(InputError, match="series number 1 'arterial' CT could be any of the channels a, b"):
        find_inputs(tmp_path, channels=[{"name": "a", "modality": "CT"}, {"name": "b", "modality": "CT"}])
    _series(tmp_path / "x" / "2", 2, description="venous", number=2, **about)
    assert _found(tmp_path / "x", rules) == {"x": ["2", "1"]}


def test_pictures_of_one_name_are_the_channels_of_a_network_of_two(tmp_path: Path) -> None:
    for name in ("a_0000", "a_0001", "b_0000", "b_0001"):
        Image.fromarray(np.full((5, 6), 7, np.uint8)).save(tmp_path / f"{name}.png")
    (tmp_path / "notes.txt").write_text("x")
    rules = [{"name": "polarised"}, {"name": "plain"}]
    cases = find_inputs(tmp_path, channels=rules, dimensions=2)
    assert [[Path(one).name for one in case["image"]] for case in cases] == [
        ["a_0000.png", "a_0001.png"], ["b_0000.png", "b_0001.png"]
    ]  # fmt: skip
    reader = CaseReader(dimensions=2, channels=2)
    assert reader.get_data(reader.read(cases[0]["image"]))[0].shape == (6, 5, 2)


@pytest.mark.parametrize("find", [find_inputs, find_pairs])
def test_a_list_of_several_images_is_one_line_where_the_network_takes_one(tmp_path: Path, find: Any) -> None:
    _volumes(tmp_path, "a.nii.gz", "b.nii.gz")
    with pytest.raises(InputError, match=r"dataset\.json: has 2 images a case \(expected 1, got a\.nii"):
        find(_listing(tmp_path, ["a.nii.gz", "b.nii.gz"]))
    (case,) = find(_listing(tmp_path, ["a.nii.gz"]))
    assert case["image"] == str(tmp_path / "a.nii.gz")


@pytest.mark.parametrize("find", [find_inputs, find_pairs])
def test_a_listed_series_may_lie_in_two_folders(tmp_path: Path, find: Any) -> None:
    whole = write_phantom_dicom(make_phantom(1, shape=(6, 5, 4), spacing_mm=(4, 4, 5)), tmp_path / "x" / "one")
    (tmp_path / "x" / "two").mkdir()
    for file in sorted(whole.iterdir())[:2]:
        file.rename(tmp_path / "x" / "two" / file.name)
    (case,) = find(_listing(tmp_path, ["x/one", "x/two"]))
    assert case["image"] == [str(tmp_path / "x" / "one"), str(tmp_path / "x" / "two")]
    reader = CaseReader()
    assert reader.get_data(reader.read(case["image"]))[0].shape == (6, 5, 4)


def test_series_that_share_a_folder_are_never_channels_by_chance(tmp_path: Path) -> None:
    """A network of one image gets a list of files here, for a third series lies below."""
    about = {"study": generate_uid(), "modality": "MR"}
    for number, place in enumerate(("x/below", "x/a", "x/b"), 1):
        _series(tmp_path / place, number, description=f"series {number}", number=number, **about)
    for place in ("a", "b"):
        for file in list((tmp_path / "x" / place).iterdir()):
            file.rename(tmp_path / "x" / f"{place}{file.name}")
        (tmp_path / "x" / place).rmdir()
    first, second = find_inputs(tmp_path)
    assert "2 image series: number 2 'series 2'" in first["problem"]
    assert "Name one with --series" in first["problem"]
    assert (second["name"], "problem" in second) == ("x_below", False)
