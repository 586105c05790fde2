from __future__ import annotations

import warnings

import highdicom
import nibabel
import numpy as np
import pydicom
import pytest
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from pipeline.dicom import Algorithm, DicomSeriesReader, Segment, write_segmentation
from pipeline.errors import InputError

ANATOMY = ("123037004", "SCT", "Anatomical Structure")
LEFT = ("7771000", "SCT", "Left")
SEGMENTS = (
    Segment(
        value=1,
        name="Kidney",
        category=ANATOMY,
        property_type=("64033007", "SCT", "Kidney"),
        modifier=LEFT,
        color=(200, 60, 40),
    ),
    Segment(value=4, name="Liver", category=ANATOMY, property_type=("10200004", "SCT", "Liver")),
    Segment(value=2, name="Spleen", category=ANATOMY, property_type=("78961009", "SCT", "Spleen")),
)


def read(source):
    reader = DicomSeriesReader()
    return reader.get_data(reader.read(source))


def some_labels(shape) -> np.ndarray:
    """Labels 0, 1 and 2, so that label 4 is an empty segment, without any symmetry."""
    return np.random.default_rng(0).choice(3, size=shape, p=[0.7, 0.2, 0.1]).astype(np.uint8)


def write(labels, meta, path, **kwargs):
    source_files = meta["dicom_files"].split("\n")[::-1]
    arguments = {"affine": meta["affine"], "source_files": source_files, "segments": SEGMENTS, "path": path} | kwargs
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return write_segmentation(labels, **arguments)


def by_pydicom(path) -> dict[int, dict[tuple[float, ...], np.ndarray]]:
    """The frames of each segment by their position, with nothing but pydicom."""
    dataset = pydicom.dcmread(path)
    pixels = dataset.pixel_array
    frames: dict[int, dict[tuple[float, ...], np.ndarray]] = {}
    for frame, groups in zip(pixels, dataset.PerFrameFunctionalGroupsSequence, strict=True):
        number = groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        position = tuple(map(float, groups.PlanePositionSequence[0].ImagePositionPatient))
        frames.setdefault(number, {})[position] = frame
    return frames


@pytest.mark.parametrize("kind", ["study", "oblique"])
def test_round_trip(kind, request, tmp_path):
    array, meta = read(request.getfixturevalue(kind).folder)
    labels = some_labels(array.shape)
    path = write(labels, meta, tmp_path / "out" / "seg.dcm")

    segmentation = highdicom.seg.segread(path)
    volume = segmentation.get_volume()
    lps_to_ras = np.diag([-1, -1, 1, 1])
    np.testing.assert_allclose(lps_to_ras @ volume.affine[:, [2, 1, 0, 3]], meta["affine"], atol=1e-5)
    for number, segment in enumerate(SEGMENTS):
        np.testing.assert_array_equal(volume.array[..., number].transpose(2, 1, 0), labels == segment.value)

    frames = by_pydicom(path)
    for k, source in enumerate(meta["dicom_files"].split("\n")):
        position = tuple(map(float, pydicom.dcmread(source).ImagePositionPatient))
        for number, segment in enumerate(SEGMENTS, start=1):
            np.testing.assert_array_equal(frames[number][position], np.equal(labels[:, :, k].T, segment.value))


