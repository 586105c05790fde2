from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK
import torch
from monai.data import MetaTensor
from monai.transforms import LoadImaged
from pydicom.uid import generate_uid
from scipy.ndimage import map_coordinates

from pipeline.data.phantoms import make_phantom, write_phantom_dicom
from pipeline.errors import InputError
from pipeline.sources import CaseReader, open_image
from pipeline.sources.paths import NO_IMAGE

SHAPE = (9, 8, 7)
OBLIQUE = np.array([[1.8, -0.6, 0.3, -11.0], [0.5, 2.1, -0.2, 20.5], [-0.3, 0.4, 2.5, 7.25], [0, 0, 0, 1]])


def _load(*paths: Any, compact: bool = False, **reader: Any) -> MetaTensor:
    made = CaseReader(compact=compact, **reader)
    load = LoadImaged("image", reader=made, ensure_channel_first=True, dtype=None if compact else np.float32)
    return load({"image": list(map(str, paths))})["image"]


def _refusal(*paths: Path) -> str:
    reader = CaseReader()
    with pytest.raises(InputError) as caught:
        reader.get_data(reader.read(paths))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def _voxels(seed: int, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    return np.random.default_rng(seed).integers(-1000, 3000, shape).astype(np.int16)


def _save(path: Path, voxels: np.ndarray, affine: np.ndarray = OBLIQUE) -> Path:
    nib.save(nib.Nifti1Image(voxels, affine), path)
    return path


@pytest.mark.parametrize("compact", [False, True])
def test_channels_on_one_grid_are_stacked_as_they_are(tmp_path: Path, compact: bool) -> None:
    files = [_save(tmp_path / f"{n}.nii.gz", _voxels(n)) for n in range(3)]
    image = _load(*files, compact=compact)
    np.testing.assert_array_equal(image.numpy(), np.stack([_voxels(n) for n in range(3)]))
    assert image.dtype == (torch.int16 if compact else torch.float32)
    np.testing.assert_array_equal(image.affine, OBLIQUE.astype(np.float32))
    assert image.meta["filename_or_obj"] == str(files[0])


@pytest.mark.parametrize("codes", ["RAS", "LPI", "SAR", "ILP"])
def test_a_channel_with_other_axes_is_turned_without_a_change_of_values(tmp_path: Path, codes: str) -> None:
    first = _save(tmp_path / "a.nii.gz", _voxels(0))
    stored = nib.Nifti1Image(_voxels(1), OBLIQUE)
    turn = nib.orientations.ornt_transform(nib.io_orientation(OBLIQUE), nib.orientations.axcodes2ornt(codes))
    nib.save(stored.as_reoriented(turn), tmp_path / "b.nii.gz")
    assert "".join(nib.aff2axcodes(nib.load(tmp_path / "b.nii.gz").affine)) == codes
    image = _load(first, tmp_path / "b.nii.gz", compact=True)
    assert image.dtype == torch.int16
    np.testing.assert_array_equal(image.numpy(), np.stack([_voxels(0), _voxels(1)]))


def test_a_channel_on_another_grid_is_interpolated_where_the_voxels_of_the_first_lie(tmp_path: Path) -> None:
    turned = np.array([[0, 0.9, 0.1, -9.0], [-1.7, 0, 0.3, 33.0], [0.2, 0, 1.4, 6.0], [0, 0, 0, 1]])
    first = _save(tmp_path / "a.nii.gz", _voxels(0))
    other = _save(tmp_path / "b.nii.gz", _voxels(1, (11, 14, 10)), turned)
    image = _load(first, other, compact=True)
    np.testing.assert_array_equal(image[0].numpy(), _voxels(0))
    places = np.linalg.inv(nib.load(other).affine) @ nib.load(first).affine @ _indices(SHAPE)
    expected = map_coordinates(_voxels(1, (11, 14, 10)).astype(np.float64), places[:3], order=1, mode="nearest")
    limit = np.array([11, 14, 10])[:, None] - 0.5
    outside = ((places[:3] < -0.5) | (places[:3] > limit)).any(axis=0)
    assert 0.1 < outside.mean() < 0.9, "both kinds of voxels are here"
    expected[outside] = _voxels(1, (11, 14, 10)).min()
    np.testing.assert_allclose(image[1].numpy().ravel(), expected, atol=0.01)


def _indices(size: tuple[int, ...]) -> np.ndarray:
    grid = np.stack([axis.ravel() for axis in np.meshgrid(*map(np.arange, size), indexing="ij")])
    return np.vstack([grid, np.ones(grid.shape[1])])


def test_what_is_interpolated_is_said_in_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    moved = OBLIQUE.copy()
    moved[:3, 3] += OBLIQUE[:3, 0] * 4.4
    files = [_save(tmp_path / "a.nii.gz", _voxels(0)), _save(tmp_path / "b.nii.gz", _voxels(1), moved)]
    with caplog.at_level(logging.INFO, "pipeline"):
        _load(*files)
    (line,) = [record.getMessage() for record in caplog.records if "interpolation" in record.getMessage()]
    assert line.startswith(
        f"{files[1]}: brought to the grid of {files[0]} by linear interpolation; 44% of that grid lies outside"
    )


def test_channels_that_lie_apart_are_refused(tmp_path: Path) -> None:
    beside = OBLIQUE.copy()
    beside[:3, 3] += OBLIQUE[:3, 0] * (SHAPE[0] + 0.5)
    said = _refusal(_save(tmp_path / "a.nii.gz", _voxels(0)), _save(tmp_path / "b.nii.gz", _voxels(1), beside))
    assert said.startswith(f"{tmp_path / 'b.nii.gz'}: channels have no place in common")


def test_a_channel_that_is_lacking_is_zero_and_noted(tmp_path: Path) -> None:
    files = [_save(tmp_path / f"{n}.nii.gz", _voxels(n)) for n in range(2)]
    image = _load(NO_IMAGE, files[0], NO_IMAGE, files[1], compact=True)
    assert image.dtype == torch.int16
    np.testing.assert_array_equal(image[[1, 3]].numpy(), np.stack([_voxels(0), _voxels(1)]))
    assert not image[[0, 2]].any()
    assert image.meta["absent_channels"] == "0 2"
    assert image.meta["channel_files"].split("\n") == ["", str(files[0]), "", str(files[1])]


def test_a_channel_of_several_channels_is_refused(tmp_path: Path) -> None:
    both = _save(tmp_path / "b.nii.gz", _voxels(1, (*SHAPE, 2)))
    assert "holds several channels itself" in _refusal(_save(tmp_path / "a.nii.gz", _voxels(0)), both)


def test_two_dicom_series_of_one_frame_of_reference_lie_where_simpleitk_says(tmp_path: Path) -> None:
    one, two = _two_series(tmp_path, shared=True)
    image = _load(one, two)
    series = [_read_by_simpleitk(folder) for folder in (one, two)]
    places = np.diag([-1, -1, 1, 1]) @ image.affine.numpy() @ _indices((12, 10, 6))  # LPS
    for channel, read in enumerate(series):
        expected = np.full(places.shape[1], -1000.0)
        limit = np.array(read.GetSize()) - 0.5
        surely = np.ones(places.shape[1], dtype=bool)
        for number, point in enumerate(places[:3].T):
            index = np.array(read.TransformPhysicalPointToContinuousIndex(point))
            if ((index > -0.5) & (index < limit)).all():
                expected[number] = read.EvaluateAtPhysicalPoint(point, SimpleITK.sitkLinear)
            # DICOM's decimal strings leave open whether the outmost edge belongs to a voxel
            surely[number] = (np.abs(index + 0.5).min() > 1e-3) and (np.abs(index - limit).min() > 1e-3)
        assert surely.sum() > 300
        np.testing.assert_allclose(image[channel].numpy().ravel()[surely], expected[surely], atol=0.05)
    assert image.meta["dicom_files"].split("\n")[0].startswith(str(one)), "the mask is on the first channel's slices"


def test_dicom_series_of_two_frames_of_reference_are_refused(tmp_path: Path) -> None:
    one, two = _two_series(tmp_path, shared=False)
    said = _refusal(one, two)
    assert said.startswith(f"{two}: channels lie in different frames of reference")
    assert str(one) in said


def test_a_series_in_two_folders_is_one_channel(tmp_path: Path) -> None:
    one, two = _two_series(tmp_path, shared=True)
    whole = _load(one, two)
    (tmp_path / "rest").mkdir()
    for file in sorted(two.iterdir())[2:]:
        file.rename(tmp_path / "rest" / file.name)
    np.testing.assert_array_equal(_load(one, two, tmp_path / "rest").numpy(), whole.numpy())
    np.testing.assert_array_equal(_load(two, tmp_path / "rest").numpy()[0], _load(tmp_path / "rest", two).numpy()[0])


def _two_series(root: Path, *, shared: bool) -> tuple[Path, Path]:
    grids = ((12, 10, 6), (4.0, 4.5, 5.0)), ((10, 12, 8), (4.4, 3.9, 4.0))
    folders = [
        write_phantom_dicom(make_phantom(seed, shape=shape, spacing_mm=spacing), root / name)
        for seed, name, (shape, spacing) in zip((7, 8), ("one", "two"), grids, strict=True)
    ]
    frame = generate_uid()
    for folder in folders:
        uid = frame if shared else generate_uid()
        for file in folder.iterdir():
            dataset = pydicom.dcmread(file)
            dataset.FrameOfReferenceUID = uid
            dataset.save_as(file)
    return folders[0], folders[1]


def _read_by_simpleitk(folder: Path) -> SimpleITK.Image:
    files = SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder))
    return SimpleITK.Cast(SimpleITK.ReadImage(files), SimpleITK.sitkFloat32)


