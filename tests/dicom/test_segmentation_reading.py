"""SEG files read by themselves, against what highdicom reads and the labels that highdicom wrote."""

from __future__ import annotations

import highdicom
import numpy as np
import pydicom
import pytest
from dicom_altered import tilted
from highdicom.seg import Segmentation, SegmentDescription
from highdicom.sr.coding import CodedConcept
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian, RLELossless, generate_uid

from pipeline.dicom import DicomSeriesReader, Segment, choose, read_segmentation, scan, write_segmentation
from pipeline.errors import InputError

ANATOMY = ("123037004", "SCT", "Anatomical Structure")
NAMES = {"Kidney": "64033007", "Liver": "10200004"}
LPS_TO_RAS = np.diag([-1, -1, 1, 1])


def some_labels(shape) -> np.ndarray:
    return np.random.default_rng(0).choice(3, size=shape, p=[0.7, 0.2, 0.1]).astype(np.uint8)


def description(number, name="Kidney", code=None):
    return SegmentDescription(
        segment_number=number,
        segment_label=name,
        segmented_property_category=CodedConcept(*ANATOMY),
        segmented_property_type=code or CodedConcept(NAMES[name], "SCT", name),
        algorithm_type="MANUAL",
    )


def by_highdicom(study, array, kind="BINARY", *, descriptions=None, syntax=ExplicitVRLittleEndian, **kwargs):
    path = study.folder.parent / "seg.dcm"
    Segmentation(
        source_images=study.read(),
        pixel_array=array,
        segmentation_type=kind,
        segment_descriptions=descriptions or [description(1), description(2, "Liver")],
        series_instance_uid=generate_uid(),
        series_number=7,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer="test",
        manufacturer_model_name="test",
        software_versions="1",
        device_serial_number="1",
        transfer_syntax_uid=syntax,
        **kwargs,
    ).save_as(path)
    return path


def truth(path) -> tuple[np.ndarray, np.ndarray]:
    """What highdicom makes of a file: the labels (i, j, k), and the affine to RAS mm."""
    volume = highdicom.seg.segread(path).get_volume(combine_segments=True)
    return volume.array.transpose(2, 1, 0), LPS_TO_RAS @ volume.affine[:, [2, 1, 0, 3]]


def check_same(volume, array, affine) -> None:
    """The same labels at the same places, whichever end the slices begin at."""
    if affine[:3, 2] @ volume.affine[:3, 2] < 0:
        turn = np.diag([1.0, 1, -1, 1])
        turn[2, 3] = array.shape[2] - 1
        array, affine = array[:, :, ::-1], affine @ turn
    np.testing.assert_allclose(volume.affine, affine, atol=1e-5)
    np.testing.assert_array_equal(volume.labels, array)


@pytest.mark.parametrize(("kind", "syntax"), [("BINARY", ExplicitVRLittleEndian), ("LABELMAP", RLELossless)])
@pytest.mark.parametrize("source", ["study", "oblique"])
def test_frames_that_are_left_out(source, kind, syntax, request):
    study = request.getfixturevalue(source)
    labels = some_labels((9, 20, 24))
    labels[[0, 3, 4, 8]] = 0
    path = by_highdicom(study, labels, kind, syntax=syntax)
    assert pydicom.dcmread(path).NumberOfFrames == (10 if kind == "BINARY" else 5)
    volume = read_segmentation(path)
    assert volume.labels.shape == (24, 20, 7)
    assert volume.labels.dtype == np.uint8
    check_same(volume, *truth(path))
    np.testing.assert_array_equal(np.unique(np.nonzero(volume.labels)[2]), [0, 1, 2, 5, 6])
    assert volume.frame_of_reference_uid == study.read()[0].FrameOfReferenceUID