def test_header(study, tmp_path):
    array, meta = read(study.folder)
    algorithm = Algorithm(name="kidneys", version="1.2")
    path = write(some_labels(array.shape), meta, tmp_path / "seg.dcm", algorithm=algorithm)
    dataset, source = pydicom.dcmread(path), study.read()[0]
    assert dataset.SegmentationType == "BINARY"
    kidney, liver = (dataset.SegmentSequence[i].SegmentedPropertyTypeCodeSequence[0] for i in (0, 1))
    assert kidney.SegmentedPropertyTypeModifierCodeSequence[0].CodeMeaning == "Left"
    assert "SegmentedPropertyTypeModifierCodeSequence" not in liver
    assert dataset.NumberOfFrames == 3 * 9, "empty frames and the empty segment are written too"
    assert dataset.ReferencedSeriesSequence[0].SeriesInstanceUID == source.SeriesInstanceUID
    referenced = {
        item.ReferencedSOPInstanceUID for item in dataset.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    }
    assert referenced == {slice_.SOPInstanceUID for slice_ in study.read()}
    for groups in dataset.PerFrameFunctionalGroupsSequence:
        image = groups.DerivationImageSequence[0].SourceImageSequence[0]
        position = groups.PlanePositionSequence[0].ImagePositionPatient
        match = next(one for one in study.read() if one.SOPInstanceUID == image.ReferencedSOPInstanceUID)
        assert match.ImagePositionPatient == position
    assert dataset.StudyInstanceUID == source.StudyInstanceUID
    assert dataset.FrameOfReferenceUID == source.FrameOfReferenceUID
    assert dataset.SeriesInstanceUID != source.SeriesInstanceUID
    first, second, _ = dataset.SegmentSequence
    assert (first.SegmentLabel, second.SegmentLabel) == ("Kidney", "Liver")
    assert first.SegmentedPropertyCategoryCodeSequence[0].CodeValue == "123037004"
    assert first.SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "Kidney"
    assert "RecommendedDisplayCIELabValue" in first
    assert "RecommendedDisplayCIELabValue" not in second
    assert first.SegmentAlgorithmType == "AUTOMATIC"
    identification = first.SegmentationAlgorithmIdentificationSequence[0]
    assert (identification.AlgorithmName, identification.AlgorithmVersion) == ("kidneys", "1.2")
    assert [file.name for file in tmp_path.iterdir() if file.is_file()] == ["seg.dcm"]


def test_empty_mask(study, tmp_path):
    array, meta = read(study.folder)
    path = write(np.zeros(array.shape, dtype=np.uint8), meta, tmp_path / "seg.dcm")
    dataset = pydicom.dcmread(path)
    assert len(dataset.SegmentSequence) == 3
    assert dataset.NumberOfFrames == 27
    assert not dataset.pixel_array.any()


@pytest.mark.parametrize("count", [1, 2])
def test_few_slices(study, tmp_path, count):
    array, meta = read(study.files[:count])
    labels = some_labels(array.shape)
    path = write(labels, meta, tmp_path / "seg.dcm", segments=[SEGMENTS[0], SEGMENTS[2]])
    found = sum(number * np.stack(list(frames.values())) for number, frames in by_pydicom(path).items())
    np.testing.assert_array_equal(found.transpose(2, 1, 0), labels)


def test_jittered_frames_keep_their_own_positions(study, tmp_path):
    def jitter(dataset, index):
        x, y, z = dataset.ImagePositionPatient
        dataset.ImagePositionPatient = [x, y, f"{float(z) + 0.01 * (index % 2):.3f}"]

    study.alter(jitter)
    array, meta = read(study.folder)
    frames = by_pydicom(write(some_labels(array.shape), meta, tmp_path / "seg.dcm"))
    assert set(frames[1]) == {tuple(map(float, dataset.ImagePositionPatient)) for dataset in study.read()}


def test_enhanced_source(study, tmp_path):
    enhanced = highdicom.legacy.LegacyConvertedEnhancedCTImage(
        study.read(), generate_uid(), 9, generate_uid(), 1, transfer_syntax_uid=ExplicitVRLittleEndian
    )
    enhanced.save_as(tmp_path / "enhanced.dcm")
    array, meta = read(tmp_path / "enhanced.dcm")
    labels = some_labels(array.shape)
    volume = highdicom.seg.segread(write(labels, meta, tmp_path / "seg.dcm")).get_volume()
    np.testing.assert_array_equal(volume.array[..., 0].transpose(2, 1, 0), labels == 1)


