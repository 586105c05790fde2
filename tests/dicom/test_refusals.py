from __future__ import annotations

import logging
import shutil

import numpy as np
import pydicom
import pytest
from dicom_altered.changes import move, set_to
from pydicom.uid import RLELossless

from pipeline.data.phantoms import make_phantom, write_phantom_dicom
from pipeline.dicom import Series, choose, load, scan
from pipeline.errors import InputError


def one(folder, series=None) -> Series:
    return choose(scan(folder), series)


def refusal(folder) -> str:
    with pytest.raises(InputError) as caught:
        load(one(folder))
    text = str(caught.value)
    assert "\n" not in text
    assert "Phantom^" not in text
    assert "PHANTOM7" not in text
    return text


def test_missing_slice(study):
    before, lost, after = study.files[3:6]
    lost.unlink()
    text = refusal(study.folder)
    assert "1 missing slice between" in text
    assert before.name in text
    assert after.name in text
    assert "expected steps of 3.000 mm, got 6.000 mm" in text


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: move(d, z=0.5), ["uneven slice positions", "3.000 mm", "mm"]),
        (lambda d: move(d, x=1.0), ["shifted within its plane", "1 mm"]),
        (set_to(ImagePositionPatient=None), ["no ImagePositionPatient"]),
        (set_to(ImageOrientationPatient=None), ["no ImageOrientationPatient"]),
        (set_to(PixelSpacing=None), ["no PixelSpacing"]),
        (set_to(PixelSpacing=[0, 2]), ["PixelSpacing is not positive", "0 x 2 mm"]),
        (set_to(PixelSpacing=[2.5, 2.2]), ["PixelSpacing differs", "2.5 x 2.2 mm"]),
        (set_to(ImageOrientationPatient=[1, 0, 0, 0, 0.8, 0.6]), ["orientation differs"]),
        (set_to(ImageOrientationPatient=[1, 0, 0, 1, 0, 0]), ["orientation differs"]),
        (set_to(Rows=10, Columns=48), ["size differs", "48 x 10"]),
        (set_to(RescaleSlope=0), ["RescaleSlope is zero"]),
        (set_to(RescaleSlope=None, RescaleIntercept=None), ["rescaling differs"]),
        (set_to(FrameOfReferenceUID="1.2.3"), ["frame of reference differs"]),
        (set_to(PhotometricInterpretation="RGB", SamplesPerPixel=3), ["colour", "RGB"]),
        (set_to(Rows=40), ["truncated", "1920 bytes", "960"]),
    ],
)
def test_one_altered_slice(study, change, words):
    path = study.files[4]
    altered = change if change.__code__.co_argcount == 2 else lambda dataset, _index: change(dataset)
    study.alter(altered, [path])
    text = refusal(study.folder)
    assert path.name in text
    for word in words:
        assert word in text


@pytest.mark.parametrize("value", [b"abc\\2 ", b"2.0 ", b"nan\\2 "])
def test_spacing_that_is_no_number(study, value):
    path = study.files[4]
    path.write_bytes(
        path.read_bytes().replace(
            b"\x28\x00\x30\x00DS\x08\x002.5\\2.0 ", b"\x28\x00\x30\x00DS" + len(value).to_bytes(2, "little") + value
        )
    )
    text = refusal(study.folder)
    assert path.name in text
    assert "PixelSpacing cannot be used (expected 2 numbers" in text


@pytest.mark.parametrize("length", [0, 100, 400, 1200, -1, -500])
def test_truncated_or_empty_file(study, length):
    path = study.files[4]
    path.write_bytes(path.read_bytes()[:length])
    text = refusal(study.folder)
    assert path.name in text


@pytest.mark.filterwarnings("ignore:End of file reached")
def test_damaged_compressed_pixels(study):
    study.alter(lambda dataset, _index: dataset.compress(RLELossless, generate_instance_uid=False))
    path = study.files[4]
    path.write_bytes(path.read_bytes()[:-200])
    assert path.name in refusal(study.folder)


