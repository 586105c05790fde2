from __future__ import annotations

import dataclasses
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest
from label_folders import evaluate_in, metric_rows, save_labels
from pydicom.uid import generate_uid

from pipeline.data.phantoms import Phantom, make_phantom, write_phantom_dicom
from pipeline.dicom import Segment, write_segmentation

CATEGORY = ("91723000", "SCT", "Anatomical Structure")
SEGMENTS = [
    Segment(value=value, name=name, category=CATEGORY, property_type=CATEGORY)
    for value, name in ((1, "Kidney"), (2, "Cyst"))
]


@pytest.fixture
def dicom(tmp_path: Path) -> tuple[Phantom, Path]:
    phantom = make_phantom(7, shape=(24, 20, 9), spacing_mm=(2.0, 2.5, 3.0))
    return phantom, write_phantom_dicom(phantom, tmp_path / "study")


def _seg(labels: np.ndarray, dicom: tuple[Phantom, Path], path: Path, segments: list[Segment] = SEGMENTS) -> Path:
    files = [str(file) for file in sorted(dicom[1].iterdir())]
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_segmentation(labels, affine=dicom[0].affine, source_files=files, segments=segments, path=path)


def _without_empty_frames(path: Path) -> None:
    """As other makers write a SEG."""
    seg = highdicom.seg.segread(path)
    volume = seg.get_volume(combine_segments=True)
    images = [pydicom.dcmread(file) for file in (path.parent.parent / "study").iterdir()]
    images.sort(key=lambda image: image.ImagePositionPatient[2])
    again = highdicom.seg.Segmentation(
        source_images=images, pixel_array=volume.array if volume.affine[2, 0] > 0 else volume.array[::-1],
        segmentation_type="BINARY", segment_descriptions=list(seg.SegmentSequence),
        series_instance_uid=generate_uid(), series_number=1, sop_instance_uid=generate_uid(), instance_number=1,
        manufacturer="other", manufacturer_model_name="x", software_versions="1", device_serial_number="1",
        omit_empty_frames=True,
    )  # fmt: skip
    assert len(again.PerFrameFunctionalGroupsSequence) < len(seg.PerFrameFunctionalGroupsSequence)
    again.save_as(path)


@pytest.mark.parametrize("omitted", [(), ("predictions",), ("references",), ("predictions", "references")])
def test_dicom_seg_is_scored_with_the_names_of_its_segments(
    dicom: tuple[Phantom, Path], tmp_path: Path, omitted: tuple[str, ...]
) -> None:
    phantom, _ = dicom
    reference = np.zeros_like(phantom.labels)
    reference[6:14, 5:12, 3:6], reference[15:19, 5:12, 3:6] = 1, 2
    prediction = np.roll(reference, (1, 1), (0, 2))
    for name, labels in (("references", reference), ("predictions", prediction)):
        path = _seg(labels, dicom, tmp_path / name / "a.dcm")
        if name in omitted:
            _without_empty_frames(path)
    table, failures, output = evaluate_in((tmp_path / "predictions", tmp_path / "references"))
    assert failures == {}
    assert table.labels == {1: "Kidney", 2: "Cyst"}
    for k, value in enumerate((1, 2)):
        a, b = prediction == value, reference == value
        assert table.cases["a"][k] == pytest.approx(2 * (a & b).sum() / (a.sum() + b.sum()))
        row = metric_rows(output)["a", table.labels[value]]
        assert float(row["hausdorff_mm"]) == pytest.approx(np.hypot(2, 3))
        assert row["note"] == ""


def test_dicom_seg_against_nifti(dicom: tuple[Phantom, Path], tmp_path: Path) -> None:
    """As ``medbundle segment`` leaves them: the NIfTI beside the SEG is the same, and is taken."""
    phantom, _ = dicom
    save_labels(phantom.labels, tmp_path / "references" / "a.nii.gz", phantom.affine)
    _seg(phantom.labels, dicom, tmp_path / "predictions" / "a.dcm")
    table, failures, _ = evaluate_in((tmp_path / "predictions", tmp_path / "references"))
    assert (failures, table.cases["a"].tolist()) == ({}, [1.0, 1.0])
    save_labels(np.zeros_like(phantom.labels), tmp_path / "predictions" / "a.nii.gz", phantom.affine)
    table, _, _ = evaluate_in((tmp_path / "predictions", tmp_path / "references"))
    assert table.cases["a"].tolist() == [0.0, 0.0]


def test_segments_of_other_names_are_refused(dicom: tuple[Phantom, Path], tmp_path: Path) -> None:
    phantom, _ = dicom
    swapped = [dataclasses.replace(one, name=other.name) for one, other in zip(SEGMENTS, SEGMENTS[::-1], strict=True)]
    _seg(phantom.labels, dicom, tmp_path / "references" / "a.dcm")
    _seg(phantom.labels, dicom, tmp_path / "predictions" / "a.dcm", swapped)
    _, failures, _ = evaluate_in((tmp_path / "predictions", tmp_path / "references"))
    assert "calls label 1 Cyst (expected Kidney, as its reference)" in failures["a"]
