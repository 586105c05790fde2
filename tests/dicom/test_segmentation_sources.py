"""DICOM SEG written on sources of every kind, looked at with pydicom alone."""

from __future__ import annotations

import numpy as np
import pydicom
import pytest
from dicom_altered import tilted
from dicom_altered.series import KINDS
from dicom_altered.slices import CANARIES, CANARY_ID, stack
from dicom_altered.slices import write as write_slices
from monai.transforms import LoadImaged
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, RLELossless

from pipeline.dicom import DicomSeriesReader, Segment, choose, scan, write_segmentation
from pipeline.errors import InputError
from pipeline.sources import CaseReader
from pipeline.transforms import SaveSegmentationd

TISSUE = ("85756007", "SCT", "Tissue")
SEGMENTS = [Segment(value=v, name=f"Part {v}", category=TISSUE, property_type=TISSUE) for v in (1, 7, 2)]
VALUES = [1, 7, 2]
SOUND = [name for name, kind in KINDS.items() if kind.refuse is None and not kind.real]
NO_FRAME_OF_REFERENCE = {"frame_of_reference_missing"}


def some_labels(shape) -> np.ndarray:
    """Without any symmetry; 7 is nowhere."""
    return np.random.default_rng(3).choice(3, size=shape, p=[0.6, 0.3, 0.1]).astype(np.uint8)


def read(folder, series=None):
    reader = DicomSeriesReader(series=series)
    return reader.get_data(reader.read(folder))


def write(labels, meta, path, **kwargs):
    files = meta["dicom_files"].split("\n")[::-1]
    arguments = {"affine": meta["affine"], "source_files": files, "series": meta["dicom_series"]}
    return write_segmentation(labels, segments=SEGMENTS, path=path, **(arguments | kwargs))