def test_without_a_stated_spacing(study):
    """The smallest step decides; where no step fits, the file is refused."""
    labels = some_labels((9, 20, 24))
    labels[[0, 3, 4]] = 0
    path = by_highdicom(study, labels)
    expected = read_segmentation(path)
    dataset = pydicom.dcmread(path)
    del dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SpacingBetweenSlices
    dataset.save_as(path)
    volume = read_segmentation(path)
    np.testing.assert_array_equal(volume.labels, expected.labels)
    np.testing.assert_allclose(volume.affine, expected.affine)
    labels[:] = 0
    labels[[0, 2, 5]] = 1
    path = by_highdicom(study, labels)
    dataset = pydicom.dcmread(path)
    del dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SpacingBetweenSlices
    dataset.save_as(path)
    with pytest.raises(
        InputError, match=r"not evenly spaced .*multiples of 6.000 mm .*got 6.000 to 9.000 mm.*reference"
    ):
        read_segmentation(path)


def test_one_frame(study):
    labels = np.zeros((9, 20, 24), dtype=np.uint8)
    labels[4, 3:9, 5:7] = 2
    path = by_highdicom(study, labels, descriptions=[description(1), description(2, "Liver")])
    volume = read_segmentation(path)
    np.testing.assert_array_equal(volume.labels[:, :, 0], labels[4].T)
    source = study.read()[4]
    position = np.array(source.ImagePositionPatient, dtype=float) * (-1, -1, 1)
    np.testing.assert_allclose(volume.affine[:3, 3], position)
    np.testing.assert_allclose(np.linalg.norm(volume.affine[:3, :3], axis=0), [2.0, 2.5, 3.0])


def test_fractions(study):
    values = np.random.default_rng(0).integers(0, 201, (9, 20, 24))
    values[0, 0, :3] = 99, 100, 101
    array = (values / 200).astype(np.float32)
    path = by_highdicom(study, array, "FRACTIONAL", descriptions=[description(1)], max_fractional_value=200)
    volume = read_segmentation(path)
    # The study's slices are from the feet up, the reader's from the head down.
    np.testing.assert_array_equal(volume.labels, (values >= 100)[::-1].transpose(2, 1, 0))


def test_overlapping_segments(study, caplog):
    array = np.zeros((9, 20, 24, 2), dtype=np.uint8)
    array[2:5, 3:9, 3:9, 0] = 1
    array[4:6, 3:9, 3:9, 1] = 1
    path = by_highdicom(study, array)
    volume = read_segmentation(path)
    assert [(volume.labels == value).sum() for value in (1, 2)] == [2 * 36, 2 * 36]
    assert "label 2 takes 36 voxels from label 1" in caplog.text


def test_segments_and_background_of_a_label_map(study):
    labels = some_labels((9, 20, 24))
    labels[labels == 2] = 7
    parts = [description(1), description(7, "Liver")]
    path = by_highdicom(study, labels, "LABELMAP", descriptions=parts)
    volume = read_segmentation(path)
    check_same(volume, *truth(path))
    assert [(one.value, one.name) for one in volume.segments] == [(1, "Kidney"), (7, "Liver")]
    liver = volume.segments[1]
    assert (liver.category, liver.property_type) == (ANATOMY, ("10200004", "SCT", "Liver"))
    background = description(1, code=codes.DCM.Background)
    path = by_highdicom(study, labels, "LABELMAP", descriptions=[background, parts[1]])
    assert [one.value for one in read_segmentation(path).segments] == [7]
    np.testing.assert_array_equal(read_segmentation(path).labels, np.where(volume.labels == 7, 7, 0))


def test_a_label_map_of_16_bits(study):
    labels = some_labels((9, 20, 24)).astype(np.uint16) * 1000
    path = by_highdicom(study, labels, "LABELMAP", descriptions=[description(1000), description(2000, "Liver")])
    volume = read_segmentation(path)
    assert volume.labels.dtype == np.uint16
    check_same(volume, *truth(path))
    assert [one.value for one in volume.segments] == [1000, 2000]


