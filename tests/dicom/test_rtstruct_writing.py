"""RTSTRUCT written from labels, filled again by matplotlib on the pixels of the source images."""

from __future__ import annotations

import itertools
import logging
import subprocess
import warnings

import numpy as np
import pydicom
import pytest
from dicom_altered import tilted
from dicom_altered.series import KINDS
from dicom_altered.slices import CANARIES
from interoperability.programs import find_program
from matplotlib.path import Path as Outline
from pydicom.tag import Tag
from scipy.ndimage import binary_fill_holes, gaussian_filter
from scipy.ndimage import label as components

from pipeline.dicom import DicomSeriesReader, Grid, Segment, choose, read_rtstruct, scan, write_rtstruct
from pipeline.errors import InputError

ORGAN = ("123037004", "SCT", "Anatomical Structure")
CHANGED = ("49755003", "SCT", "Morphologically Altered Structure")
SEGMENTS = (
    Segment(
        value=1,
        name="Kidney",
        category=ORGAN,
        property_type=("64033007", "SCT", "Kidney"),
        modifier=("7771000", "SCT", "Left"),
        color=(200, 60, 40),
    ),
    Segment(value=7, name="Nowhere to be seen", category=ORGAN, property_type=("10200004", "SCT", "Liver")),
    Segment(value=2, name="Läsion", category=CHANGED, property_type=("52988006", "SCT", "Lesion")),
)
SOUND = [name for name, kind in KINDS.items() if kind.refuse is None and not kind.real]
NO_FRAME_OF_REFERENCE = {"frame_of_reference_missing"}


def read(folder, series=None):
    reader = DicomSeriesReader(series=series)
    return reader.get_data(reader.read(folder))


def write(labels, meta, path, **kwargs):
    arguments = {
        "affine": meta["affine"],
        "source_files": meta["dicom_files"].split("\n")[::-1],
        "series": meta["dicom_series"],
        "segments": SEGMENTS,
    }
    return write_rtstruct(labels, path=path, **(arguments | kwargs))


def source_planes(folder):
    """Position, steps per column and row, and size of each frame of each file, by pydicom alone."""
    planes = {}
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or path.name.startswith("."):
            continue
        dataset = pydicom.dcmread(path, force=True, stop_before_pixels=True)
        shared = dataset.get("SharedFunctionalGroupsSequence", [pydicom.Dataset()])[0]
        for number, own in enumerate(dataset.get("PerFrameFunctionalGroupsSequence", [None]), start=1):

            def of(sequence, keyword, dataset=dataset, shared=shared, own=own):
                group = dataset if own is None else (own.get(sequence) or shared[sequence].value)[0]
                return np.array(group.get(keyword), dtype=float)

            if dataset.get("ImagePositionPatient") is None and own is None:
                continue
            orientation = of("PlaneOrientationSequence", "ImageOrientationPatient").reshape(2, 3)
            spacing = of("PixelMeasuresSequence", "PixelSpacing")
            planes[dataset.SOPInstanceUID, number] = (
                of("PlanePositionSequence", "ImagePositionPatient"),
                orientation * spacing[::-1, np.newaxis],
                (dataset.Columns, dataset.Rows),
            )
    return planes


def polygons(path, planes):
    """For each ROI the contours, as (name, plane, corners in pixels (column, row))."""
    dataset = pydicom.dcmread(path)
    names = {item.ROINumber: item.ROIName for item in dataset.StructureSetROISequence}
    for roi in dataset.ROIContourSequence:
        for contour in roi.get("ContourSequence", ()):
            (image,) = contour.ContourImageSequence
            plane = image.ReferencedSOPInstanceUID, image.get("ReferencedFrameNumber", 1)
            position, steps, _size = planes[plane]
            points = np.array(contour.ContourData, dtype=float).reshape(-1, 3) - position
            assert len(points) == contour.NumberOfContourPoints
            normal = np.cross(*steps)
            assert np.abs(points @ normal / np.linalg.norm(normal)).max() < 2e-4, "mm off the plane of the source"
            corners, *_ = np.linalg.lstsq(steps.T, points.T, rcond=None)
            yield names[roi.ReferencedROINumber], plane, corners.T


