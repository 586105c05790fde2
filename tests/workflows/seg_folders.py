"""DICOM SEG files in folders, as two-folder evaluations take them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import highdicom
import numpy as np
import pydicom
from pydicom.uid import generate_uid

from pipeline.data.phantoms import Phantom
from pipeline.dicom import Segment, write_segmentation

CATEGORY = ("91723000", "SCT", "Anatomical Structure")
SEGMENTS = [
    Segment(value=value, name=name, category=CATEGORY, property_type=CATEGORY)
    for value, name in ((1, "Kidney"), (2, "Cyst"))
]


def save_seg(labels: np.ndarray, dicom: tuple[Phantom, Path], path: Path, segments: list[Segment] = SEGMENTS) -> Path:
    files = [str(file) for file in sorted(dicom[1].iterdir())]
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_segmentation(labels, affine=dicom[0].affine, source_files=files, segments=segments, path=path)


def without_empty_frames(path: Path) -> None:
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


def undescribed(path: Path) -> Path:
    seg = pydicom.dcmread(path)
    for item in seg.SegmentSequence:
        del item.SegmentDescription
    seg.save_as(path)
    return path


def renamed(*names: str) -> list[Segment]:
    return [dataclasses.replace(one, name=name) for one, name in zip(SEGMENTS, names, strict=True)]