def test_values_without_a_description(study):
    labels = some_labels((9, 20, 24))
    path = by_highdicom(study, labels, "LABELMAP")
    dataset = pydicom.dcmread(path)
    dataset.SegmentSequence = dataset.SegmentSequence[:2]
    dataset.save_as(path)
    with pytest.raises(InputError, match=r"values that no segment describes \(got \[2\]\)"):
        read_segmentation(path)


@pytest.mark.parametrize("compression", ["none", "deflated"])
@pytest.mark.parametrize("segmentation_type", ["binary", "labelmap"])
def test_round_trip(oblique, tmp_path, segmentation_type, compression):
    reader = DicomSeriesReader()
    array, meta = reader.get_data(reader.read(oblique.folder))
    labels = some_labels(array.shape)
    left = ("7771000", "SCT", "Left")
    segments = (
        Segment(value=1, name="Niere ü", category=ANATOMY, property_type=("64033007", "SCT", "Kidney"), modifier=left),
        Segment(
            value=2, name="Milz", category=ANATOMY, property_type=("78961009", "SCT", "Spleen"), color=(200, 60, 0)
        ),
    )
    oblique.alter(lambda dataset, _: setattr(dataset, "SpecificCharacterSet", "ISO_IR 192"))
    path = write_segmentation(
        labels,
        affine=meta["affine"],
        source_files=meta["dicom_files"].split("\n"),
        segments=segments,
        path=tmp_path / "seg.dcm",
        segmentation_type=segmentation_type,
        compression=compression,
    )
    volume = read_segmentation(path)
    np.testing.assert_array_equal(volume.labels, labels)
    np.testing.assert_allclose(volume.affine, meta["affine"], atol=1e-9)
    assert volume.segments == segments


@pytest.mark.parametrize("kind", tilted.KINDS[:2], ids=tilted.name)
def test_tilted_slices(kind, tmp_path):
    kind.write(tmp_path / "series")
    series = choose(scan(tmp_path / "series"))
    slices, rows, columns = series.tilted.geometry.spatial_shape
    labels = some_labels((columns, rows, slices))
    segments = [Segment(value=v, name=str(v), category=ANATOMY, property_type=ANATOMY) for v in (1, 2)]
    path = write_segmentation(
        labels,
        affine=series.tilted.ras_affine,
        source_files=series.files,
        segments=segments,
        path=tmp_path / "seg.dcm",
    )
    volume = read_segmentation(path)
    np.testing.assert_array_equal(volume.labels, labels)
    np.testing.assert_allclose(volume.affine, series.tilted.ras_affine, atol=1e-6)


def test_frames_that_are_no_volume(study):
    path = by_highdicom(study, some_labels((9, 20, 24)))
    original = pydicom.dcmread(path)

    def altered(change):
        dataset = pydicom.dcmread(path)
        for number, groups in enumerate(dataset.PerFrameFunctionalGroupsSequence):
            change(groups, number)
        target = path.with_name("altered.dcm")
        dataset.save_as(target)
        return target

    def shift(groups, number):
        if number == 5:
            x, y, z = groups.PlanePositionSequence[0].ImagePositionPatient
            groups.PlanePositionSequence[0].ImagePositionPatient = [x + 1, y, z]

    def turn(groups, number):
        orientation = pydicom.Dataset()
        orientation.ImageOrientationPatient = [0, 1, 0, -1, 0, 0] if number == 5 else [1, 0, 0, 0, 1, 0]
        groups.PlaneOrientationSequence = [orientation]

    def lose(groups, number):
        if number == 5:
            del groups.PlanePositionSequence

    assert original.NumberOfFrames == 18
    for change, words in (
        (shift, r"not stacked evenly .*got 1 mm in frame 6"),
        (turn, "frames differ in direction"),
        (lose, "a frame has no PlanePositionSequence"),
    ):
        with pytest.raises(InputError, match=words):
            read_segmentation(altered(change))
    with pytest.raises(InputError, match=r"\.dcm: is a CT Image, not a segmentation"):
        read_segmentation(study.files[0])