def filled(path, planes):
    """For each ROI name and plane the mask (column, row), by exclusive or."""
    masks = {}
    for name, plane, corners in polygons(path, planes):
        mask = masks.setdefault((name, plane), np.zeros(planes[plane][2], dtype=bool))
        low, high = np.floor(corners.min(axis=0)).astype(int), np.ceil(corners.max(axis=0)).astype(int) + 1
        low, high = np.maximum(low, 0), np.minimum(high, mask.shape)
        about = np.moveaxis(np.indices(high - low), 0, -1) + low
        inside = Outline(np.concatenate([corners, corners[:1]])).contains_points(about.reshape(-1, 2))
        mask[low[0] : high[0], low[1] : high[1]] ^= inside.reshape(high - low)
    return masks


def check(path, labels, affine, folder, segments=SEGMENTS):
    planes = source_planes(folder)
    masks = filled(path, planes)
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    found = np.zeros_like(labels)
    values = {segment.name: segment.value for segment in segments}
    for (name, plane), mask in masks.items():
        i, j, k = np.linalg.solve(lps[:3, :3], planes[plane][0] - lps[:3, 3])
        assert max(abs(i), abs(j), abs(k - round(k))) < 0.1
        assert not (found[:, :, round(k)][mask]).any()
        found[:, :, round(k)][mask] = values[name]
    np.testing.assert_array_equal(found, labels)


def noise(shape, seed=0) -> np.ndarray:
    """Labels 0, 1 and 2 without any symmetry, full of holes, single pixels and pixels that touch at corners."""
    return np.random.default_rng(seed).choice(3, size=shape, p=[0.5, 0.3, 0.2]).astype(np.uint8)


def blobs(shape, seed=0) -> np.ndarray:
    field = gaussian_filter(np.random.default_rng(seed).normal(size=shape), 1.5)
    return (field > 0).astype(np.uint8) + (field > 0.1)


def rings(shape) -> np.ndarray:
    """An island in a hole in an island in a hole, about the middle."""
    middle = (np.array(shape[:2]) - 1) / 2
    away = np.abs(np.moveaxis(np.indices(shape[:2]), 0, -1) - middle).max(axis=-1)
    ring = (np.floor(away / 2) % 2) * (away < 8)
    return np.repeat(ring.astype(np.uint8)[..., np.newaxis], shape[2], axis=2)


def single_voxels(shape) -> np.ndarray:
    labels = np.zeros(shape, dtype=np.uint8)
    labels[3, 4, 2] = labels[9, 9, 8] = 1
    labels[5, 5, 4] = labels[6, 6, 4] = labels[7, 5, 4] = 2
    return labels


def corners(shape) -> np.ndarray:
    labels = np.zeros(shape, dtype=np.uint8)
    labels[:: shape[0] - 1, :: shape[1] - 1, :: shape[2] - 1] = 1
    labels[0, :, 3] = labels[:, -1, 3] = 2
    return labels


def everything(shape) -> np.ndarray:
    return np.ones(shape, dtype=np.uint8)


def nothing(shape) -> np.ndarray:
    return np.zeros(shape, dtype=np.uint8)


SHAPES = [noise, blobs, rings, single_voxels, corners, everything, nothing]


@pytest.mark.parametrize("make", SHAPES)
def test_the_labels_come_back(study, make, tmp_path, caplog):
    array, meta = read(study.folder)
    labels = make(array.shape)
    path = write(labels, meta, tmp_path / "rs.dcm")
    check(path, labels, meta["affine"], study.folder)
    grid = Grid.of_series(choose(scan(study.folder)))
    for segment in SEGMENTS:
        if (labels == segment.value).any():
            again = read_rtstruct(path, names={segment.value: [segment.name]}, grid=grid)
            np.testing.assert_array_equal(again == segment.value, labels == segment.value)
    assert caplog.text == ""


@pytest.mark.parametrize("name", SOUND)
def test_every_kind_of_source(name, tmp_path):
    folder = tmp_path / "series"
    KINDS[name].make(folder)
    array, meta = read(folder)
    labels = blobs(array.shape)
    if name in NO_FRAME_OF_REFERENCE:
        with pytest.raises(InputError, match="no FrameOfReferenceUID"):
            write(labels, meta, tmp_path / "rs.dcm")
        return
    path = write(labels, meta, tmp_path / "rs.dcm")
    check(path, labels, meta["affine"], folder)
    grid = Grid.of_series(choose(scan(folder)))
    names = {segment.value: [segment.name] for segment in SEGMENTS if segment.value != 7}
    np.testing.assert_array_equal(read_rtstruct(path, names=names, grid=grid), labels)


