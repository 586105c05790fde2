"""An odd header of a source costs neither the mask nor, where the standard allows, the object that is made of it."""

from __future__ import annotations

import logging
import shutil
import subprocess
import warnings
from pathlib import Path

import numpy as np
import pydicom
import pytest
from monai.data import MetaTensor
from pydicom.dataset import Dataset
from pydicom.uid import UID

from pipeline.data.phantoms import make_phantom, write_phantom_dicom
from pipeline.dicom import Segment, write_measurement_report, write_rtstruct, write_segmentation
from pipeline.errors import InputError
from pipeline.sources import CaseReader
from pipeline.transforms import CheckSourced, SaveSegmentationd

CODE = ("91723000", "SCT", "Anatomical Structure")
SEGMENTS = (Segment(value=1, name="Ball", category=CODE, property_type=CODE),)
NAME = "Zyxwv^Secret"


def _series(folder: Path, **values: object) -> Path:
    """A series whose header has values that their representation does not allow; None takes the element away."""
    write_phantom_dicom(make_phantom(1, shape=(12, 10, 5)), folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for path in folder.iterdir():
            dataset = pydicom.dcmread(path)
            dataset.PatientName = NAME
            for keyword, value in values.items():
                if value is None:
                    dataset.pop(keyword, None)
                    continue
                tag = pydicom.tag.Tag(keyword)
                text = str(value).encode() + b" " * (len(str(value)) % 2)
                vr = pydicom.datadict.dictionary_VR(tag)
                dataset[tag] = pydicom.dataelem.RawDataElement(tag, vr, len(text), text, 0, False, True)
            dataset.save_as(path)
    return folder


ODD = {
    "date": {"StudyDate": "yesterday"},
    "no such day": {"StudyDate": "20230231"},
    "time": {"StudyTime": "noon"},
    "sex": {"PatientSex": "XYZZY"},
    "weight": {"PatientWeight": "heavy"},
    "age": {"PatientAge": "forty"},
    "birth": {"PatientBirthDate": "1900/01/01"},
    "long": {"StudyID": "x" * 40, "AccessionNumber": "y" * 30, "StudyDescription": "z" * 99},
    "many": {"StudyDate": "?", "StudyTime": "?", "PatientSex": "?", "PatientSize": "?", "PatientAge": "?"},
    "charset": {"SpecificCharacterSet": "KLINGON"},
    "nothing": dict.fromkeys(
        ["StudyDate", "StudyTime", "StudyID", "PatientSex", "PatientBirthDate", "AccessionNumber", "PatientID",
         "ReferringPhysicianName", "PositionReferenceIndicator"]
    ),
}  # fmt: skip


def _valid(dataset: Dataset) -> None:
    """What was repeated is allowed, by the standard's own words."""
    assert str(dataset.PatientSex) in ("", "M", "F", "O")
    for keyword in ("StudyDate", "PatientBirthDate"):
        text = str(dataset.get(keyword) or "")
        assert text == "" or (len(text) == 8 and np.datetime64(f"{text[:4]}-{text[4:6]}-{text[6:]}"))
    assert UID(dataset.StudyInstanceUID).is_valid
    assert len(str(dataset.get("StudyID") or "")) <= 16


@pytest.mark.parametrize("name", ODD)
def test_all_objects_are_made_of_an_odd_series(name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = _series(tmp_path / "series", **ODD[name])
    reader = CaseReader()
    array, meta = reader.get_data(reader.read(folder))
    labels = np.zeros(array.shape, np.uint8)
    labels[3:6, 3:6, 2:4] = 1
    arguments = {"affine": meta["affine"], "source_files": sorted(folder.iterdir()), "segments": SEGMENTS}
    with caplog.at_level(logging.DEBUG):
        for write in (write_segmentation, write_rtstruct, write_measurement_report):
            path = write(labels, path=tmp_path / f"{write.__name__}.dcm", **arguments)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                _valid(pydicom.dcmread(path))
    odd = [keyword for keyword, value in ODD[name].items() if value is not None and len(str(value)) < 16]
    told = [record.message for record in caplog.records if "left out of what is written" in record.message]
    if name not in ("charset", "long"):
        assert len(told) == bool(odd)
        assert all(keyword in told[0] for keyword in odd)
    assert "Secret" not in caplog.text
    if shutil.which("dciodvfy") and name not in ("charset", "nothing"):
        run = subprocess.run(
            ["dciodvfy", tmp_path / "write_segmentation.dcm"], capture_output=True, text=True, check=False
        )
        errors = [
            line for line in run.stderr.splitlines() if line.startswith("Error") and any(key in line for key in odd)
        ]
        assert errors == []


def _saved(folder: Path, out: Path) -> None:
    reader = CaseReader()
    array, meta = reader.get_data(reader.read(folder))
    image = MetaTensor(np.asarray(array)[None].astype(np.float32), meta={**meta, "filename_or_obj": str(folder)})
    CheckSourced("image")({"image": image})
    labels = np.zeros((1, *array.shape), np.uint8)
    labels[0, 3:6, 3:6, 2:4] = 1
    segments = [{"value": 1, "name": "Ball", "category": list(CODE), "property_type": list(CODE)}]
    save = SaveSegmentationd("pred", output_dir=out, segments=segments, algorithm="test", version="1")
    save({"image": image, "pred": labels, "name": "case"})


def test_a_mask_is_there_although_no_seg_can_be(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = _series(tmp_path / "series", FrameOfReferenceUID=None)
    with (
        caplog.at_level(logging.WARNING),
        pytest.raises(InputError, match=r"case\.nii\.gz is written, but no DICOM SEG"),
    ):
        _saved(folder, tmp_path / "out")
    assert "there will be a NIfTI but no DICOM SEG: it has no FrameOfReferenceUID" in caplog.text
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["case.nii.gz"]


def test_what_is_left_out_is_told_before_anything_is_computed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = _series(tmp_path / "series", StudyDate="yesterday", PatientSex="XYZZY")
    with caplog.at_level(logging.WARNING):
        _saved(folder, tmp_path / "out")
    (line,) = [record.message for record in caplog.records]
    assert "StudyDate (0008,0020)" in line
    assert "PatientSex (0010,0040)" in line
    assert "XYZZY" not in caplog.text
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["case.dcm", "case.nii.gz"]
