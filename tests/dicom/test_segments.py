from __future__ import annotations

import warnings

import highdicom
import numpy as np
import pydicom
import pytest
from highdicom.seg import Segmentation, SegmentDescription
from highdicom.sr.coding import CodedConcept
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from pipeline.dicom import (
    DicomSeriesReader,
    Grid,
    Segment,
    choose,
    read_labels,
    read_segments,
    referenced_series,
    scan,
    write_segmentation,
)
from pipeline.errors import InputError

CODES = {"Kidney": "64033007", "Liver": "10200004", "Spleen": "78961009"}
ANATOMY = ("123037004", "SCT", "Anatomical Structure")
SEGMENTS = [
    Segment(value=value, name=name, category=ANATOMY, property_type=(code, "SCT", name))
    for value, (name, code) in zip((1, 4, 2), CODES.items(), strict=True)
]
NAMES = {1: ["kidney"], 2: ["SPLEEN "], 4: ["Liver"]}


def grid_of(folder) -> Grid:
    return Grid.of_series(choose(scan(folder)))


def some_labels(shape, *, seed=0) -> np.ndarray:
    """Labels without any symmetry; 4 is nowhere."""
    return np.random.default_rng(seed).choice(3, size=shape, p=[0.7, 0.2, 0.1]).astype(np.uint8)


def by_highdicom(study, volume, kind="BINARY", path="seg.dcm", **kwargs):
    """Write a volume (slice, row, column[, segment]), or an array on the source's grid."""
    descriptions = [
        SegmentDescription(
            segment_number=number,
            segment_label=name,
            segmented_property_category=CodedConcept(*ANATOMY),
            segmented_property_type=CodedConcept(code, "SCT", name),
            algorithm_type="MANUAL",
        )
        for number, (name, code) in enumerate(list(CODES.items())[:2], start=1)
    ]
    array = getattr(volume, "array", volume)
    seg = Segmentation(
        source_images=study.read(),
        pixel_array=volume,
        segmentation_type=kind,
        segment_descriptions=descriptions[: array.shape[3] if array.ndim == 4 else None],
        series_instance_uid=generate_uid(),
        series_number=7,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer="test",
        manufacturer_model_name="test",
        software_versions="1",
        device_serial_number="1",
        transfer_syntax_uid=ExplicitVRLittleEndian,
        **kwargs,
    )
    seg.save_as(study.folder.parent / path)
    return study.folder.parent / path


def source_volume(study) -> highdicom.Volume:
    return highdicom.get_volume_from_series(study.read())


def to_grid(volume, study) -> np.ndarray:
    """Where the labels of a volume lie on the source's grid, by highdicom's own matching; (column, row, slice)."""
    reference = source_volume(study)
    array = volume.match_geometry(reference.get_geometry()).array
    grid = grid_of(study.folder)
    lps = np.diag([-1, -1, 1, 1]) @ grid.affine
    flipped = reference.affine[:3, 0] @ lps[:3, 2] < 0
    return (array[::-1] if flipped else array).transpose(2, 1, 0)


