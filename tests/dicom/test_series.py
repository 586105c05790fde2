from __future__ import annotations

import warnings
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813
from dicom_altered.changes import move, set_to
from pydicom.uid import RLELossless, generate_uid

from pipeline.dicom import Series, choose, load, ras_affine, scan
from pipeline.errors import InputError


def one(folder, series=None) -> Series:
    return choose(scan(folder), series)


def same_as_highdicom(volume, datasets, rtol=0.0) -> None:
    reference = highdicom.get_volume_from_series(datasets, dtype=np.float64, apply_presentation_lut=False)
    np.testing.assert_allclose(volume.affine, reference.affine, rtol=0, atol=1e-6)
    np.testing.assert_allclose(volume.array, reference.array, rtol=rtol, atol=rtol)
    assert volume.array.dtype == np.float32


# Real series


@pytest.fixture(scope="session")
def real_series(shared_data) -> list[Path]:
    return sorted((shared_data / "STS_Sarcoma").glob("*/*/image"))


def test_real_series_agree_with_highdicom(real_series):
    assert len(real_series) == 34
    small_slopes = 0
    for folder in real_series:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            datasets = [pydicom.dcmread(path) for path in folder.glob("*.dcm")]
            volume = load(one(folder))
            same_as_highdicom(volume, datasets, rtol=2e-7)
        small_slopes += len({float(dataset.get("RescaleSlope", 1)) for dataset in datasets} - {1.0}) > 1
    assert small_slopes == 4, "the PET series have a slope of their own for each slice"


def test_real_series_agree_with_simpleitk(real_series):
    by_modality = {folder.parent.name: folder for folder in real_series}
    assert set(by_modality) == {"CT", "MR_T1", "PET"}
    for folder in by_modality.values():
        image = sitk.ReadImage(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder)))
        volume = load(one(folder))
        array = sitk.GetArrayFromImage(image)[::-1]  # ITK goes with the normal, highdicom against it
        np.testing.assert_allclose(volume.array, array, rtol=1e-5, atol=1e-4)
        first = image.TransformIndexToPhysicalPoint((0, 0, image.GetDepth() - 1))
        np.testing.assert_allclose(volume.position, first, atol=1e-3)


def test_a_patient_folder_lists_its_series(shared_data):
    folder = shared_data / "STS_Sarcoma" / "STS_001"
    found = scan(folder)
    assert len(found.series) == 3
    assert found.passed_over == 3, "one RTSTRUCT beside each image series"
    with pytest.raises(InputError, match=r"3 image series: .*CT 198 x 202 x 59 at 0.9766 x 0.9766 x 3.27 mm.*--series"):
        choose(found)
    pet = next(series for series in found.series if series.modality == "PT")
    assert choose(found, pet.series_uid) is pet
    assert choose(found, pet.description.upper()) is pet
    with pytest.raises(InputError, match="no image series answers to 'nothing'"):
        choose(found, "nothing")


# Geometry and values


def test_oblique_series_agree_with_highdicom_and_simpleitk(oblique):
    volume = load(one(oblique.folder))
    same_as_highdicom(volume, oblique.read())
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames([str(path) for path in oblique.files])
    image = reader.Execute()
    i, j, k = 5, 7, 2
    itk_k = image.GetDepth() - 1 - k
    point = image.TransformIndexToPhysicalPoint((i, j, itk_k))
    np.testing.assert_allclose(
        ras_affine(volume.get_geometry()) @ (i, j, k, 1), [-point[0], -point[1], point[2], 1], atol=1e-4
    )
    assert volume.array[k, j, i] == image.GetPixel(i, j, itk_k)


def test_order_comes_from_positions_alone(study):
    expected = load(one(study.folder))
    study.alter(lambda dataset, index: setattr(dataset, "InstanceNumber", (index * 4) % 9))
    for number, path in enumerate(study.files[::2]):
        path.rename(path.with_name(f"a{number}.dcm"))
    series = one(study.folder)
    np.testing.assert_array_equal(load(series).array, expected.array)
    assert [path.name for path in series.files] == [path.name for path in reversed(study.files)]


def test_slope_and_intercept_of_each_slice(study):
    study.alter(
        lambda dataset, index: set_to(RescaleSlope=f"{0.001 * (index + 1):g}", RescaleIntercept=str(index))(dataset, 0)
    )
    same_as_highdicom(load(one(study.folder)), study.read(), rtol=1e-6)


def test_monochrome1_is_not_inverted(study):
    expected = load(one(study.folder)).array
    study.alter(set_to(PhotometricInterpretation="MONOCHROME1"))
    np.testing.assert_array_equal(load(one(study.folder)).array, expected)


def test_unused_bits_are_no_part_of_the_value(study):
    def add_overlay_bits(dataset, _index):
        values = np.frombuffer(dataset.PixelData, "<u2") % 4096
        dataset.PixelData = (values | 0xF000).astype("<u2").tobytes()
        dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 12, 11, 0

    study.alter(add_overlay_bits)
    volume = load(one(study.folder))
    assert volume.array.max() < 4096
    same_as_highdicom(volume, study.read())


@pytest.mark.parametrize("form", ["rle", "big endian", "implicit", "deflated", "no preamble"])
def test_encodings(study, form):
    expected = load(one(study.folder)).array
    for path in study.files:
        dataset = pydicom.dcmread(path)
        if form == "rle":
            dataset.compress(RLELossless, generate_instance_uid=False)
            dataset.save_as(path)
        elif form == "big endian":
            dataset.PixelData = np.frombuffer(dataset.PixelData, "<i2").astype(">i2").tobytes()
            dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRBigEndian
            fresh = pydicom.Dataset({element.tag: element for element in dataset})
            fresh.file_meta = dataset.file_meta
            fresh.save_as(path, implicit_vr=False, little_endian=False, enforce_file_format=True)
        elif form in {"implicit", "deflated"}:
            implicit = form == "implicit"
            syntax = pydicom.uid.ImplicitVRLittleEndian if implicit else pydicom.uid.DeflatedExplicitVRLittleEndian
            dataset.file_meta.TransferSyntaxUID = syntax
            dataset.save_as(path, implicit_vr=implicit, little_endian=True)
        else:
            path.write_bytes(path.read_bytes()[132:])
    np.testing.assert_array_equal(load(one(study.folder)).array, expected)


def test_jitter_is_tolerated(study):
    study.alter(lambda dataset, index: move(dataset, x=0.01 * (index % 2), z=0.01 * (-1) ** index))
    assert load(one(study.folder)).spatial_shape == (9, 20, 24)


@pytest.mark.parametrize("count", [1, 2])
def test_one_or_two_slices(study, count):
    files = study.files[:count]
    volume = load(one(files if count > 1 else files[0]))
    assert volume.spatial_shape == (count, 20, 24)
    assert volume.spacing == (3.0, 2.5, 2.0), "a lone slice is as thick as its SliceThickness"


def test_enhanced_multiframe(study, tmp_path):
    expected = load(one(study.folder))
    enhanced = highdicom.legacy.LegacyConvertedEnhancedCTImage(
        study.read(), generate_uid(), 9, generate_uid(), 1, transfer_syntax_uid=pydicom.uid.ExplicitVRLittleEndian
    )
    enhanced.save_as(tmp_path / "enhanced.dcm")
    series = one(tmp_path / "enhanced.dcm")
    volume = load(series)
    np.testing.assert_allclose(volume.affine, expected.affine, atol=1e-6)
    np.testing.assert_array_equal(volume.array, expected.array)
    assert series.slices == 9
    assert volume.array.dtype == np.float32
