from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK
from monai.data import MetaTensor
from monai.transforms import LoadImaged, Spacing
from PIL import Image

from pipeline.data.phantoms import make_phantom, write_phantom_dicom
from pipeline.errors import InputError, find_input_error
from pipeline.sources import CaseReader

SHAPE = (7, 6, 5)
OBLIQUE = np.array([[0.8, -0.6, 0.3, -11.0], [0.5, 1.1, -0.2, 20.5], [-0.3, 0.4, 2.5, 7.25], [0, 0, 0, 1]])
FLIPPED = np.array([[-0.75, 0, 0, 30.0], [0, 0, -2.5, -4.5], [0, 1.25, 0, 8.0], [0, 0, 0, 1]])


def _load(path: Any, **reader: Any) -> MetaTensor:
    return LoadImaged("image", reader=CaseReader(**reader), ensure_channel_first=True)({"image": path})["image"]


def _refusal(path: Any) -> str:
    with pytest.raises(Exception, match=r".") as caught:
        _load(path)
    error = find_input_error(caught.value)
    assert error is not None, f"{path} raised {caught.value!r}"
    assert "\n" not in str(error)
    return str(error)


def _voxels(shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    return np.random.default_rng(3).integers(-1000, 3000, shape).astype(np.int16)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("affine", [OBLIQUE, FLIPPED], ids=["oblique", "flipped"])
def test_a_nifti_keeps_its_voxels_and_its_affine(tmp_path: Path, affine: np.ndarray, suffix: str) -> None:
    path = tmp_path / f"case{suffix}"
    nib.save(nib.Nifti1Image(_voxels(), affine), path)
    image = _load(path)
    np.testing.assert_array_equal(image.numpy(), _voxels()[np.newaxis])
    # The header holds float32; the numbers above need no more than its 24 bits of precision.
    np.testing.assert_array_equal(image.affine.numpy(), affine.astype(np.float32))
    assert image.meta["filename_or_obj"] == str(path)


def test_the_slope_and_intercept_of_a_nifti_are_applied(tmp_path: Path) -> None:
    stored = nib.Nifti1Image(_voxels(), OBLIQUE)
    stored.header.set_slope_inter(0.5, -1024)
    path = tmp_path / "case.nii.gz"
    nib.save(stored, path)
    assert nib.load(path).dataobj.slope == 0.5
    # Halves of 16-bit integers are exact in float32.
    np.testing.assert_array_equal(_load(path).numpy()[0], nib.load(path).dataobj.get_unscaled() * 0.5 - 1024)


def test_a_trailing_axis_of_one_is_the_channel(tmp_path: Path) -> None:
    path = tmp_path / "case.nii.gz"
    nib.save(nib.Nifti1Image(_voxels((*SHAPE, 1)), OBLIQUE), path)
    image = _load(path)
    assert image.shape == (1, *SHAPE)
    np.testing.assert_array_equal(image.numpy()[0], _voxels((*SHAPE, 1))[..., 0])


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_voxels_of_nrrd_and_mha_lie_where_simpleitk_says(tmp_path: Path, suffix: str) -> None:
    written = SimpleITK.GetImageFromArray(_voxels(SHAPE[::-1]))
    turn, _ = np.linalg.qr(OBLIQUE[:3, :3])
    turn *= np.sign(np.linalg.det(turn))  # ITK wants a rotation
    written.SetDirection(turn.ravel().tolist())
    written.SetSpacing([0.5, 1.25, 3.0])
    written.SetOrigin([-12.5, 40.0, 7.75])
    path = tmp_path / f"case{suffix}"
    SimpleITK.WriteImage(written, str(path))
    image = _load(path)
    assert image.shape == (1, *SHAPE)
    reference = SimpleITK.ReadImage(str(path))
    for index in [(0, 0, 0), (6, 0, 0), (0, 5, 0), (0, 0, 4), (3, 2, 1)]:
        x, y, z = reference.TransformIndexToPhysicalPoint(index)
        # LPS to RAS turns the first two axes round. The text headers give about 10 digits.
        np.testing.assert_allclose((image.affine.numpy() @ (*index, 1))[:3], (-x, -y, z), atol=1e-6)
        assert image[(0, *index)] == reference.GetPixel(index)


def test_a_png_has_its_columns_first(tmp_path: Path) -> None:
    rows = np.random.default_rng(1).integers(0, 256, (4, 9), dtype=np.uint8)
    Image.fromarray(rows).save(tmp_path / "a.png")
    np.testing.assert_array_equal(_load(tmp_path / "a.png").numpy(), rows.T[np.newaxis])
    colours = np.random.default_rng(2).integers(0, 256, (4, 9, 3), dtype=np.uint8)
    Image.fromarray(colours).save(tmp_path / "b.png")
    np.testing.assert_array_equal(_load(tmp_path / "b.png").numpy(), colours.transpose(2, 1, 0))


def test_several_files_are_the_channels(tmp_path: Path) -> None:
    for name, factor in (("a", 1), ("b", 2)):
        nib.save(nib.Nifti1Image(_voxels() * factor, OBLIQUE), tmp_path / f"{name}.nii.gz")
    image = _load([tmp_path / "a.nii.gz", tmp_path / "b.nii.gz"])
    np.testing.assert_array_equal(image.numpy(), np.stack([_voxels(), _voxels() * 2]))


def test_a_missing_second_channel_is_the_one_that_is_named(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(_voxels(), OBLIQUE), tmp_path / "a.nii.gz")
    # MONAI's loader stops at a list with a missing path before any reader is asked.
    reader = CaseReader()
    with pytest.raises(InputError, match=r"b\.nii\.gz: no such file or folder"):
        reader.get_data(reader.read([tmp_path / "a.nii.gz", tmp_path / "b.nii.gz"]))


def test_a_dicom_folder_and_one_of_its_files(tmp_path: Path) -> None:
    phantom = make_phantom(2, shape=(12, 10, 4), spacing_mm=(2.0, 2.5, 3.0))
    folder = write_phantom_dicom(phantom, tmp_path / "series")
    image = _load(folder)
    # Stored as integers, rounded towards zero.
    np.testing.assert_array_equal(image.numpy()[0], np.trunc(phantom.image + 1024) - 1024)
    np.testing.assert_allclose(image.affine.numpy(), phantom.affine, atol=1e-6)  # DICOM's decimal strings
    np.testing.assert_array_equal(_load(folder, series=1).numpy(), image.numpy())
    files = sorted(folder.iterdir())
    np.testing.assert_array_equal(_load(files).numpy(), image.numpy())


def test_a_dicom_folder_with_a_missing_slice_is_refused_and_not_read_otherwise(tmp_path: Path) -> None:
    folder = write_phantom_dicom(make_phantom(2, shape=(12, 10, 6)), tmp_path / "series")
    by_place = sorted(folder.iterdir(), key=lambda path: float(pydicom.dcmread(path).ImagePositionPatient[2]))
    by_place[2].unlink()
    assert "missing slice" in _refusal(folder)


def test_a_big_endian_nifti_is_read_as_any_other(tmp_path: Path) -> None:
    header = nib.Nifti1Image(_voxels(), OBLIQUE).header.as_byteswapped(">")
    nib.save(nib.Nifti1Image(_voxels().astype(">i2"), OBLIQUE, header=header), tmp_path / "a.nii")
    assert (tmp_path / "a.nii").read_bytes()[:4] == b"\x00\x00\x01\x5c"  # 348, the size of the header
    np.testing.assert_array_equal(_load(tmp_path / "a.nii").numpy()[0], _voxels())


@pytest.mark.parametrize("kind", ["complex64", [("R", "u1"), ("G", "u1"), ("B", "u1")]], ids=["complex", "colour"])
def test_voxels_that_are_not_plain_numbers_are_refused(tmp_path: Path, kind: Any) -> None:
    nib.save(nib.Nifti1Image(np.zeros(SHAPE, dtype=kind), OBLIQUE), tmp_path / "a.nii")
    assert f"{tmp_path / 'a.nii'}: voxels are not plain numbers (got " in _refusal(tmp_path / "a.nii")


def _truncated(path: Path) -> None:
    whole = gzip.compress(nib.Nifti1Image(_voxels((32, 32, 32)), OBLIQUE).to_bytes())
    path.write_bytes(whole[: len(whole) // 2])


def _random(path: Path) -> None:
    path.write_bytes(np.random.default_rng(5).bytes(2000))


@pytest.mark.parametrize(
    ("name", "spoil", "message"),
    [
        ("a.nii.gz", _truncated, "cannot be read"),
        ("a.nii.gz", _random, "cannot be read"),
        ("a.nii", _random, "cannot be read"),
        ("a.png", _random, "cannot be read"),
        ("a.nrrd", _random, "cannot be read"),
        ("a.mha", _random, "cannot be read"),
        ("a.nii.gz", Path.touch, "file is empty"),
        ("a.dcm", Path.touch, "file is empty"),
        ("a.dcm", _random, "is not DICOM"),
    ],
)
def test_a_spoilt_file_is_refused_by_name(tmp_path: Path, name: str, spoil: Any, message: str) -> None:
    spoil(tmp_path / name)
    refusal = _refusal(tmp_path / name)
    assert message in refusal
    assert name in refusal


def test_a_missing_file_and_an_empty_folder_are_refused_by_name(tmp_path: Path) -> None:
    reader = CaseReader()
    with pytest.raises(InputError, match=r"absent\.nii\.gz: no such file or folder"):
        reader.get_data(reader.read(tmp_path / "absent.nii.gz"))
    assert str(tmp_path / "absent.nii.gz") in _refusal(tmp_path / "absent.nii.gz")
    (tmp_path / "folder").mkdir()
    assert str(tmp_path / "folder") in _refusal(tmp_path / "folder")


def test_a_header_whose_sform_and_qform_disagree_on_the_voxel_size_is_refused(tmp_path: Path) -> None:
    image = nib.Nifti1Image(np.zeros((4, 5, 6), np.float32), np.diag([1.0, 1.0, 2.0, 1.0]))
    image.set_qform(np.diag([1.0, 1.0, 2.0, 1.0]), code=1)
    image.set_sform(np.diag([3.0, 1.0, 2.0, 1.0]), code=1)
    nib.save(image, tmp_path / "two.nii.gz")
    assert nib.load(tmp_path / "two.nii.gz").header.get_zooms() == (1.0, 1.0, 2.0)
    with pytest.raises(InputError, match=r"two\.nii\.gz: sform and qform disagree"):
        CaseReader().get_data(CaseReader().read(tmp_path / "two.nii.gz"))


@pytest.mark.parametrize(("kind", "name"), [(nib.MGHImage, "t1.mgz"), (nib.Nifti1Pair, "t1.hdr")])
def test_freesurfer_volumes_and_nifti_pairs_are_read_as_nibabel_reads_them(
    tmp_path: Path, kind: type[nib.spatialimages.SpatialImage], name: str
) -> None:
    voxels = np.arange(60, dtype=np.float32).reshape(3, 4, 5)
    affine = np.array([[0, 0, 2.0, 5], [-1.5, 0, 0, 6], [0, -1, 0, 7], [0, 0, 0, 1]])
    nib.save(kind(voxels, affine), tmp_path / name)
    reader = CaseReader()
    array, meta = reader.get_data(reader.read(tmp_path / name))
    np.testing.assert_array_equal(array, voxels)
    np.testing.assert_allclose(meta["affine"], affine, atol=1e-6)


def _affine_and_slice(tmp_path: Path, kind: str) -> tuple[Path, np.ndarray, np.ndarray]:
    """A file of one slice, its pixels (X, Y) and its affine as other libraries tell them."""
    pixels = _voxels((7, 6, 1))[..., 0]
    if kind == "dicom":
        phantom = make_phantom(2, shape=(12, 10, 4), spacing_mm=(2.0, 2.5, 3.0))
        path = sorted(write_phantom_dicom(phantom, tmp_path / "series").iterdir())[0]
        header = pydicom.dcmread(path)
        affine = np.diag([*header.PixelSpacing[::-1], header.SliceThickness, 1.0]).astype(float)
        affine[:3, 3] = header.ImagePositionPatient
        affine[:2] *= -1  # LPS to RAS; the phantom's slices are axial
        stored = header.pixel_array.T * float(header.RescaleSlope) + float(header.RescaleIntercept)
        return path, stored, affine
    path = tmp_path / f"case{kind}"
    if kind == ".mha":
        image = SimpleITK.GetImageFromArray(pixels.T[np.newaxis])
        image.SetSpacing([0.5, 1.25, 3.0])
        image.SetOrigin([-12.5, 40.0, 7.75])
        SimpleITK.WriteImage(image, str(path))
        affine = np.diag([-0.5, -1.25, 3.0, 1.0])
        affine[:3, 3] = 12.5, -40.0, 7.75
        return path, pixels, affine
    nib.save(nib.Nifti1Image(pixels[..., np.newaxis], OBLIQUE), path)
    return path, pixels, nib.load(path).affine


@pytest.mark.parametrize("kind", [".nii.gz", ".mha", "dicom"])
def test_a_volume_of_one_slice_is_a_picture_for_a_network_of_two_axes(tmp_path: Path, kind: str) -> None:
    path, pixels, affine = _affine_and_slice(tmp_path, kind)
    image = _load(path, dimensions=2)
    np.testing.assert_array_equal(image.numpy(), pixels[np.newaxis])
    np.testing.assert_array_equal(image.meta["spatial_shape"], pixels.shape)
    assert image.meta["dropped_axis"] == 2
    whole = _load(path)
    for stated in (image.affine, image.meta["original_affine"]):
        # The decimal digits of DICOM and ITK. One slice has no next one to tell the third direction.
        np.testing.assert_allclose(stated[:, [0, 1, 3]], affine[:, [0, 1, 3]], atol=1e-6)
        np.testing.assert_array_equal(stated, whole.affine)
    assert np.expand_dims(image[0].numpy(), image.meta["dropped_axis"]).shape == whole.shape[1:]
    assert "dropped_axis" not in whole.meta


def test_the_plane_of_a_dropped_axis_can_be_resampled(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(_voxels((9, 7, 1)), np.diag([0.5, 1.5, 4.0, 1.0])), tmp_path / "a.nii.gz")
    image = Spacing(pixdim=(1.0, 1.0), align_corners=True)(_load(tmp_path / "a.nii.gz", dimensions=2))
    assert image.shape == (1, 5, 10)  # the corners lie 4 and 9 mm apart
    np.testing.assert_allclose(image.affine.diagonal(), [1.0, 1.0, 4.0, 1.0])


def test_several_files_of_one_slice_are_channels_of_two_axes(tmp_path: Path) -> None:
    for name, factor in (("a", 1), ("b", 2)):
        nib.save(nib.Nifti1Image(_voxels((7, 6, 1)) * factor, OBLIQUE), tmp_path / f"{name}.nii.gz")
    image = _load([tmp_path / "a.nii.gz", tmp_path / "b.nii.gz"], dimensions=2)
    pixels = _voxels((7, 6, 1))[..., 0]
    np.testing.assert_array_equal(image.numpy(), np.stack([pixels, pixels * 2]))


def test_other_shapes_stay_as_they_are_for_a_network_of_two_axes(tmp_path: Path) -> None:
    for shape in ((7, 6, 5), (7, 1, 6), (7, 6)):
        nib.save(nib.Nifti1Image(_voxels(shape), OBLIQUE), tmp_path / "a.nii.gz")
        image = _load(tmp_path / "a.nii.gz", dimensions=2)
        np.testing.assert_array_equal(image.numpy(), _voxels(shape)[np.newaxis])
        assert "dropped_axis" not in image.meta