def source_positions(folder) -> dict[tuple[str, int], np.ndarray]:
    """Of each frame of each file, by SOPInstanceUID and number of the frame."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.name.startswith("."):
            dataset = pydicom.dcmread(path, force=True, stop_before_pixels=True)
            shared = dataset.get("SharedFunctionalGroupsSequence", [pydicom.Dataset()])[0]
            for number, groups in enumerate(dataset.get("PerFrameFunctionalGroupsSequence", [None]), start=1):
                plane = dataset if groups is None else groups.get("PlanePositionSequence", None)
                plane = shared.PlanePositionSequence[0] if plane is None else plane
                plane = plane[0] if isinstance(plane, pydicom.Sequence) else plane
                found[dataset.get("SOPInstanceUID"), number] = np.array(plane.get("ImagePositionPatient"), dtype=float)
    return found


def check(path, labels, affine, positions, values=VALUES) -> None:
    """Each frame lies where the source frame lies that it refers to, and holds the labels of that place."""
    dataset = pydicom.dcmread(path)
    frames = dataset.pixel_array
    frames = frames[np.newaxis] if frames.ndim == 2 else frames
    slices = labels.shape[2]
    assert len(frames) == len(values) * slices
    seen = set()
    for frame, groups in zip(frames, dataset.PerFrameFunctionalGroupsSequence, strict=True):
        source = groups.DerivationImageSequence[0].SourceImageSequence[0]
        position = positions[source.ReferencedSOPInstanceUID, source.get("ReferencedFrameNumber", 1)]
        own = np.array(groups.PlanePositionSequence[0].ImagePositionPatient, dtype=float)
        np.testing.assert_allclose(own, position, atol=1e-9)
        voxel = np.linalg.solve(affine, [*(position * (-1, -1, 1)), 1])[:3]
        k = round(voxel[2])
        assert np.abs(voxel - (0, 0, k)).max() < 0.1
        shared = dataset.SharedFunctionalGroupsSequence[0]
        identified = groups.get("SegmentIdentificationSequence") or shared.get("SegmentIdentificationSequence")
        number = identified[0].ReferencedSegmentNumber if identified else None
        seen.add((number, k))
        expected = labels[:, :, k].T if number is None else np.equal(labels[:, :, k].T, values[number - 1])
        np.testing.assert_array_equal(frame, expected)
    assert len(seen) == len(frames)


@pytest.mark.parametrize("name", SOUND)
def test_every_kind_of_source(name, tmp_path):
    folder = tmp_path / "series"
    KINDS[name].make(folder)
    array, meta = read(folder)
    labels = some_labels(array.shape)
    if name in NO_FRAME_OF_REFERENCE:
        with pytest.raises(InputError, match="no FrameOfReferenceUID"):
            write(labels, meta, tmp_path / "seg.dcm")
        return
    path = write(labels, meta, tmp_path / "seg.dcm")
    check(path, labels, meta["affine"], source_positions(folder))
    measures = pydicom.dcmread(path).SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    if array.shape[2] > 1:
        along = np.cross(meta["affine"][:3, 0], meta["affine"][:3, 1])
        step = abs(meta["affine"][:3, 2] @ along) / np.linalg.norm(along)
        assert float(measures.SpacingBetweenSlices) == pytest.approx(step, abs=1e-5)
    assert float(measures.SliceThickness) > 0


@pytest.mark.parametrize(
    "name", ["enhanced_two_echoes", "enhanced_two_times", "enhanced_two_stacks", "two_echoes", "axial_and_coronal"]
)
def test_one_volume_of_several(name, tmp_path):
    folder = tmp_path / "series"
    if name == "axial_and_coronal":
        write_slices([*stack(), *stack(orientation=(1, 0, 0, 0, 0, -1), count=5, seed=9)], folder)
    else:
        KINDS[name].make(folder)
    volumes = scan(folder).series
    assert len(volumes) >= 2
    positions = source_positions(folder)
    for number, volume in enumerate(volumes, start=1):
        array, meta = read(folder, volume.name)
        assert meta["dicom_series"] == f"{meta['dicom_series_uid']}/{number}"
        labels = some_labels(array.shape)
        path = write(labels, meta, tmp_path / f"{number}.dcm")
        check(path, labels, meta["affine"], positions)
        everything = [file for file in folder.rglob("*") if file.is_file()]
        again = write(labels, meta, tmp_path / f"{number}.dcm", source_files=everything, series=volume.name)
        check(again, labels, meta["affine"], positions)
        frames = {(header.sop_instance_uid, header.frame + 1) for header in volume.frames.headers}
        instances = pydicom.dcmread(path).ReferencedSeriesSequence[0].ReferencedInstanceSequence
        assert {item.ReferencedSOPInstanceUID for item in instances} == {uid for uid, _ in frames}


def test_the_transform_that_saves_names_the_volume(tmp_path):
    """All echoes of an enhanced image are in one file: only the selector tells which one was segmented."""
    folder = tmp_path / "series"
    KINDS["enhanced_two_echoes"].make(folder)
    data = LoadImaged("image", reader=CaseReader(series="1/2"), ensure_channel_first=True)({"image": folder})
    labels = some_labels(data["image"].shape[1:])
    segments = [{"value": v, "name": str(v), "category": TISSUE, "property_type": TISSUE} for v in (1, 2)]
    save = SaveSegmentationd("pred", output_dir=tmp_path, segments=segments, algorithm="test", version="1")
    save(data | {"pred": labels[np.newaxis], "name": "seg"})
    affine = data["image"].meta["original_affine"]
    check(tmp_path / "seg.dcm", labels, np.asarray(affine), source_positions(folder), values=[1, 2])
    echo = scan(folder).series[1].frames.headers
    referred = {
        item.DerivationImageSequence[0].SourceImageSequence[0].ReferencedFrameNumber
        for item in pydicom.dcmread(tmp_path / "seg.dcm").PerFrameFunctionalGroupsSequence
    }
    assert referred == {header.frame + 1 for header in echo}


@pytest.mark.parametrize("name", ["japanese", "oblique", "enhanced_ct"])
def test_texts_of_any_language(name, tmp_path):
    """The source's texts stay what they are, whatever characters the names of segments need."""
    folder = tmp_path / "series"
    KINDS[name].make(folder)
    if name == "oblique":
        for file in folder.iterdir():
            dataset = pydicom.dcmread(file)
            dataset.SpecificCharacterSet, dataset.StudyDescription = "ISO_IR 100", "Köpfe"
            dataset.save_as(file)
    array, meta = read(folder)
    source = pydicom.dcmread(next(folder.iterdir()))
    for label in ("Liver", "Leber, größer", "肝臓"):
        segment = Segment(value=1, name=label, category=TISSUE, property_type=TISSUE)
        labels = np.minimum(some_labels(array.shape), 1)
        path = tmp_path / "seg.dcm"
        write_segmentation(labels, affine=meta["affine"], source_files=folder.iterdir(), segments=[segment], path=path)
        dataset = pydicom.dcmread(path)
        assert dataset.SegmentSequence[0].SegmentLabel == label
        assert str(dataset.PatientName) == str(source.PatientName)
        if name == "oblique":
            assert dataset.StudyDescription == "Köpfe"