@pytest.mark.parametrize("name", ["enhanced_two_echoes", "two_echoes"])
def test_one_volume_of_several(name, tmp_path):
    folder = tmp_path / "series"
    KINDS[name].make(folder)
    everything_there = [file for file in folder.rglob("*") if file.is_file()]
    for number, volume in enumerate(scan(folder).series, start=1):
        array, meta = read(folder, volume.name)
        labels = blobs(array.shape, number)
        path = write(labels, meta, tmp_path / f"{number}.dcm", source_files=everything_there, series=volume.name)
        check(path, labels, meta["affine"], folder)
        study = pydicom.dcmread(path).ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence[0]
        referenced = {
            (image.ReferencedSOPInstanceUID, frame)
            for image in study.RTReferencedSeriesSequence[0].ContourImageSequence
            for frame in np.atleast_1d(image.get("ReferencedFrameNumber", 1))
        }
        frames = {(header.sop_instance_uid, header.frame + 1) for header in volume.frames.headers}
        assert referenced == frames


@pytest.mark.parametrize("kind", tilted.KINDS, ids=tilted.name)
def test_tilted_slices_as_acquired(kind, tmp_path):
    folder = tmp_path / "series"
    kind.write(folder)
    series = choose(scan(folder))
    slices, rows, columns = series.tilted.geometry.spatial_shape
    labels, affine = blobs((columns, rows, slices)), series.tilted.ras_affine
    path = write_rtstruct(labels, affine=affine, source_files=series.files, segments=SEGMENTS, path=tmp_path / "rs.dcm")
    check(path, labels, affine, folder)


def test_turned_labels_and_parts(oblique, tmp_path):
    array, meta = read(oblique.folder)
    labels = noise(array.shape)
    labels[:2] = labels[:, :3] = labels[:, :, -1:] = 0
    # Axes (k, j, i) with j and k the other way, without the empty margin.
    part = labels[2:, 3:, :-1].transpose(2, 1, 0)[::-1, ::-1]
    to_source = np.zeros((4, 4))
    to_source[2, 0] = to_source[1, 1] = -1
    to_source[0, 2] = to_source[3, 3] = 1
    to_source[:3, 3] = 2, array.shape[1] - 1, array.shape[2] - 2
    path = write(np.ascontiguousarray(part), meta, tmp_path / "rs.dcm", affine=meta["affine"] @ to_source)
    check(path, labels, meta["affine"], oblique.folder)


@pytest.mark.parametrize("make", [noise, blobs, rings, single_voxels])
def test_area_times_step_is_the_volume_of_the_voxels(oblique, make, tmp_path):
    array, meta = read(oblique.folder)
    labels = np.zeros(array.shape, dtype=np.uint8)
    inner = make((array.shape[0] - 2, array.shape[1] - 2, array.shape[2]))
    labels[1:-1, 1:-1] = inner  # at the border of the image the contours stay within it
    path = write(labels, meta, tmp_path / "rs.dcm")
    area = dict.fromkeys(("Kidney", "Läsion"), 0.0)
    for name, _plane, points in polygons(path, source_planes(oblique.folder)):
        x, y = points.T
        area[name] += (x * np.roll(y, -1) - y * np.roll(x, -1)).sum() / 2  # holes run the other way
    for name, value in (("Kidney", 1), ("Läsion", 2)):
        assert abs(area[name]) == pytest.approx((labels == value).sum(), rel=1e-4)
    stated = {item.ROIName: float(item.ROIVolume) for item in pydicom.dcmread(path).StructureSetROISequence}
    ml = 2.0 * 2.5 * 3.2 / 1000
    assert stated["Kidney"] == pytest.approx((labels == 1).sum() * ml, abs=1e-6)
    assert stated["Nowhere to be seen"] == 0


