from __future__ import annotations

import shutil
import subprocess

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813
from pydicom import uid

from pipeline.data.phantoms import make_phantom, write_phantom_dicom
from pipeline.dicom import choose, load, scan
from pipeline.dicom.reading import decoding
from pipeline.errors import InputError


@pytest.fixture
def study(study, tmp_path):
    """Slices large enough for the encoder of JPEG 2000, which halves them five times."""
    study.folder = write_phantom_dicom(make_phantom(7, shape=(64, 48, 5)), tmp_path / "large")
    return study


def voxels(folder, **options):
    return load(choose(scan(folder)), **options).array


def by_simpleitk(study) -> np.ndarray:
    """The same files, decoded by GDCM."""
    planes = [sitk.GetArrayFromImage(sitk.ReadImage(str(path)))[0] for path in reversed(study.files)]
    return np.stack(planes).astype(float)


def twelve_bits(study) -> None:
    """Make the values fit what each of the codecs takes."""

    def change(dataset, _index):
        values = np.clip(np.frombuffer(dataset.PixelData, "<i2"), 0, 4095)
        dataset.PixelData = values.astype("<u2").tobytes()
        dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 12, 11, 0

    study.alter(change)


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("syntax", [uid.RLELossless, uid.JPEGLSLossless, uid.JPEG2000Lossless])
def test_lossless(study, syntax, signed):
    if not signed:
        twelve_bits(study)
    expected = voxels(study.folder)
    study.alter(lambda dataset, _index: dataset.compress(syntax, generate_instance_uid=False))
    assert {dataset.file_meta.TransferSyntaxUID for dataset in study.read()} == {syntax}
    np.testing.assert_array_equal(voxels(study.folder), expected)


@pytest.mark.parametrize(
    ("syntax", "options"), [(uid.JPEG2000, {"j2k_cr": [4]}), (uid.JPEGLSNearLossless, {"jls_error": 3})]
)
def test_lossy(study, syntax, options):
    twelve_bits(study)
    before = voxels(study.folder)
    study.alter(lambda dataset, _index: dataset.compress(syntax, generate_instance_uid=False, **options))
    array = voxels(study.folder)
    assert np.abs(array - by_simpleitk(study)).max() <= 1, "decoders may round differently"
    away = np.abs(array - before).max()
    assert away > 0
    if syntax == uid.JPEGLSNearLossless:
        assert away <= 3


@pytest.mark.skipif(shutil.which("dcmcjpeg") is None, reason="dcmtk is not installed")
@pytest.mark.parametrize(
    ("option", "syntax"),
    [
        ("+el", uid.JPEGLossless),
        ("+e1", uid.JPEGLosslessSV1),
        ("+ee", uid.JPEGExtended12Bit),
        ("+eb", uid.JPEGBaseline8Bit),
    ],
)
def test_jpeg_by_dcmtk(study, option, syntax):
    def eight_bits(dataset, _index):
        values = np.clip(np.frombuffer(dataset.PixelData, "<i2") // 16, 0, 255)
        dataset.PixelData = values.astype("u1").tobytes()
        dataset.BitsAllocated = dataset.BitsStored = 8
        dataset.HighBit, dataset.PixelRepresentation = 7, 0

    twelve_bits(study)
    if syntax == uid.JPEGBaseline8Bit:
        study.alter(eight_bits)
    expected = voxels(study.folder)
    for path in study.files:
        packed = path.with_suffix(".packed")
        subprocess.run(["dcmcjpeg", option, "+un", str(path), str(packed)], check=True)
        packed.replace(path)
    assert {dataset.file_meta.TransferSyntaxUID for dataset in study.read()} == {syntax}
    array = voxels(study.folder)
    if syntax in {uid.JPEGLossless, uid.JPEGLosslessSV1}:
        np.testing.assert_array_equal(array, expected)
    else:
        assert np.abs(array - expected).max() > 0
    assert np.abs(array - by_simpleitk(study)).max() <= 1, "decoders may round differently"


@pytest.fixture
def long_series(tmp_path):
    folder = write_phantom_dicom(make_phantom(3, shape=(64, 64, 40)), tmp_path / "long")
    expected = voxels(folder)
    for path in folder.glob("*.dcm"):
        dataset = pydicom.dcmread(path)
        dataset.compress(uid.JPEG2000Lossless, generate_instance_uid=False)
        dataset.save_as(path)
    return folder, expected


def test_several_processes_give_the_same_voxels(long_series, monkeypatch):
    folder, expected = long_series
    asked = []
    ask = decoding._Worker._ask
    monkeypatch.setattr(decoding, "_processes", lambda headers: 2)
    monkeypatch.setattr(decoding._Worker, "_ask", lambda self, header: asked.append(ask(self, header)) or asked[-1])
    np.testing.assert_array_equal(voxels(folder), expected)
    assert len(asked) == 40
    assert all(array is not None for array in asked)


def test_processes_that_fail_are_done_without(long_series, monkeypatch):
    folder, expected = long_series
    monkeypatch.setattr(decoding, "_processes", lambda headers: 2)
    monkeypatch.setattr(decoding.sys, "executable", "/nonexistent/python")
    np.testing.assert_array_equal(voxels(folder), expected)


def test_damage_is_named_from_a_process(long_series, monkeypatch):
    folder, _ = long_series
    monkeypatch.setattr(decoding, "_processes", lambda headers: 2)
    path = sorted(folder.glob("*.dcm"))[7]
    content = path.read_bytes()
    place = content.index(b"\xff\x4f\xff\x51")  # the start of the code stream (ISO 15444-1 A.4.1)
    path.write_bytes(content[:place] + bytes(60) + content[place + 60 :])
    with pytest.raises(InputError, match=rf"{path.name}: the pixel data cannot be decoded"):
        voxels(folder)


@pytest.mark.parametrize("syntax", [uid.JPEG2000Lossless, uid.JPEGLSLossless])
def test_truncated_within_a_fragment(study, syntax):
    study.alter(lambda dataset, _index: dataset.compress(syntax, generate_instance_uid=False))
    path = study.files[4]
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match=rf"{path.name}: the file is truncated within its compressed pixel data"):
        voxels(study.folder)
