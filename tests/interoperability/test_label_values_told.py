"""The label values in a segmentation object and a structure set, as other programs tell them."""

from __future__ import annotations

import json
import subprocess

import highdicom
import nibabel as nib
import numpy as np
import pydicom
import pytest
from interoperability.label_objects_made import LPS_TO_RAS, SEGMENTS
from interoperability.programs import find_program

from pipeline.workflows.evaluate import evaluate_folders

VALUES = {segment.name: segment.value for segment in SEGMENTS}
WORDS = {name: f"Label value {value}" for name, value in VALUES.items()}


def test_values_are_no_series_without_a_gap():
    """Else the numbers of the segments would tell them."""
    assert list(VALUES.values()) != list(range(1, len(VALUES) + 1))


@pytest.mark.parametrize("name", ["axial", "axial_deflated"])
def test_a_binary_segmentation_tells_them_in_words(name, make, tmp_path):
    path = make(name).segmentation
    items = pydicom.dcmread(path).SegmentSequence
    assert {item.SegmentLabel: item.SegmentDescription for item in items} == WORDS
    segmentation = highdicom.seg.segread(path)
    described = [segmentation.get_segment_description(number) for number in segmentation.segment_numbers]
    assert {one.segment_label: one.SegmentDescription for one in described} == WORDS
    options = ["--inputDICOM", path, "--outputDirectory", tmp_path, "-t", "nrrd"]
    subprocess.run([find_program("segimage2itkimage"), *options], capture_output=True, timeout=60, check=True)
    groups = json.loads((tmp_path / "meta.json").read_text())["segmentAttributes"]
    assert {one["SegmentLabel"]: one["SegmentDescription"] for group in groups for one in group} == WORDS


def test_a_label_map_segmentation_has_them_for_numbers(make):
    items = pydicom.dcmread(make("axial_label_map").segmentation).SegmentSequence
    assert {item.SegmentLabel: item.SegmentNumber for item in items if item.SegmentNumber} == VALUES


def test_a_structure_set_tells_them_in_words(make):
    items = pydicom.dcmread(make("axial").structures).StructureSetROISequence
    assert {item.ROIName: item.ROIDescription for item in items} == WORDS


def test_a_segmentation_by_dcmqi_pairs_by_name(make, tmp_path):
    """dcmqi numbers labels 1 and 4 from 1 on, and tells no values."""
    made = make("axial")
    labels = np.where(made.labels == 2, 4, made.labels)
    reference = tmp_path / "references" / "a.nii.gz"
    reference.parent.mkdir()
    nib.save(nib.Nifti1Image(labels, LPS_TO_RAS @ made.lps_affine), reference)
    attributes = [
        {
            "labelID": value, "SegmentLabel": name, "SegmentDescription": name, "SegmentAlgorithmType": "MANUAL",
            "SegmentedPropertyCategoryCodeSequence": concept("123037004", "Anatomical Structure"),
            "SegmentedPropertyTypeCodeSequence": concept(code, name),
        }
        for value, name, code in ((1, "Kidney", "64033007"), (4, "Spleen", "78961009"))
    ]  # fmt: skip
    meta = {"ContentCreatorName": "a", "SeriesDescription": "b", "SeriesNumber": "3", "InstanceNumber": "1",
            "segmentAttributes": [attributes]}  # fmt: skip
    (tmp_path / "meta.json").write_text(json.dumps(meta))
    path = tmp_path / "predictions" / "a.dcm"
    path.parent.mkdir()
    files = {"inputImageList": reference, "inputDICOMList": ",".join(map(str, made.images)), "outputDICOM": path,
             "inputMetadata": tmp_path / "meta.json"}  # fmt: skip
    options = [word for name, value in files.items() for word in (f"--{name}", value)]
    subprocess.run([find_program("itkimage2segimage"), *options], capture_output=True, timeout=60, check=True)
    assert [item.SegmentNumber for item in pydicom.dcmread(path).SegmentSequence] == [1, 2]
    (tmp_path / "labels.json").write_text('{"labels": {"background": 0, "Kidney": 1, "Spleen": 4}}')
    folders = {"predictions": path.parent, "references": reference.parent}
    _, failures = evaluate_folders(**folders, output_dir=tmp_path / "out")
    assert "do not tell their label values (expected the values 1, 4, got 1, 2)" in failures["a"]
    table, failures = evaluate_folders(**folders, output_dir=tmp_path / "out", labels=tmp_path / "labels.json")
    assert (failures, table.labels, table.cases["a"].tolist()) == ({}, {1: "Kidney", 4: "Spleen"}, [1, 1])


def concept(value, meaning):
    return {"CodeValue": value, "CodingSchemeDesignator": "SCT", "CodeMeaning": meaning}