def test_real_series(shared_data, tmp_path):
    for modality in ("CT", "MR_T1", "PET"):
        array, meta = read(shared_data / "STS_Sarcoma" / "STS_001" / modality / "image")
        labels = (array > np.quantile(array, 0.9)).astype(np.uint8)
        path = write(labels, meta, tmp_path / f"{modality}.dcm", segments=SEGMENTS[:1])
        volume = highdicom.seg.segread(path).get_volume(combine_segments=True)
        np.testing.assert_array_equal(volume.array.transpose(2, 1, 0), labels)


def test_a_name_of_one_part_is_not_shown(study, tmp_path, capfd):
    study.alter(lambda dataset, _index: setattr(dataset, "PatientName", "Onepart"))
    array, meta = read(study.folder)
    path = write(some_labels(array.shape), meta, tmp_path / "seg.dcm")
    assert pydicom.dcmread(path).PatientName == "Onepart"
    assert "Onepart" not in "".join(capfd.readouterr())


def test_label_without_a_description(study, tmp_path):
    array, meta = read(study.folder)
    labels = some_labels(array.shape)
    labels[0, 0, 0], labels[1, 0, 0] = 3, 9
    with pytest.raises(InputError, match=r"labels that no segment describes .*got \[3, 9\]"):
        write(labels, meta, tmp_path / "seg.dcm")
    assert not (tmp_path / "seg.dcm").exists()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_another_grid(study, tmp_path, axis):
    array, meta = read(study.folder)
    labels = some_labels(array.shape)
    shift = np.eye(4)
    shift[axis, 3] = 0.02
    for change in (shift, np.diag([1.001, 1.001, 1.01, 1])):
        with pytest.raises(InputError, match=r"do not lie on the source images .*voxel off"):
            write(labels, meta, tmp_path / "seg.dcm", affine=meta["affine"] @ change)
    assert not (tmp_path / "seg.dcm").exists()
    shift[axis, 3] = 0.005
    write(labels, meta, tmp_path / "seg.dcm", affine=meta["affine"] @ shift)


TURNS = {
    "flipped": [[0, -1], [1, 1], [2, -1]],
    "coronal": [[0, 1], [2, 1], [1, -1]],
    "turned": [[1, -1], [2, 1], [0, 1]],
}


@pytest.mark.parametrize("turn", TURNS)
@pytest.mark.parametrize("kind", ["study", "oblique"])
def test_labels_turned_and_cut_out(kind, turn, request, tmp_path):
    """nibabel turns and crops the labels, and pydicom finds them where they were."""
    array, meta = read(request.getfixturevalue(kind).folder)
    labels = some_labels(array.shape)
    labels[:3], labels[:, 15:], labels[:, :, 0] = 0, 0, 0
    box = nibabel.Nifti2Image(labels, meta["affine"]).slicer[3:, :15, 1:]
    turned = box.as_reoriented(np.array(TURNS[turn]))
    assert turned.shape != labels.shape
    path = write(np.asarray(turned.dataobj), meta, tmp_path / "seg.dcm", affine=turned.affine)
    frames = by_pydicom(path)
    for k, source in enumerate(meta["dicom_files"].split("\n")):
        position = tuple(map(float, pydicom.dcmread(source).ImagePositionPatient))
        for number, segment in enumerate(SEGMENTS, start=1):
            np.testing.assert_array_equal(frames[number][position], np.equal(labels[:, :, k].T, segment.value))


def test_a_failure_leaves_the_older_file(study, tmp_path, monkeypatch):
    array, meta = read(study.folder)
    path = tmp_path / "seg.dcm"
    path.write_bytes(b"older")

    def fail(self, target, *args, **kwargs):
        target.write_bytes(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(highdicom.seg.Segmentation, "save_as", fail)
    with pytest.raises(InputError, match=r"cannot be written .*no space"):
        write(some_labels(array.shape), meta, path)
    assert path.read_bytes() == b"older"
    assert [file.name for file in tmp_path.iterdir() if file.is_file()] == ["seg.dcm"]