def test_gantry_tilt(study):
    study.alter(lambda dataset, index: move(dataset, x=3 * index * np.tan(np.radians(0.8))))
    load(one(study.folder))
    study.alter(lambda dataset, index: move(dataset, x=3 * index * np.tan(np.radians(4.0))))
    assert "the gantry was tilted (expected at most 1 degree, got 4.8 degrees)" in refusal(study.folder)


def test_spacing_that_grows_along_the_series(tmp_path):
    folder = write_phantom_dicom(make_phantom(1, shape=(8, 8, 60)), tmp_path)
    for path in folder.glob("*.dcm"):
        dataset = pydicom.dcmread(path)
        at = float(dataset.ImagePositionPatient[2])
        move(dataset, z=0.04 * max(at, 0))
        dataset.save_as(path)
    assert "the spacing between slices changes" in refusal(folder)


def test_identical_duplicates_are_left_out(study, caplog):
    expected = load(one(study.folder)).array
    shutil.copy(study.files[2], study.folder / "copy.dcm")
    again = study.folder / "again.dcm"
    shutil.copy(study.files[5], again)
    study.alter(set_to(SOPInstanceUID="1.2.3.4"), [again])
    with caplog.at_level(logging.WARNING):
        series = one(study.folder)
    assert series.slices == 9
    assert len(caplog.records) == 2
    np.testing.assert_array_equal(load(series).array, expected)


def test_different_pixels_at_one_position(study):
    other = study.folder / "echo.dcm"
    shutil.copy(study.files[2], other)
    study.alter(lambda dataset, _: set_to(PixelData=bytes(960), SOPInstanceUID="1.2.3.4")(dataset, 0), [other])
    text = refusal(study.folder)
    assert "two slices with different pixels at one position" in text
    assert "echo.dcm" in text
    assert study.files[2].name in text


def test_one_instance_uid_at_two_positions(study):
    study.alter(set_to(SOPInstanceUID="1.2.3.4"), study.files[2:4])
    assert "the same SOPInstanceUID as" in refusal(study.folder)


def test_two_patients_without_their_names(study):
    other = write_phantom_dicom(make_phantom(8, shape=(8, 8, 3)), study.folder / "other")
    files = {path.name for path in study.files} | {path.name for path in other.glob("*")}
    text = refusal(study.folder)
    assert "two patients" in text
    assert sum(name in text for name in files) >= 1
    assert "PHANTOM" not in text
    assert "PHANTOM" not in repr(scan(study.folder).series[0].headers[0])


def test_several_series_by_number(study):
    other = write_phantom_dicom(make_phantom(7, shape=(8, 8, 3)), study.folder / "other")
    for path in other.glob("*.dcm"):
        dataset = pydicom.dcmread(path)
        dataset.SeriesInstanceUID, dataset.SeriesNumber = "1.2.3.4", 2
        dataset.save_as(path)
    found = scan(study.folder)
    assert choose(found, "2").slices == 3
    assert choose(found, "1").slices == 9
    with pytest.raises(InputError, match="2 image series answer to 'phantom'"):
        choose(found, "phantom")


def test_what_is_no_image_is_passed_over(study):
    (study.folder / "notes.txt").write_text("some text")
    (study.folder / ".hidden.dcm").write_bytes(b"")
    report = pydicom.dcmread(study.files[0])
    del report.PixelData
    report.SOPClassUID = report.file_meta.MediaStorageSOPClassUID = pydicom.uid.BasicTextSRStorage
    report.SeriesInstanceUID = "1.2.3.4"
    report.save_as(study.folder / "report.dcm")
    found = scan(study.folder)
    assert found.passed_over == 3
    assert choose(found).slices == 9


def test_no_image(tmp_path):
    (tmp_path / "notes.txt").write_text("some text")
    with pytest.raises(InputError, match=r"no DICOM image found \(got 1 other files\)"):
        one(tmp_path)
    with pytest.raises(InputError, match="no such file or folder"):
        scan(tmp_path / "absent")
    (tmp_path / "a.dcm").write_text("some text")
    with pytest.raises(InputError, match=r"a.dcm: the file is not DICOM"):
        one(tmp_path)