def test_contours_are_simple(study, tmp_path):
    """No corner is there twice, none stands on a line between its neighbours, and holes run the other way."""
    array, meta = read(study.folder)
    labels = rings(array.shape)
    path = write(labels, meta, tmp_path / "rs.dcm")
    contours = {}
    for _name, plane, points in polygons(path, source_planes(study.folder)):
        contours.setdefault(plane, []).append(points)
        before, after = points - np.roll(points, 1, axis=0), np.roll(points, -1, axis=0) - points
        turns = np.abs(before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0])
        assert turns.min() > 1e-3
    for found in contours.values():
        together = np.round(np.concatenate(found), 2)
        assert len(np.unique(together, axis=0)) == len(together)
        # Of nested rings each second one is a hole.
        areas = [((x := p[:, 0]) * np.roll(p[:, 1], -1) - p[:, 1] * np.roll(x, -1)).sum() for p in found]
        signs = [np.sign(area) for area in sorted(areas, key=abs)]
        assert len(signs) == 4
        assert all(one == -other for one, other in itertools.pairwise(signs))


def test_what_the_file_says(study, tmp_path):
    def name(dataset, _index):
        dataset.SpecificCharacterSet = "ISO_IR 100"
        dataset.PatientName = "Müller^Jörg"

    study.alter(name)
    array, meta = read(study.folder)
    labels = single_voxels(array.shape)
    dataset = pydicom.dcmread(write(labels, meta, tmp_path / "rs.dcm", series_description="Mine", series_number=77))
    sources = study.read()
    for keyword in ("StudyInstanceUID", "PatientID", "PatientName", "StudyDate", "StudyID", "FrameOfReferenceUID"):
        assert dataset[keyword].value == sources[0][keyword].value
    assert dataset.SpecificCharacterSet == "ISO_IR 192"
    assert (dataset.Modality, dataset.SeriesDescription, dataset.SeriesNumber) == ("RTSTRUCT", "Mine", 77)
    assert dataset.SeriesInstanceUID != sources[0].SeriesInstanceUID
    assert dataset.ApprovalStatus == "UNAPPROVED"
    (frame,) = dataset.ReferencedFrameOfReferenceSequence
    assert frame.FrameOfReferenceUID == sources[0].FrameOfReferenceUID
    (referenced,) = frame.RTReferencedStudySequence
    assert referenced.ReferencedSOPInstanceUID == sources[0].StudyInstanceUID
    (series,) = referenced.RTReferencedSeriesSequence
    assert series.SeriesInstanceUID == sources[0].SeriesInstanceUID
    assert {item.ReferencedSOPInstanceUID for item in series.ContourImageSequence} == {
        source.SOPInstanceUID for source in sources
    }
    rois = dataset.StructureSetROISequence
    assert [(roi.ROINumber, roi.ROIName) for roi in rois] == [(1, "Kidney"), (7, "Nowhere to be seen"), (2, "Läsion")]
    assert {roi.ROIGenerationAlgorithm for roi in rois} == {"AUTOMATIC"}
    assert [len(roi.get("ContourSequence", ())) for roi in dataset.ROIContourSequence] == [2, 0, 3]
    assert dataset.ROIContourSequence[0].ROIDisplayColor == [200, 60, 40]
    observations = dataset.RTROIObservationsSequence
    assert [item.ReferencedROINumber for item in observations] == [1, 7, 2]
    assert [item.RTROIInterpretedType for item in observations] == ["ORGAN", "ORGAN", ""]
    assert [item.RTROIIdentificationCodeSequence[0].CodeValue for item in observations] == [
        "64033007", "10200004", "52988006"
    ]  # fmt: skip
    modifiers = observations[0].RTROIIdentificationCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence
    assert (modifiers[0].CodeValue, modifiers[0].CodeMeaning) == ("7771000", "Left")


def test_coordinates_fit_their_vr(study, tmp_path):
    """Far from the origin a decimal string still has four decimals within its 16 characters."""

    def shift(dataset, _index):
        x, y, z = (float(value) for value in dataset.ImagePositionPatient)
        dataset.ImagePositionPatient = [f"{x - 12345.678901:.6f}", f"{y + 1 / 3:.6f}", f"{z - 98765.4321:.6f}"]

    study.alter(shift)
    array, meta = read(study.folder)
    labels = blobs(array.shape)
    path = write(labels, meta, tmp_path / "rs.dcm")
    check(path, labels, meta["affine"], study.folder)
    dataset = pydicom.dcmread(path)
    for roi in dataset.ROIContourSequence:
        for contour in roi.get("ContourSequence", ()):
            values = contour.get_item(Tag("ContourData")).value.decode().strip().split("\\")
            assert max(map(len, values)) <= 16
            assert all(len(value.split(".")[1]) == 4 for value in values)


