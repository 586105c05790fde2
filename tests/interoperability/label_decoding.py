"""Decoders of segmentation objects (PS3.3 C.8.20) and structure sets (C.8.8.6) of pydicom, numpy and matplotlib."""

from __future__ import annotations

import numpy as np
from interoperability.label_objects_made import SEGMENTS, Made
from interoperability.label_sources import Frame
from matplotlib.path import Path as Outline

BACKGROUND = 0  # of a label map; it is described or not (C.8.20.2.3)


def stored_planes(dataset) -> np.ndarray:
    """The stored values: frames, rows, columns. Bits are packed from the lowest on (PS3.5 8.1.1)."""
    shape = int(dataset.NumberOfFrames), dataset.Rows, dataset.Columns
    if dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        return dataset.pixel_array.reshape(shape)
    values = np.frombuffer(dataset.PixelData, np.uint8)
    if dataset.BitsAllocated == 1:
        values = np.unpackbits(values, bitorder="little")
    return values[: np.prod(shape)].reshape(shape)


def decode(dataset) -> dict[tuple[Frame, int], np.ndarray]:
    """The mask (rows, columns) of each frame of the source and each segment number."""
    shared = dataset.SharedFunctionalGroupsSequence[0]
    masks: dict[tuple[Frame, int], np.ndarray] = {}
    for plane, groups in zip(stored_planes(dataset), dataset.PerFrameFunctionalGroupsSequence, strict=True):
        (image,) = groups.DerivationImageSequence[0].SourceImageSequence
        frame = Frame(
            image.ReferencedSOPInstanceUID,
            int(image.get("ReferencedFrameNumber", 1)),
            tuple(map(float, groups.PlanePositionSequence[0].ImagePositionPatient)),
            tuple(map(float, shared.PlaneOrientationSequence[0].ImageOrientationPatient)),
            tuple(map(float, shared.PixelMeasuresSequence[0].PixelSpacing)),
        )
        if dataset.SegmentationType == "LABELMAP":
            numbers = {segment.SegmentNumber for segment in dataset.SegmentSequence}
            assert set(np.unique(plane)) <= {*numbers, BACKGROUND}
            found = {number: plane == number for number in numbers - {BACKGROUND}}
        else:
            found = {groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber: plane == 1}
        for number, mask in found.items():
            assert (frame, number) not in masks, "two frames of one place and segment"
            masks[frame, number] = mask
    return masks


def same_segmentation(dataset, made: Made) -> None:
    """Compare a segmentation object with what was written: every voxel of every segment, and nothing more."""
    masks = decode(dataset)
    names = {item.SegmentLabel: item.SegmentNumber for item in dataset.SegmentSequence if item.SegmentNumber}
    assert names == made.case.numbers
    for segment in SEGMENTS:
        for k, frame in enumerate(made.frames):
            expected = np.equal(made.labels[:, :, k].T, segment.value)
            np.testing.assert_array_equal(masks.pop((frame, names[segment.name])), expected)
    assert masks == {}


def same_structures(dataset, made: Made) -> None:
    """Fill the contours of a structure set on the frames that they refer to, and compare with what was written."""
    names = {roi.ROINumber: roi.ROIName for roi in dataset.StructureSetROISequence}
    assert names == {segment.value: segment.name for segment in SEGMENTS}
    filled = {value: np.zeros(made.labels.shape, dtype=bool) for value in names}
    slices = {(frame.sop_instance_uid, frame.number): k for k, frame in enumerate(made.frames)}
    for roi in dataset.ROIContourSequence:
        for contour in roi.get("ContourSequence", ()):
            assert contour.ContourGeometricType == "CLOSED_PLANAR"
            (image,) = contour.ContourImageSequence
            k = slices[image.ReferencedSOPInstanceUID, image.get("ReferencedFrameNumber", 1)]
            exclusive_or(filled[roi.ReferencedROINumber][:, :, k], in_pixels(contour, made.frames[k]))
    for value, mask in filled.items():
        np.testing.assert_array_equal(mask, made.labels == value)


def in_pixels(contour, frame: Frame) -> np.ndarray:
    """The points (n, 2) of a contour as (column, row) of the frame in whose plane it lies (PS3.3 C.7.6.2.1.1)."""
    points = np.array(contour.ContourData, dtype=float).reshape(-1, 3) - frame.position
    assert len(points) == contour.NumberOfContourPoints
    row, column = np.reshape(frame.orientation, (2, 3))
    assert np.abs(points @ np.cross(row, column)).max() < 0.001, "mm"
    between_rows, between_columns = frame.pixel_spacing
    return np.stack([points @ row / between_columns, points @ column / between_rows], axis=1)


def exclusive_or(mask: np.ndarray, points: np.ndarray) -> None:
    """Turn over the pixels (column, row) whose centres lie within a contour."""
    low, high = np.floor(points.min(axis=0)).clip(0).astype(int), np.ceil(points.max(axis=0)).astype(int) + 1
    box = mask[low[0] : high[0], low[1] : high[1]]
    centres = np.argwhere(np.ones_like(box)) + low
    box ^= Outline(points).contains_points(centres).reshape(box.shape)
