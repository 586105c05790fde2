"""What an image says of itself before it is loaded is what is loaded, and what other libraries say."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from PIL import Image

from pipeline.data.phantoms import make_phantom, write_phantom_dicom
from pipeline.errors import InputError
from pipeline.sources import CaseReader, Options, open_image

SIZE = (5, 4, 3)
AFFINE = np.array([[0, -1.5, 0, 7], [2.0, 0, 0, -8], [0, 0, 2.5, 9], [0, 0, 0, 1]])  # RAS mm


def _volume(path: Path, dtype: str) -> None:
    values = np.arange(60).reshape(SIZE).astype(dtype)
    if path.suffix in (".nii", ".gz", ".mgz"):
        kind = nib.MGHImage if path.suffix == ".mgz" else nib.Nifti1Image
        nib.save(kind(values, AFFINE), path)
        return
    image = sitk.GetImageFromArray(values.T)
    lps = np.diag([-1, -1, 1, 1]) @ AFFINE
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    sitk.WriteImage(image, str(path))


@pytest.mark.parametrize("dtype", ["int16", "uint8", "float32", "int32"])
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.mgz", "a.nrrd", "a.mha", "a.mhd"])
def test_a_volume(name: str, dtype: str, tmp_path: Path) -> None:
    _volume(tmp_path / name, dtype)
    image = open_image(tmp_path / name)
    assert (image.size, image.unit, image.channels) == (SIZE, "mm", 1)
    np.testing.assert_allclose(image.affine, AFFINE, atol=1e-6)
    tensor, _ = CaseReader(compact=True).get_data((tmp_path / name,))
    assert tensor.element_size() <= image.voxel_bytes
    array, meta = CaseReader().get_data((tmp_path / name,))
    assert array.shape == SIZE
    np.testing.assert_allclose(meta["affine"], AFFINE, atol=1e-6)


def test_a_series(tmp_path: Path) -> None:
    phantom = make_phantom(1, shape=(10, 8, 6), spacing_mm=(1.5, 2, 3))
    folder = write_phantom_dicom(phantom, tmp_path / "series")
    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder))
    other = sitk.ReadImage(names)
    for source in (folder, list(folder.iterdir()), tmp_path):
        image = open_image(source)  # type: ignore[arg-type]
        assert (image.kind, image.size, image.voxel_bytes) == ("DICOM", other.GetSize(), 2)
        np.testing.assert_allclose(np.linalg.norm(image.affine[:3, :3], axis=0), other.GetSpacing())
        ends = [[i, j, k] for i in (0, 9) for j in (0, 7) for k in (0, 5)]  # whichever end the slices begin at
        ours = sorted(
            (np.diag([-1, -1, 1]) @ (image.affine[:3, :3] @ end + image.affine[:3, 3])).tolist() for end in ends
        )
        np.testing.assert_allclose(ours, sorted(other.TransformIndexToPhysicalPoint(end) for end in ends))


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("RGB", 3), ("RGBA", 4), ("I;16", 1)])
def test_a_picture(mode: str, channels: int, tmp_path: Path) -> None:
    Image.new(mode, (7, 5)).save(tmp_path / "a.png")
    image = open_image(tmp_path / "a.png")
    assert (image.kind, image.size, image.unit, image.channels) == ("PNG", (7, 5), "pixel", channels)
    assert open_image(tmp_path / "a.png", Options(channels=3)).channels == 3
    array, _ = image.load()
    assert array.shape == ((7, 5) if channels == 1 else (7, 5, channels))


def test_what_cannot_be_opened_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty.nii").touch()
    with pytest.raises(InputError, match="file is empty"):
        open_image(tmp_path / "empty.nii")
    with pytest.raises(InputError, match="no such file or folder"):
        open_image(tmp_path / "absent.nii")
