"""An input told from its headers alone: its grid, its channels and the bytes of a voxel."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
from monai.transforms import Compose, LoadImaged
from PIL import Image

from pipeline.dicom import choose, ras_affine, scan
from pipeline.dicom.reading.geometry import Stack
from pipeline.dicom.reading.pixels import has_whole_values
from pipeline.dicom.reading.tilt import Shear
from pipeline.sources.kinds import PICTURE_SUFFIXES, dicom_pictures, is_dicom, is_picture

__all__ = ["input_grid", "loaded_bytes"]


_NIBABEL_SUFFIXES = (".nii", ".nii.gz", ".hdr", ".mgz", ".mgh")
_RAS_FROM_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
_VOLUME = 3
_FLOAT, _SHORT = 4, 2  # bytes


def input_grid(
    source: str | Path, *, series: str | None = None, untilt: bool = False
) -> tuple[tuple[int, ...], np.ndarray]:
    """The size and the affine (RAS, mm, shape (4, 4)) of an input, without its voxels.

    Args:
        source: a volume, a picture, a DICOM file or a folder with a series.
        series: the DICOM series to take where there are several.
        untilt: whether a series of a tilted gantry is brought to an upright grid, whose size and affine are told then.

    Raises:
        InputError: see :func:`pipeline.dicom.choose`; files of other formats raise the errors of their readers.
    """
    path = Path(source)
    if series is None and (pictures := dicom_pictures(path)):
        header = pydicom.dcmread(pictures[0], stop_before_pixels=True, specific_tags=["Rows", "Columns"], force=True)
        return (int(header.Columns), int(header.Rows)), np.eye(4)
    if path.is_dir() or is_dicom(path):
        one = choose(scan(path), series)
        if untilt and one.tilted is not None:
            return _upright_grid(one.tilted)
        affine = np.eye(4) if one.frames is None else ras_affine(one.frames.geometry)
        return (one.columns, one.rows, one.slices), affine
    name = path.name.lower()
    if name.endswith(_NIBABEL_SUFFIXES):
        image = nib.load(path)
        return tuple(int(n) for n in image.shape[:_VOLUME]), np.asarray(image.affine, dtype=float)
    if name.endswith(PICTURE_SUFFIXES):
        with Image.open(path) as picture:
            return picture.size, np.eye(4)
    return _itk_grid(path)


def loaded_bytes(source: str | Path, preprocessing: Compose, *, series: str | None = None) -> int:
    """Bytes of a voxel of an input after loading: 2 where a reader keeps whole numbers of 16 bits, else 4.

    Args:
        source: see :func:`input_grid`.
        preprocessing: begins with MONAI's ``LoadImaged``.
        series: the DICOM series to take where there are several.
    """
    loading = next((step for step in preprocessing.transforms if isinstance(step, LoadImaged)), None)
    if loading is None or loading._loader.dtype is not None:
        return _FLOAT
    path = Path(source)
    if series is None and is_picture(path):
        return _FLOAT
    if path.is_dir() or is_dicom(path):
        frames = choose(scan(path), series).frames
        return _SHORT if frames is not None and all(map(has_whole_values, frames.headers)) else _FLOAT
    if path.name.lower().endswith(_NIBABEL_SUFFIXES):
        image = nib.load(path)
        kind = image.get_data_dtype()
        whole = (
            float(getattr(image.dataobj, "slope", 1)) == 1 and float(getattr(image.dataobj, "inter", 0)).is_integer()
        )
        return _SHORT if whole and kind.kind in "iu" and kind.itemsize <= _SHORT else _FLOAT
    return _FLOAT


def _upright_grid(stack: Stack) -> tuple[tuple[int, ...], np.ndarray]:
    shear = Shear.of_stack(stack)
    affine = np.array(ras_affine(stack.geometry), dtype=float)
    affine[:, 3] += affine[:, :2] @ shear.origin
    return shear.upright_size, affine


def _itk_grid(path: Path) -> tuple[tuple[int, ...], np.ndarray]:
    import itk  # large, and few inputs need it

    io = itk.ImageIOFactory.CreateImageIO(str(path), itk.CommonEnums.IOFileMode_ReadMode)
    if io is None:
        raise ValueError(f"{path} is of no known format")
    io.SetFileName(str(path))
    io.ReadImageInformation()
    rank = io.GetNumberOfDimensions()
    axes = np.array([io.GetDirection(axis) for axis in range(rank)]).T * [io.GetSpacing(axis) for axis in range(rank)]
    affine = np.eye(4)
    used = min(rank, _VOLUME)
    affine[:used, :used] = axes[:used, :used]
    affine[:used, 3] = [io.GetOrigin(axis) for axis in range(used)]
    return tuple(io.GetDimensions(axis) for axis in range(used)), _RAS_FROM_LPS @ affine
