from __future__ import annotations

import numpy as np
import pydicom
import pytest
import torch
from monai.data import DataLoader, Dataset, decollate_batch, list_data_collate
from monai.transforms import LoadImaged

from pipeline.data.phantoms import make_phantom, write_phantom_dicom
from pipeline.dicom import DicomSeriesReader, choose, scan
from pipeline.errors import InputError


def loader(**kwargs) -> LoadImaged:
    return LoadImaged("image", reader=DicomSeriesReader(**kwargs), ensure_channel_first=True)


def plane_equation(dataset, column, row):
    """The place of a pixel, by PS3.3 equation C.7.6.2.1-1, in RAS."""
    orientation = np.array(dataset.ImageOrientationPatient, dtype=float)
    between_rows, between_columns = map(float, dataset.PixelSpacing)
    point = np.array(dataset.ImagePositionPatient, dtype=float)
    point = point + orientation[:3] * between_columns * column + orientation[3:] * between_rows * row
    return point * (-1, -1, 1)


@pytest.mark.parametrize("kind", ["study", "oblique"])
def test_voxels_are_where_the_plane_equation_says(kind, request):
    folder = request.getfixturevalue(kind).folder
    image = loader()({"image": str(folder)})["image"]
    assert image.shape == (1, 24, 20, 9)
    assert image.dtype == torch.float32
    files = image.meta["dicom_files"].split("\n")
    assert len(files) == 9
    for k, path in enumerate(files):
        dataset = pydicom.dcmread(path)
        values = dataset.pixel_array * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
        np.testing.assert_array_equal(image[0, :, :, k].numpy(), values.T)
        for i, j in ((0, 0), (23, 0), (5, 19)):
            place = (image.affine.numpy() @ (i, j, k, 1))[:3]
            np.testing.assert_allclose(place, plane_equation(dataset, i, j), atol=1e-5)


def test_metadata(study):
    meta = loader()({"image": str(study.folder)})["image"].meta
    assert meta["filename_or_obj"] == str(study.folder)
    assert meta["space"] == "RAS"
    assert list(meta["spatial_shape"]) == [24, 20, 9]
    assert meta["dicom_modality"] == "CT"
    np.testing.assert_array_equal(meta["affine"], meta["original_affine"])


def test_array_is_a_view(study):
    reader = DicomSeriesReader()
    array, _ = reader.get_data(reader.read(study.folder))
    assert array.flags.f_contiguous
    assert array.base is not None


def test_a_list_of_files_and_a_dotted_name(study):
    whole = loader()({"image": str(study.folder)})["image"]
    transform = LoadImaged("image", reader="pipeline.dicom.DicomSeriesReader", ensure_channel_first=True, series="1")
    image = transform({"image": [str(path) for path in study.files]})["image"]
    torch.testing.assert_close(image.as_tensor(), whole.as_tensor(), rtol=0, atol=0)


def test_the_metadata_survives_the_loader(study):
    cases = [{"image": str(study.folder)}]
    batch = next(iter(DataLoader(Dataset(cases, loader()), batch_size=1)))
    item = decollate_batch(batch)[0]["image"]
    original = loader()(cases[0])["image"]
    assert item.meta["dicom_files"] == original.meta["dicom_files"]
    assert item.meta["filename_or_obj"] == str(study.folder)
    torch.testing.assert_close(item.affine, original.affine, rtol=0, atol=0)


def test_files_of_cases_of_different_length_can_be_collated(study):
    whole = loader()({"image": str(study.folder)})
    part = loader()({"image": [str(path) for path in study.files[:4]]})
    whole["image"] = whole["image"][..., :4]
    batch = list_data_collate([whole, part])
    assert [len(item["image"].meta["dicom_files"].split("\n")) for item in decollate_batch(batch)] == [9, 4]


def test_a_refused_series_is_not_read_by_another_reader(study):
    study.files[4].unlink()
    with pytest.raises(InputError, match="1 missing slice"):
        loader()({"image": str(study.folder)})


def test_an_unknown_series_is_refused(study):
    with pytest.raises(InputError, match="no image series answers to '12'"):
        loader(series="12")({"image": str(study.folder)})


def test_suffixes(study):
    reader = DicomSeriesReader()
    assert reader.verify_suffix(study.folder)
    assert reader.verify_suffix(study.files)
    assert not reader.verify_suffix("image.nii.gz")


def test_an_affine_that_does_not_lead_back_is_refused(tmp_path):
    write_phantom_dicom(make_phantom(0, shape=(8, 7, 5), spacing_mm=(1.0, 1.0, 2.0)), tmp_path)
    stack = choose(scan(tmp_path)).frames
    stack.check(stack.ras_affine)
    turned = stack.ras_affine @ np.diag([1, 1, -1, 1])  # the slices in the wrong order
    with pytest.raises(InputError, match="does not lead back to the slice's position"):
        stack.check(turned)
