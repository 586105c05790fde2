"""Small files that would fill the memory are refused before they do."""

from __future__ import annotations

import time
import tracemalloc
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_altered.radiographs import write_radiograph
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEG2000Lossless

from pipeline.data.phantoms import make_phantom, write_phantom_dicom
from pipeline.dicom import deflated
from pipeline.errors import InputError
from pipeline.sources import CaseReader


def _refused(path: Path) -> str:
    reader = CaseReader()
    began = time.perf_counter()
    tracemalloc.start()
    with pytest.raises(InputError) as caught:
        reader.get_data(reader.read(path))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2e8
    assert time.perf_counter() - began < 20
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_deflated_file_that_becomes_a_gigabyte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_phantom_dicom(make_phantom(1, shape=(8, 8, 3)), tmp_path / "series")
    path = next(folder.iterdir())
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    dataset.add_new(0x00091001, "OB", bytes(300_000_000))
    dataset.save_as(path)
    del dataset
    assert path.stat().st_size < 1e6
    monkeypatch.setattr(deflated, "available_bytes", lambda: 8e8)
    assert "inflates to more than the memory can take" in _refused(folder)


def test_sound_deflated_files_are_read(tmp_path: Path) -> None:
    folder = write_phantom_dicom(make_phantom(1, shape=(8, 8, 3)), tmp_path / "series")
    expected, _ = CaseReader().get_data((folder,))
    for path in folder.iterdir():
        dataset = pydicom.dcmread(path)
        dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
        dataset.save_as(path)
    array, _ = CaseReader().get_data((folder,))
    np.testing.assert_array_equal(array, expected)


@pytest.mark.parametrize("side", [60_000, 65_535])
def test_a_picture_of_an_impossible_size(side: int, tmp_path: Path) -> None:
    path = write_radiograph(tmp_path / "im.dcm", np.zeros((16, 16), np.uint16))
    dataset = pydicom.dcmread(path)
    dataset.Rows = dataset.Columns = side
    dataset.NumberOfFrames = 1
    dataset.file_meta.TransferSyntaxUID = JPEG2000Lossless
    dataset.PixelData = pydicom.encaps.encapsulate([b"\xff\x4f\xff\x51" + bytes(100)])
    dataset["PixelData"].VR = "OB"
    dataset.save_as(path)
    assert str(side) in _refused(path) or "cannot be decoded" in _refused(path)


def test_a_sequence_in_a_sequence_without_end(tmp_path: Path) -> None:
    folder = write_phantom_dicom(make_phantom(1, shape=(8, 8, 3)), tmp_path / "series")
    path = next(folder.iterdir())
    content = path.read_bytes()
    sequence, item = bytes.fromhex("400030a7 53510000 ffffffff"), bytes.fromhex("feff00e0 ffffffff")
    at = content.index(b"\xe0\x7f\x10\x00")  # before the pixels
    path.write_bytes(content[:at] + (sequence + item) * 3000)
    _refused(folder)
