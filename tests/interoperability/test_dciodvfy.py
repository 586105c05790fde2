"""dciodvfy of dicom3tools checks the label objects against the definitions of PS3.3."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pydicom
import pytest
from interoperability.programs import find_program
from pydicom.uid import DeflatedExplicitVRLittleEndian, SegmentationStorage

# In these Label Map Segmentation (Sup 243, of 2024) departs from Segmentation, the nearest that dciodvfy knows.
LABEL_MAP_DEPARTURES = (
    "Unrecognized enumerated value <LABELMAP> for value 1 of attribute <Segmentation Type>",
    "Missing attribute Type 1 Required Element=<SegmentIdentificationSequence> Module=<SegmentationMacro>",
    "SegmentNumber not monotonically increasing from one by one",
    "Value is zero for value 1 of attribute <Segment Number>",
)


def judge(path: Path) -> tuple[str, list[str]]:
    """The IOD that dciodvfy takes a file for, and its lines that tell of errors."""
    done = subprocess.run([find_program("dciodvfy"), path], capture_output=True, timeout=60, check=False)
    lines = (done.stdout + done.stderr).decode(errors="replace").splitlines()
    errors = [line for line in lines if "Error" in line]
    return " ".join(line for line in lines if line not in errors and "Warning" not in line), errors


def inflated(path: Path, folder: Path) -> Path:
    """What dciodvfy can read: it does not inflate, but DCMTK does."""
    if pydicom.dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID != DeflatedExplicitVRLittleEndian:
        return path
    subprocess.run([find_program("dcmconv"), "+te", path, folder / "inflated.dcm"], timeout=60, check=True)
    return folder / "inflated.dcm"


def as_segmentation(path: Path, folder: Path) -> Path:
    """A label map segmentation under the name of the older class, whose modules are otherwise the same."""
    dataset = pydicom.dcmread(path)
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = SegmentationStorage
    dataset.save_as(folder / "as_segmentation.dcm")
    return folder / "as_segmentation.dcm"


def test_segmentation(made, tmp_path):
    path = inflated(made.segmentation, tmp_path)
    iod, errors = judge(as_segmentation(path, tmp_path) if made.case.label_map else path)
    if made.case.label_map:
        errors = [line for line in errors if not any(departure in line for departure in LABEL_MAP_DEPARTURES)]
    assert errors == []
    assert iod == "Segmentation"


def test_structures(drawn):
    iod, errors = judge(drawn.structures)
    assert errors == []
    assert iod == "RTStructureSet"


@pytest.mark.parametrize("name", ["axial", "axial_label_map"])
def test_a_faulty_segmentation_is_seen(make, name, tmp_path):
    dataset = pydicom.dcmread(make(name).segmentation)
    del dataset.SegmentSequence[1].SegmentLabel
    dataset.save_as(tmp_path / "faulty.dcm")
    _iod, errors = judge(as_segmentation(tmp_path / "faulty.dcm", tmp_path))
    assert any("SegmentLabel" in line for line in errors)


def test_a_faulty_structure_set_is_seen(make, tmp_path):
    dataset = pydicom.dcmread(make("axial").structures)
    del dataset.StructureSetROISequence[1].ReferencedFrameOfReferenceUID
    dataset.save_as(tmp_path / "faulty.dcm")
    _iod, errors = judge(tmp_path / "faulty.dcm")
    assert any("ReferencedFrameOfReferenceUID" in line for line in errors)
