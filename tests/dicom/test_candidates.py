from __future__ import annotations

import copy

import highdicom
import numpy as np
import pydicom
import pytest
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from pipeline.dicom import choose, load, scan
from pipeline.errors import InputError
from pipeline.workflows.inspect import inspect


def add_copies(study, change, files=None) -> None:
    """Write altered copies of the slices beside them, with other pixels."""
    for index, path in enumerate(study.files if files is None else files):
        dataset = pydicom.dcmread(path)
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        dataset.PixelData = (np.frombuffer(dataset.PixelData, "<i2") + 1).tobytes()
        change(dataset, index)
        dataset.save_as(path.with_name(f"z{path.name}"))


def choices(folder) -> str:
    with pytest.raises(InputError) as caught:
        choose(scan(folder))
    return str(caught.value)


def test_a_localizer_never_joins_a_stack(study):
    expected = load(choose(scan(study.folder))).array

    def scout(dataset, _index):
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]

    add_copies(study, scout, study.files[3:4])
    text = choices(study.folder)
    assert "2 image series: number 1/1 'Phantom' CT 24 x 20 x 9 at 2 x 2.5 x 3 mm;" in text
    assert "number 1/2 'Phantom' CT 24 x 20 x 1" in text
    assert "a localizer" in text
    for name in ("1/1", f"{study.read()[0].SeriesInstanceUID}/1", "Phantom/1"):
        np.testing.assert_array_equal(load(choose(scan(study.folder), name)).array, expected)


@pytest.mark.parametrize(
    ("keyword", "values"),
    [
        ("EchoTime", ("2.3", "10.5")),
        ("DiffusionBValue", (0.0, 1000.0)),
        ("TemporalPositionIdentifier", (1, 2)),
        ("AcquisitionTime", ("120000", "120130")),
        ("TriggerTime", ("9", "100")),
    ],
)
def test_volumes_at_the_same_positions_are_told_apart(study, keyword, values):
    expected = load(choose(scan(study.folder))).array
    study.alter(lambda dataset, _index: setattr(dataset, keyword, values[0]))
    add_copies(study, lambda dataset, _index: setattr(dataset, keyword, values[1]))
    text = choices(study.folder)
    for part, value in enumerate(values, start=1):
        assert f"number 1/{part} 'Phantom' CT 24 x 20 x 9" in text
        shown = f"{value:g}" if isinstance(value, float) else str(value)
        assert f" {shown}" in text
        np.testing.assert_array_equal(load(choose(scan(study.folder), f"1/{part}")).array, expected + part - 1)


def test_an_echo_that_lacks_a_slice_is_refused_alone(study):
    study.alter(lambda dataset, _index: setattr(dataset, "EchoTime", "2.3"))
    add_copies(study, lambda dataset, _index: setattr(dataset, "EchoTime", "4.6"), study.files[:4] + study.files[5:])
    found = scan(study.folder)
    assert load(choose(found, "1/1")).spatial_shape == (9, 20, 24)
    with pytest.raises(InputError, match="1 missing slice"):
        load(choose(found, "1/2"))


def test_values_that_do_not_tell_volumes_apart_are_listed(study):
    study.alter(lambda dataset, index: setattr(dataset, "AcquisitionTime", f"1200{index:02d}"))
    add_copies(study, lambda dataset, index: setattr(dataset, "AcquisitionTime", f"1300{index:02d}"))
    with pytest.raises(InputError, match=r"one position .*AcquisitionTime 120000, 120001, .*, \.\.\."):
        load(choose(scan(study.folder)))


def test_echo_times_as_measured_are_one_echo(study):
    study.alter(lambda dataset, index: setattr(dataset, "EchoTime", f"{10 + 0.004 * index:.3f}"))
    assert load(choose(scan(study.folder))).spatial_shape == (9, 20, 24)


def test_a_slice_without_a_frame_of_reference_stays(study):
    study.alter(lambda dataset, _index: delattr(dataset, "FrameOfReferenceUID"), study.files[2:4])
    assert load(choose(scan(study.folder))).spatial_shape == (9, 20, 24)


def test_inspect_shows_all_volumes(study):
    study.alter(lambda dataset, _index: setattr(dataset, "EchoTime", "2.3"))
    add_copies(study, lambda dataset, _index: setattr(dataset, "EchoTime", "4.6"), study.files[:8])
    findings = inspect(study.folder)
    assert [one.series for one in findings] == ["1/1", "1/2"]
    assert [one.size for one in findings] == [(24, 20, 9), (24, 20, 8)]
    assert ["EchoTime 2.3 ms" in findings[0].note, "EchoTime 4.6 ms" in findings[1].note] == [True, True]
    assert [one.problem for one in findings] == [None, None]


# Enhanced multi-frame images


def enhanced_image(study):
    return highdicom.legacy.LegacyConvertedEnhancedCTImage(
        study.read(), generate_uid(), 9, generate_uid(), 1, transfer_syntax_uid=ExplicitVRLittleEndian
    )


