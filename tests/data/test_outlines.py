"""DICOM series paired with their outlines by what the outlines refer to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from monai.transforms import LoadImage

from pipeline.data import DataSplit, find_pairs
from pipeline.data.phantoms import make_phantom, write_phantom_dicom
from pipeline.dicom import Segment, choose, scan, write_segmentation
from pipeline.errors import InputError
from pipeline.sources import CaseReader

SHAPE = (12, 10, 4)


def write_series(folder: Path, *, patient: str = "P1", modality: str = "CT") -> None:
    write_phantom_dicom(make_phantom(0, shape=SHAPE, spacing_mm=(2, 2, 3)), folder)
    uid = pydicom.uid.generate_uid()
    for file in folder.iterdir():
        dataset = pydicom.dcmread(file)
        dataset.SeriesInstanceUID, dataset.PatientID, dataset.Modality = uid, patient, modality
        dataset.save_as(file)


def outline(series: Path, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    labels = np.zeros(SHAPE, dtype=np.uint8)
    labels[3:6, 4:7, 1:3] = 1
    code = ("123037004", "SCT", "Anatomical Structure")
    write_segmentation(
        labels,
        affine=make_phantom(0, shape=SHAPE, spacing_mm=(2, 2, 3)).affine,
        source_files=choose(scan(series)).files,
        segments=[Segment(value=1, name="GTV", category=code, property_type=code)],
        path=file,
    )


@pytest.fixture
def data(tmp_path) -> Path:
    """Two series of one patient in different places, a third of another patient, and a localizer without outline."""
    root = tmp_path / "a b"
    places = {"p/one/CT": "Canary^Ida", "p/two/CT": "Canary^Ida", "q/MR": "Other"}
    for place, patient in places.items():
        write_series(root / place / "image", patient=patient, modality=Path(place).name)
        outline(root / place / "image", root / place / "seg" / "SEG.dcm")
    write_series(root / "p" / "localizer", patient="Canary^Ida")
    (root / "notes.txt").write_text("not an image")
    return root


def test_pairs_are_found_by_what_the_outlines_refer_to(data):
    cases = find_pairs(data)
    assert [case["name"] for case in cases] == ["p_one_CT", "p_two_CT", "q_MR"]
    assert cases[0]["image"] == str(data / "p" / "one" / "CT" / "image")
    assert cases[0]["label"] == str(data / "p" / "one" / "CT" / "seg" / "SEG.dcm")


def test_a_patient_is_known_by_the_files_but_not_named(data, tmp_path):
    cases = find_pairs(data)
    assert [case["patient"] for case in cases] == ["p_one_CT", "p_one_CT", "q_MR"]
    assert "Canary" not in str(cases)
    split = DataSplit(dataset_dir=data, datalist_file=tmp_path / "datalist.json")
    assert split.patients() == {"p_one_CT": "p_one_CT", "p_two_CT": "p_one_CT", "q_MR": "q_MR"}


def test_one_modality(data):
    assert [case["name"] for case in find_pairs(data, modality="MR")] == ["q_MR"]
    assert len(find_pairs(data, modality="US")) == 3  # the check of the image says what is wrong with them


def test_the_folders_say_nothing(data):
    """Outlines moved away and swapped in place still find their series."""
    one, two = (data / "p" / name / "CT" / "seg" / "SEG.dcm" for name in ("one", "two"))
    (data / "all").mkdir()
    one.rename(data / "all" / "x.dcm")
    two.rename(one)
    found = {Path(case["image"]).relative_to(data).as_posix(): case for case in find_pairs(data)}
    assert Path(found["p/one/CT/image"]["label"]) == data / "all" / "x.dcm"
    assert Path(found["p/two/CT/image"]["label"]) == one
    assert len({case["name"] for case in found.values()}) == 3


def test_an_outline_without_its_series(data):
    for file in (data / "q" / "MR" / "image").iterdir():
        file.unlink()
    with pytest.raises(InputError, match=r"SEG\.dcm: the series that it was drawn on is not here"):
        find_pairs(data)


def test_two_outlines_of_one_series(data):
    outline(data / "q" / "MR" / "image", data / "q" / "MR" / "seg" / "second.dcm")
    with pytest.raises(InputError, match=r"second\.dcm: a series has two outlines .got .*SEG\.dcm"):
        find_pairs(data)


def test_two_series_in_one_folder(data):
    (file, *_) = (data / "p" / "localizer").iterdir()
    file.rename(data / "q" / "MR" / "image" / "other.dcm")
    with pytest.raises(InputError, match="2 series lie in one folder"):
        find_pairs(data)


def test_the_sarcoma_set_as_it_was_published(shared_data):
    cases = find_pairs(shared_data / "STS_Sarcoma", modality="MR")
    assert len(cases) == len({case["patient"] for case in cases}) == 24
    assert all(case["name"] == f"{case['name'][:7]}_MR_T1" for case in cases)


@pytest.mark.parametrize("rest", ["q/MR/rest", "q/MR/image/rest"])
def test_an_outlined_series_may_lie_in_several_folders(data, rest):
    whole = LoadImage(reader=CaseReader())(str(data / "q" / "MR" / "image"))
    (data / rest).mkdir()
    for file in sorted((data / "q" / "MR" / "image").glob("*.dcm"))[:2]:
        file.rename(data / rest / file.name)
    case = next(case for case in find_pairs(data) if case["name"] == "q_MR")
    assert case["image"] == sorted([str(data / "q" / "MR" / "image"), str(data / rest)])
    np.testing.assert_array_equal(LoadImage(reader=CaseReader())(case["image"]), whole)