def test_a_contour_of_more_bytes_than_an_explicit_vr_holds(study, tmp_path):
    def enlarge(dataset, _index):
        dataset.Rows, dataset.Columns = 400, 400
        dataset.PixelData = bytes(2 * 400 * 400)

    study.alter(enlarge)
    array, meta = read(study.folder)
    labels = np.zeros(array.shape, dtype=np.uint8)
    # One cluster near the percolation threshold, without its holes, has a long outline.
    numbered, _ = components(np.random.default_rng(0).random((398, 398)) < 0.61)
    labels[1:-1, 1:-1, 4] = binary_fill_holes(numbered == np.bincount(numbered.ravel())[1:].argmax() + 1)
    path = write(labels, meta, tmp_path / "rs.dcm")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        contours = pydicom.dcmread(path).ROIContourSequence[0].ContourSequence
        assert max(len(contour.get_item(Tag("ContourData")).value) for contour in contours) > 65534
    check(path, labels, meta["affine"], study.folder)


def test_refusals(study, tmp_path, caplog):
    array, meta = read(study.folder)
    labels = single_voxels(array.shape)
    path = tmp_path / "rs.dcm"
    for change, words in (
        ({"labels": labels.astype(np.int16)}, "not uint8"),
        ({"labels": np.where(labels, 9, 0).astype(np.uint8)}, r"no segment describes \(expected 0 or .*got \[9\]"),
        ({"affine": meta["affine"] + np.eye(4, k=3) * 0.4}, "do not lie on the source images"),
        ({"segments": (*SEGMENTS, SEGMENTS[0])}, "each once"),
    ):
        with pytest.raises(InputError, match=words):
            write(**({"labels": labels, "meta": meta, "path": path} | change))
    path.mkdir()
    with pytest.raises(InputError, match="cannot be written"):
        write(labels, meta, path)
    assert [file.name for file in tmp_path.iterdir() if file.name != "study"] == ["rs.dcm"]


def test_nothing_of_the_patient_is_told(tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    folder = tmp_path / "series"
    KINDS["oblique"].make(folder)
    array, meta = read(folder)
    with warnings.catch_warnings(record=True) as caught:
        path = write(noise(array.shape), meta, tmp_path / "rs.dcm")
    told = (caplog.text + path.name + " ".join(str(one.message) for one in caught)).casefold()
    assert not any(canary in told for canary in CANARIES)


def errors(path) -> list[str]:
    done = subprocess.run([find_program("dciodvfy"), "-new", path], capture_output=True, text=True, check=False)
    output = done.stdout + done.stderr
    assert "RTStructureSet" in output or "Error" in output
    return [line for line in output.splitlines() if line.startswith("Error")]


@pytest.mark.parametrize("name", ["oblique", "enhanced_shuffled_ct", "enhanced_mr", "single_slice"])
@pytest.mark.parametrize("make", [blobs, nothing])
def test_no_error_by_dciodvfy(name, make, tmp_path):
    folder = tmp_path / "series"
    KINDS[name].make(folder)
    array, meta = read(folder)
    assert errors(write(make(array.shape), meta, tmp_path / "rs.dcm")) == []


@pytest.mark.parametrize("patient", ["STS_001", "STS_002", "STS_045"])
def test_real_masks(shared_data, patient, tmp_path):
    folder = shared_data / "STS_Sarcoma" / patient / "MR_T1"
    _array, meta = read(folder / "image")
    grid = Grid.of_series(choose(scan(folder / "image")))
    labels = read_rtstruct(folder / "rtstruct" / "RS.dcm", names={2: ["gtv_mass_MR_T1"]}, grid=grid)
    path = write(labels, meta, tmp_path / "rs.dcm")
    assert labels.sum() > 1000
    check(path, labels, meta["affine"], folder / "image")
    np.testing.assert_array_equal(read_rtstruct(path, names={2: ["Läsion"]}, grid=grid), labels)
    assert errors(path) == []  # although the source's StudyID is longer than it may be