def _vector_nifti(path: Path, voxels: np.ndarray) -> None:
    _save(path, np.moveaxis(voxels, 0, -1)[..., None, :])


def _four_axes(path: Path, voxels: np.ndarray) -> None:
    _save(path, np.moveaxis(voxels, 0, -1))


def _components(path: Path, voxels: np.ndarray) -> None:
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(voxels.transpose(3, 2, 1, 0), isVector=True), str(path))


def _joined(path: Path, voxels: np.ndarray) -> None:
    parts = [SimpleITK.GetImageFromArray(one.T) for one in voxels]
    SimpleITK.WriteImage(SimpleITK.JoinSeries(parts), str(path))


@pytest.mark.parametrize(
    ("suffix", "write"),
    [
        (".nii.gz", _four_axes),
        (".nii.gz", _vector_nifti),
        (".nrrd", _components),
        (".nrrd", _joined),
        (".mha", _components),
        (".mha", _joined),
    ],
)
def test_one_file_of_four_axes_holds_all_channels(tmp_path: Path, suffix: str, write: Any) -> None:
    voxels = np.stack([_voxels(n) for n in range(2)])
    path = tmp_path / f"case{suffix}"
    write(path, voxels)
    load = LoadImaged("image", reader=CaseReader(), ensure_channel_first=True)
    for image in (_load(path), load({"image": path})["image"]):
        np.testing.assert_array_equal(image.numpy(), voxels)


def test_the_headers_tell_the_grid_the_type_and_the_memory_before_anything_is_read(tmp_path: Path) -> None:
    coarse = OBLIQUE @ np.diag([2, 2, 2, 1])
    first, same = (_save(tmp_path / f"{n}.nii", _voxels(n)) for n in range(2))
    other = _save(tmp_path / "2.nii", _voxels(2, (20, 10, 10)), coarse)
    whole, mixed = open_image([first, same]), open_image([first, other])
    assert (whole.size, whole.channels, whole.voxel_bytes, whole.reading_bytes) == (SHAPE, 2, 2, 0)
    assert (mixed.size, mixed.channels, mixed.voxel_bytes) == (SHAPE, 2, 4)
    assert mixed.reading_bytes == 20 * 10 * 10 * (2 + 4) + 2 * 4 * 9 * 8 * 7
    np.testing.assert_array_equal(mixed.affine, nib.load(first).affine)
