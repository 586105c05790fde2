"""The one writer of NIfTI files.

Where the input is NIfTI, its geometry is copied bit by bit: dimensions, qform, sform, their codes and the unit. Else
qform and sform are both written with code 1, the scanner's coordinates, which are DICOM's patient coordinates, and
those of NRRD and MetaImage; a sheared grid, as that of a tilted gantry, has no qform, which cannot be sheared.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt

from pipeline.sources.kinds import kind_of
from pipeline.writing import whole_file

__all__ = ["nifti_image", "write_nifti"]

_AFFINE_TOLERANCE_MM = 1e-3
_SCANNER = 1  # NIfTI's code for the coordinates of the scanner
_GEOMETRY_FIELDS = (
    *("qform_code", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z"),
    *("sform_code", "srow_x", "srow_y", "srow_z", "xyzt_units"),
)


def write_nifti(
    values: npt.NDArray[Any], affine: npt.NDArray[np.float64], path: Path, *, like: str | Path | None = None
) -> Path:
    """Write a volume.

    Args:
        values: shape (X, Y, Z), of a type that NIfTI has.
        affine: voxel indices to RAS mm, shape (4, 4).
        path: the file; it appears whole or not at all.
        like: the input that they belong to; its geometry is copied if it is NIfTI.

    Raises:
        InputError: the file cannot be written.
    """
    image = nifti_image(values, affine, like=like)
    with whole_file(path) as temporary:
        nib.save(image, temporary)
    return path


def nifti_image(values: npt.NDArray[Any], affine: npt.NDArray[np.float64], *, like: str | Path | None = None) -> Any:
    """What :func:`write_nifti` writes, as an image of nibabel."""
    if like is not None and kind_of(Path(like)) == "NIfTI":
        return _in_geometry_of(nib.load(like), values)
    image = _scanned(values, affine)
    image.set_qform(affine, code=_SCANNER, strip_shears=True)
    ends = np.array([[i, j, k, 1] for i in (0, 1) for j in (0, 1) for k in (0, 1)]) * [*values.shape, 1]
    if np.abs((image.get_qform() - affine) @ ends.T).max() <= _AFFINE_TOLERANCE_MM:
        return image
    image = _scanned(values, affine)  # the attempt has changed the voxel sizes
    image.set_qform(None, code=0)
    return image


def _scanned(values: npt.NDArray[Any], affine: npt.NDArray[np.float64]) -> Any:
    image = nib.Nifti1Image(values, affine)
    image.header.set_xyzt_units("mm", "sec")
    image.set_sform(affine, code=_SCANNER)
    return image


def _in_geometry_of(source: Any, labels: np.ndarray) -> Any:
    """A map with the geometry of a NIfTI image, and nothing else of it: its texts may name the patient."""
    if set(source.shape[3:]) == {1}:  # keep axes of length 1
        labels = labels.reshape(source.shape)
    # NIfTI-2 holds 64-bit numbers, which NIfTI-1 would round.
    image = (nib.Nifti2Image if isinstance(source.header, nib.Nifti2Header) else nib.Nifti1Image)(labels, None)
    for field in _GEOMETRY_FIELDS:
        image.header[field] = source.header[field]
    image.header["pixdim"][: labels.ndim + 1] = source.header["pixdim"][: labels.ndim + 1]
    return type(image)(labels, None, header=image.header)