@pytest.mark.parametrize("kind", tilted.KINDS, ids=tilted.name)
def test_tilted_slices_as_acquired(kind, tmp_path):
    folder = tmp_path / "series"
    kind.write(folder)
    series = choose(scan(folder))
    assert series.problem is not None
    affine = series.tilted.ras_affine
    slices, rows, columns = series.tilted.geometry.spatial_shape
    labels = some_labels((columns, rows, slices))
    path = write_segmentation(
        labels, affine=affine, source_files=series.files, segments=SEGMENTS, path=tmp_path / "seg.dcm"
    )
    check(path, labels, affine, source_positions(folder))


@pytest.mark.parametrize(
    ("segmentation_type", "compression", "syntax"),
    [
        ("binary", None, ExplicitVRLittleEndian),
        ("binary", "none", ExplicitVRLittleEndian),
        ("binary", "deflated", DeflatedExplicitVRLittleEndian),
        ("labelmap", None, RLELossless),
        ("labelmap", "rle", RLELossless),
        ("labelmap", "none", ExplicitVRLittleEndian),
        ("labelmap", "deflated", DeflatedExplicitVRLittleEndian),
    ],
)
@pytest.mark.parametrize("name", ["oblique", "enhanced_shuffled_ct", "single_slice"])
def test_types_and_compressions(name, segmentation_type, compression, syntax, tmp_path):
    folder = tmp_path / "series"
    KINDS[name].make(folder)
    array, meta = read(folder)
    labels = some_labels(array.shape)
    path = write(labels, meta, tmp_path / "seg.dcm", segmentation_type=segmentation_type, compression=compression)
    labelled = segmentation_type == "labelmap"
    check(path, labels, meta["affine"], source_positions(folder), values=[None] if labelled else VALUES)
    dataset = pydicom.dcmread(path)
    assert dataset.file_meta.TransferSyntaxUID == syntax
    assert dataset.SegmentationType == segmentation_type.upper()
    numbers = {item.SegmentNumber: item.SegmentLabel for item in dataset.SegmentSequence}
    # In a label map the values are the numbers, and the background is described, too.
    parts = {1: "Part 1", 2: "Part 2", 7: "Part 7"} if labelled else {1: "Part 1", 2: "Part 7", 3: "Part 2"}
    assert numbers == ({0: "Background"} if labelled else {}) | parts


def test_unknown_types_and_compressions(tmp_path):
    KINDS["oblique"].make(tmp_path / "series")
    array, meta = read(tmp_path / "series")
    for options, words in (
        (
            {"compression": "rle"},
            r"no such compression of a binary segmentation \(expected none or deflated, got 'rle'",
        ),
        ({"segmentation_type": "fractional"}, r"unknown type .*expected binary or labelmap, got 'fractional'"),
        ({"segmentation_type": "labelmap", "compression": "jpeg"}, r"expected rle or none or deflated, got 'jpeg'"),
    ):
        with pytest.raises(InputError, match=words):
            write(some_labels(array.shape), meta, tmp_path / "seg.dcm", **options)
    assert not (tmp_path / "seg.dcm").exists()


def test_what_a_source_lacks(tmp_path):
    """An anonymised source may lack elements that may be empty, but not those that may not."""
    folder = tmp_path / "series"
    KINDS["oblique"].make(folder)

    def remove(*keywords):
        for file in folder.iterdir():
            dataset = pydicom.dcmread(file)
            for keyword in keywords:
                del dataset[keyword]
            dataset.save_as(file)

    remove("PatientName", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID", "AccessionNumber")
    array, meta = read(folder)
    labels = some_labels(array.shape)
    path = write(labels, meta, tmp_path / "seg.dcm")
    check(path, labels, meta["affine"], source_positions(folder))
    dataset = pydicom.dcmread(path)
    assert (dataset.PatientID, str(dataset.PatientName), dataset.StudyDate) == (CANARY_ID, "", "")
    remove("StudyInstanceUID")
    with pytest.raises(InputError, match="headers lack what it must repeat") as refusal:
        write(labels, meta, tmp_path / "other.dcm")
    assert not any(canary in str(refusal.value).casefold() for canary in CANARIES)
    assert not (tmp_path / "other.dcm").exists()
