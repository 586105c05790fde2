"""Every file in a folder is a case, belongs to one, or is counted; nothing hides anything else."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from PIL import Image

import pipeline.dicom.reading.headers as header_module
from pipeline.data import find_inputs
from pipeline.data.phantoms import make_phantom, write_phantom_dicom
from pipeline.errors import InputError
from pipeline.sources import CaseReader


def _nifti(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(np.ones((4, 5, 6), np.int16), np.eye(4)), path)
    return path


def _picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (7, 5)).save(path)
    return path


def _series(path: Path, seed: int = 1) -> Path:
    return write_phantom_dicom(make_phantom(seed, shape=(10, 8, 6)), path)


def _names(path: Path, **options: object) -> list[str]:
    return [case["name"] for case in find_inputs(path, **options)]  # type: ignore[arg-type]


@pytest.mark.parametrize("dimensions", [None, 2, 3])
@pytest.mark.parametrize("place", ["series/old_mask.nii.gz", "atlas.nii.gz", "elsewhere/deep/old.nii.gz"])
def test_a_volume_beside_dicom_hides_neither(place: str, dimensions: int | None, tmp_path: Path) -> None:
    _series(tmp_path / "series")
    _nifti(tmp_path / place)
    with pytest.raises(InputError, match="images of several kinds") as caught:
        find_inputs(tmp_path, dimensions=dimensions)
    assert "series" in str(caught.value)
    assert place in str(caught.value)
    assert "--series" in str(caught.value)
    assert _names(tmp_path, series="CT") == [tmp_path.name]


def test_a_picture_beside_volumes_is_no_case_of_a_network_for_volumes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _series(tmp_path / "series")
    _picture(tmp_path / "logo.png")
    with caplog.at_level(logging.INFO, "pipeline"):
        assert _names(tmp_path, dimensions=3) == ["series"]
    (line,) = [record.message for record in caplog.records if "passed over" in record.message]
    assert line.endswith("1 PNG")
    with pytest.raises(InputError, match="several kinds"):
        find_inputs(tmp_path, dimensions=2)


def test_what_lies_deeper_is_a_case_too(tmp_path: Path) -> None:
    _nifti(tmp_path / "template.nii.gz")
    _nifti(tmp_path / "p1" / "t1.nii.gz")
    _nifti(tmp_path / "p2" / "scans" / "t1.nii.gz")
    assert _names(tmp_path) == ["p1_t1", "p2_scans_t1", "template"]


def test_what_is_no_image_is_counted_by_kind_in_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    _nifti(tmp_path / "a.nii.gz")
    for name in ("notes.txt", "more.txt", "table.csv", "movie.gif", ".hidden.txt", "sub/third.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("no image")
    with caplog.at_level(logging.INFO, "pipeline"):
        assert _names(tmp_path) == ["a"]
    (line,) = [record.message for record in caplog.records]
    assert line.endswith("passed over: 3 .txt files, 1 .csv file, 1 .gif file")


def test_detached_data_belongs_to_its_header(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    import SimpleITK as sitk  # noqa: N813

    image = sitk.GetImageFromArray(np.ones((3, 4, 5), np.int16))
    for name in ("a.mhd", "b.nhdr"):
        sitk.WriteImage(image, str(tmp_path / name))
    nib.save(nib.Nifti1Pair(np.ones((4, 5, 6), np.int16), np.eye(4)), tmp_path / "c.hdr")
    with caplog.at_level(logging.INFO, "pipeline"):
        assert _names(tmp_path) == ["a", "b", "c"]
    assert caplog.records == []


def test_an_empty_handed_folder_says_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.raises(InputError, match=r"holds no image \(expected .*, got 1 .txt file\)"):
        find_inputs(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no FIFOs here")
def test_a_fifo_is_refused_and_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.nii.gz")
    for path in (tmp_path / "pipe.nii.gz", tmp_path):
        with pytest.raises(InputError, match="FIFO, socket or device"):
            find_inputs(path)


def test_links_to_folders_are_followed_and_loops_are_not(tmp_path: Path) -> None:
    _nifti(tmp_path / "elsewhere" / "b.nii.gz")
    _nifti(tmp_path / "in" / "a.nii.gz")
    (tmp_path / "in" / "linked").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (tmp_path / "in" / "loop").symlink_to(tmp_path / "in", target_is_directory=True)
    assert _names(tmp_path / "in") == ["a", "linked_b"]


def test_earlier_results_in_the_folder_are_no_inputs(tmp_path: Path) -> None:
    _nifti(tmp_path / "a.nii.gz")
    _nifti(tmp_path / "masks" / "a.nii.gz")
    assert _names(tmp_path, output_dir=tmp_path / "masks") == ["a"]
    assert _names(tmp_path / "masks", output_dir=tmp_path / "masks") == ["a"]  # when it is asked for


@pytest.mark.parametrize("split", [("a", "b"), (".", "b"), ("a", "a/b")])
def test_a_series_is_one_case_wherever_its_files_lie(split: tuple[str, str], tmp_path: Path) -> None:
    whole = _series(tmp_path / "whole")
    expected, meta = CaseReader().get_data((whole,))
    study = tmp_path / "study"
    for number, file in enumerate(sorted(whole.iterdir())):
        folder = study / split[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, folder / file.name)
    _series(study / "another", seed=2)
    cases = {case["name"]: case["image"] for case in find_inputs(study)}
    assert len(cases) == 2
    image = next(image for name, image in cases.items() if name != "another")
    reader = CaseReader()
    array, other = reader.get_data(reader.read(image))
    np.testing.assert_array_equal(array, expected)
    np.testing.assert_array_equal(other["affine"], meta["affine"])


def test_copies_of_a_series_are_cases_of_their_own(tmp_path: Path) -> None:
    shutil.copytree(_series(tmp_path / "study" / "one"), tmp_path / "study" / "two")
    assert _names(tmp_path / "study") == ["one", "two"]


def test_a_screenshot_beside_a_series_does_not_hide_it(tmp_path: Path) -> None:
    folder = _series(tmp_path / "series")
    capture = pydicom.dcmread(next(folder.iterdir()))
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient"):
        delattr(capture, keyword)
    capture.SOPClassUID = capture.file_meta.MediaStorageSOPClassUID = pydicom.uid.SecondaryCaptureImageStorage
    capture.SOPInstanceUID = capture.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    capture.SeriesInstanceUID = pydicom.uid.generate_uid()
    capture.save_as(folder / "capture.dcm")
    (case,) = find_inputs(tmp_path)
    array, _ = CaseReader().get_data(CaseReader().read(case["image"]))
    assert array.shape == (10, 8, 6)


def test_the_headers_of_a_study_are_read_once_in_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seed in (("one", 1), ("two", 2)):
        _series(tmp_path / name, seed)
    read: list[str] = []
    whole = header_module._read_dataset
    monkeypatch.setattr(
        header_module, "_read_dataset", lambda file, path, size: (read.append(str(path)), whole(file, path, size))[1]
    )
    reader = CaseReader(compact=True)
    for case in find_inputs(tmp_path):
        reader.get_data(reader.read(case["image"]))
    assert sorted(read) == sorted(str(path) for path in tmp_path.rglob("*") if path.is_file())


def test_a_dicom_object_that_is_no_image_is_called_what_it_is(tmp_path: Path) -> None:
    dataset = pydicom.dcmread(next(_series(tmp_path / "series").iterdir()))
    for name, kind in (("dose", pydicom.uid.RTDoseStorage), ("report", pydicom.uid.BasicTextSRStorage)):
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = kind
        if name == "report":
            del dataset.PixelData
        path = tmp_path / "objects" / f"{name}.dcm"
        path.parent.mkdir(exist_ok=True)
        dataset.save_as(path)
        with pytest.raises(InputError, match=f"kind {kind.name.removesuffix(' Storage')}, not an image"):
            find_inputs(path)
    with pytest.raises(InputError, match="got 1 Basic Text SR, 1 RT Dose"):
        find_inputs(tmp_path / "objects")


def test_a_refused_series_is_named_by_its_folder(tmp_path: Path) -> None:
    folder = _series(tmp_path / "study" / "series")
    sorted(folder.iterdir())[2].unlink()
    with pytest.raises(InputError, match=f"{folder}: .*missing slice"):
        CaseReader().get_data((folder,))
