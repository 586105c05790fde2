"""The label values in a segmentation object and a structure set, as other programs tell them."""

from __future__ import annotations

import json
import subprocess

import highdicom
import pydicom
import pytest
from interoperability.label_objects_made import SEGMENTS
from interoperability.programs import find_program

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