def part_of(image, frames) -> pydicom.Dataset:
    """An instance with some of the frames."""
    part = copy.deepcopy(image)
    part.SOPInstanceUID = part.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    part.PerFrameFunctionalGroupsSequence = [image.PerFrameFunctionalGroupsSequence[k] for k in frames]
    part.NumberOfFrames = len(frames)
    pixels = image.pixel_array
    part.PixelData = np.stack([pixels[k] for k in frames]).tobytes()
    return part


def rescaled(image, folder):
    """Give each frame a rescaling of its own, and return the image as highdicom reads it."""
    for k, groups in enumerate(image.PerFrameFunctionalGroupsSequence):
        transformation = pydicom.Dataset()
        transformation.RescaleSlope, transformation.RescaleIntercept = f"{0.5 * (k + 1):g}", str(-3 * k)
        transformation.RescaleType = "HU"
        groups.PixelValueTransformationSequence = [transformation]
    if "PixelValueTransformationSequence" in image.SharedFunctionalGroupsSequence[0]:
        del image.SharedFunctionalGroupsSequence[0].PixelValueTransformationSequence
    path = folder / "rescaled.dcm"
    image.save_as(path)
    return path, highdicom.imread(path).get_volume(dtype=np.float64, apply_presentation_lut=False)


def test_frames_with_a_rescaling_of_their_own(study, tmp_path):
    path, reference = rescaled(enhanced_image(study), tmp_path)
    volume = load(choose(scan(path)))
    np.testing.assert_array_equal(volume.array, reference.array)
    np.testing.assert_allclose(volume.affine, reference.affine, atol=1e-6)


def test_frames_are_sorted_by_position(study, tmp_path):
    expected = load(choose(scan(study.folder)))
    part_of(enhanced_image(study), [4, 8, 0, 1, 7, 2, 6, 3, 5]).save_as(tmp_path / "shuffled.dcm")
    volume = load(choose(scan(tmp_path / "shuffled.dcm")))
    np.testing.assert_array_equal(volume.array, expected.array)
    np.testing.assert_allclose(volume.affine, expected.affine, atol=1e-6)


def concatenation(study, folder) -> None:
    folder.mkdir()
    image, uid = enhanced_image(study), generate_uid()
    for number, frames in enumerate(([0, 1, 2, 3], [4, 5, 6], [7, 8]), start=1):
        part = part_of(image, frames)
        part.ConcatenationUID, part.InConcatenationNumber, part.InConcatenationTotalNumber = uid, number, 3
        part.ConcatenationFrameOffsetNumber = frames[0]
        part.save_as(folder / f"{4 - number}.dcm")


def test_a_concatenation_is_joined(study, tmp_path):
    expected = load(choose(scan(study.folder)))
    concatenation(study, tmp_path / "parts")
    series = choose(scan(tmp_path / "parts"))
    assert (series.slices, len(series.files)) == (9, 3)
    np.testing.assert_array_equal(load(series).array, expected.array)


@pytest.mark.parametrize("lost", [1, 2, 3])
def test_a_part_of_a_concatenation_is_missing(study, tmp_path, lost):
    concatenation(study, tmp_path / "parts")
    (tmp_path / "parts" / f"{lost}.dcm").unlink()
    with pytest.raises(InputError, match=r"parts of the concatenation are missing \(expected 3 files, got 2\)"):
        load(choose(scan(tmp_path / "parts")))


def two_values(study, path, sequence, keyword, values) -> None:
    """Write an enhanced image whose first 5 frames have one value, and the same 5 positions again the other."""
    part = part_of(enhanced_image(study), [0, 1, 2, 3, 4, 0, 1, 2, 3, 4])
    part.PerFrameFunctionalGroupsSequence = [copy.deepcopy(item) for item in part.PerFrameFunctionalGroupsSequence]
    pixels = np.frombuffer(part.PixelData, "<i2").reshape(10, -1).copy()
    pixels[5:] += 7
    part.PixelData = pixels.tobytes()
    for k, groups in enumerate(part.PerFrameFunctionalGroupsSequence):
        item = pydicom.Dataset()
        if sequence == "FrameContentSequence" and sequence in groups:
            item = groups[sequence][0]
        setattr(item, keyword, values[k // 5])
        setattr(groups, sequence, [item])
    part.save_as(path)


@pytest.mark.parametrize(
    ("sequence", "keyword", "values"),
    [
        ("FrameContentSequence", "StackID", ("A", "B")),
        ("FrameContentSequence", "TemporalPositionIndex", (1, 2)),
        ("MREchoSequence", "EffectiveEchoTime", (2.5, 7.5)),
        ("MRDiffusionSequence", "DiffusionBValue", (0.0, 800.0)),
    ],
)
def test_one_object_of_two_stacks(study, tmp_path, sequence, keyword, values):
    expected = load(choose(scan(study.folder))).array
    path = tmp_path / "two.dcm"
    two_values(study, path, sequence, keyword, values)
    assert "2 image series: " in choices(path)
    whole = {frame.tobytes() for frame in expected}
    for part, offset in ((1, 0), (2, 7)):
        series = choose(scan(path), f"9/{part}")
        assert series.slices == 5
        assert {(frame - offset).tobytes() for frame in load(series).array} < whole