@pytest.mark.parametrize("kind", ["study", "oblique"])
def test_round_trip(kind, request, tmp_path):
    folder = request.getfixturevalue(kind).folder
    reader = DicomSeriesReader()
    array, meta = reader.get_data(reader.read(folder))
    labels = some_labels(array.shape)
    files = meta["dicom_files"].split("\n")
    path = write_segmentation(
        labels, affine=meta["affine"], source_files=files, segments=SEGMENTS, path=tmp_path / "seg.dcm"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = read_labels(path, names=NAMES, grid=grid_of(folder))
    np.testing.assert_array_equal(found, labels)
    assert found.dtype == np.uint8
    assert referenced_series(path) == (meta["dicom_series_uid"],)
    codes = read_segments(path, names={1: [CODES["Spleen"]], 2: [CODES["Kidney"]]}, grid=grid_of(folder))
    np.testing.assert_array_equal(codes, np.choose(labels, [0, 2, 1]))


TURNS = {
    "as it is": lambda volume: volume,
    "from the other end": lambda volume: volume.flip_spatial(0),
    "sagittal": lambda volume: volume.permute_spatial_axes([2, 0, 1]),
    "coronal, flipped": lambda volume: volume.permute_spatial_axes([1, 0, 2]).flip_spatial([1, 2]),
    "turned within the plane": lambda volume: volume.permute_spatial_axes([0, 2, 1]).flip_spatial([2]),
    "cropped": lambda volume: volume[2:7, 3:15, 5:20],
    "one slice": lambda volume: volume[4:5],
}


@pytest.mark.parametrize("turn", TURNS)
@pytest.mark.parametrize("kind", ["study", "oblique"])
def test_frames_turned_and_cropped(kind, turn, request):
    study = request.getfixturevalue(kind)
    volume = source_volume(study)
    labels = some_labels(volume.spatial_shape)
    labels[5] = 0  # a frame that is not stored
    turned = TURNS[turn](volume.with_array(labels))
    path = by_highdicom(study, turned)
    found = read_segments(path, names={1: ["Kidney"], 2: ["Liver"]}, grid=grid_of(study.folder))
    np.testing.assert_array_equal(found, to_grid(turned, study))
    assert found.any()


def test_fractions(study):
    volume = source_volume(study)
    values = np.random.default_rng(0).integers(0, 201, volume.spatial_shape)
    values[0, 0, :3] = 99, 100, 101
    volume = volume.with_array((values / 200).astype(np.float32))
    path = by_highdicom(study, volume, "FRACTIONAL", max_fractional_value=200)
    found = read_segments(path, names={1: ["Kidney"]}, grid=grid_of(study.folder))
    stored = pydicom.dcmread(path)
    assert (stored.MaximumFractionalValue, stored.SegmentationType) == (200, "FRACTIONAL")
    np.testing.assert_array_equal(found, to_grid(volume.with_array(values >= 100), study))


def test_label_map_segmentation(study):
    volume = source_volume(study)
    volume = volume.with_array(some_labels(volume.spatial_shape))
    path = by_highdicom(study, volume, "LABELMAP")
    assert pydicom.dcmread(path).SegmentationType == "LABELMAP"
    found = read_labels(path, names={5: ["Liver"], 3: ["Kidney"]}, grid=grid_of(study.folder))
    np.testing.assert_array_equal(found, np.choose(to_grid(volume, study), [0, 3, 5]))


def test_segments_that_overlap(study, caplog):
    array = np.zeros((*source_volume(study).spatial_shape, 2), dtype=np.uint8)
    array[2:5, 3:9, 3:9, 0] = 1
    array[4:6, 3:9, 3:9, 1] = 1
    path = by_highdicom(study, array)
    found = read_segments(path, names={1: ["Kidney"], 2: ["Liver"]}, grid=grid_of(study.folder))
    assert [(found == value).sum() for value in (1, 2)] == [2 * 36, 2 * 36]
    assert "label 2 takes 36 voxels from label 1" in caplog.text
    joined = read_segments(path, names={1: ["Kidney", "Liver"]}, grid=grid_of(study.folder))
    assert joined.sum() == 4 * 36


def moved(grid: Grid, shift) -> Grid:
    affine = np.array(grid.affine)
    affine[:3, 3] += affine[:3, :3] @ shift
    return Grid(shape=grid.shape, affine=affine)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_pixels_must_lie_on_voxels(study, axis):
    volume = source_volume(study)
    path = by_highdicom(study, volume.with_array(some_labels(volume.spatial_shape)))
    grid, names = grid_of(study.folder), {1: ["Kidney"], 2: ["Liver"]}
    expected = read_segments(path, names=names, grid=grid)
    # 0.01 voxel within the plane, a tenth of a step across it.
    for shift in (0.009, -0.009) if axis < 2 else (0.09, -0.09):
        found = read_segments(path, names=names, grid=moved(grid, shift * np.eye(3)[axis]))
        np.testing.assert_array_equal(found, expected)
    shift = 0.02 if axis < 2 else 0.12
    with pytest.raises(InputError, match=r"not on the grid of the image .*pixels within [\d.]+ mm .*got [\d.]+ mm in"):
        read_segments(path, names=names, grid=moved(grid, shift * np.eye(3)[axis]))
    coarse = Grid(shape=grid.shape, affine=grid.affine @ np.diag([*(1 + np.eye(3)[axis]), 1]))
    with pytest.raises(InputError, match="not on the grid of the image"):
        read_segments(path, names=names, grid=coarse)


def test_segments_that_reach_beyond_the_image(study, caplog):
    volume = source_volume(study)
    array = np.zeros(volume.spatial_shape, dtype=np.uint8)
    array[:, 3:5, 4:8] = 1
    path = by_highdicom(study, volume.with_array(array))
    grid, names = grid_of(study.folder), {1: ["Kidney"]}
    cut = Grid(shape=(7, 20, 9), affine=grid.affine)
    found = read_segments(path, names=names, grid=cut)
    np.testing.assert_array_equal(found, read_segments(path, names=names, grid=grid)[:7])
    assert "18 of 72 voxels lie outside the image" in caplog.text
    with pytest.raises(InputError, match="segment 'Kidney' lies wholly outside the image"):
        read_segments(path, names=names, grid=Grid(shape=(4, 20, 9), affine=grid.affine))


def test_what_cannot_be_used(study, tmp_path):
    volume = source_volume(study)
    path = by_highdicom(study, volume.with_array(some_labels(volume.spatial_shape)))
    grid = grid_of(study.folder)
    with pytest.raises(InputError, match=r"no segment is named 'kidny' .*got 'Kidney', 'Liver'"):
        read_segments(path, names={1: ["kidny"]}, grid=grid)
    other = Grid(shape=grid.shape, affine=grid.affine, frame_of_reference_uid="1.2.3")
    with pytest.raises(InputError, match="another frame of reference"):
        read_segments(path, names={1: ["Kidney"]}, grid=other)
    with pytest.raises(InputError, match=r"\.dcm: is a CT Image, not a segmentation"):
        read_segments(study.files[0], names={1: ["Kidney"]}, grid=grid)


def test_jittered_slices(study, tmp_path):
    """Positions that a scanner rounded are of the frames, too."""

    def jitter(dataset, index):
        x, y, z = map(float, dataset.ImagePositionPatient)
        dataset.ImagePositionPatient = [x + 0.01 * (index % 2), y, f"{z + 0.05 * (index % 3 == 1):.3f}"]

    study.alter(jitter)
    reader = DicomSeriesReader()
    array, meta = reader.get_data(reader.read(study.folder))
    labels = some_labels(array.shape)
    path = write_segmentation(
        labels,
        affine=meta["affine"],
        source_files=meta["dicom_files"].split("\n"),
        segments=SEGMENTS,
        path=tmp_path / "seg.dcm",
    )
    np.testing.assert_array_equal(read_segments(path, names=NAMES, grid=grid_of(study.folder)), labels)
