"""NIfTI files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt

from pipeline.writing import whole_file

__all__ = ["nifti_image", "write_label_map", "write_nifti"]


_AFFINE_TOLERANCE_MM = 1e-3
_SCANNER = 1  # NIfTI's code for the coordinates of the scanner, which DICOM's patient coordinates are
_GEOMETRY_FIELDS = (
    *("qform_code", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z"),
    *("sform_code", "srow_x", "srow_y", "srow_z", "xyzt_units"),
)


def write_label_map(labels: np.ndarray, affine: np.ndarray, target: Path, *, like: str | None = None) -> None:
    """Write a uint8 NIfTI label map.

    Args:
        labels: shape (X, Y, Z), values 0 to 255.
        affine: voxel indices to RAS mm, shape (4, 4).
        target: the final path; a temporary neighbour is renamed to it.
        like: a NIfTI file whose geometry is copied bit by bit; ignored if it is something else.
    """
    image = nifti_image(labels.astype(np.uint8, copy=False), affine, like=like)
    with whole_file(target) as temporary:
        nib.save(image, temporary)


def nifti_image(values: np.ndarray, affine: np.ndarray, *, like: str | None) -> Any:
    """An image of nibabel with values of shape (X, Y, Z) in the geometry of ``like``, see :func:`write_label_map`."""
    if like is not None and like.lower().endswith((".nii", ".nii.gz")):
        source = nib.load(like)
        if isinstance(source.header, nib.Nifti1Header):
            return _in_geometry_of(source, values)
    image = nib.Nifti1Image(values, affine)
    image.header.set_xyzt_units("mm", "sec")
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


def write_nifti(array: npt.NDArray[Any], affine: npt.NDArray[np.float64], path: Path) -> Path:
    """Write a volume in the scanner's coordinates (NIfTI-1, qform and sform code 1).

    Args:
        array: axes (i, j, k), of a type that NIfTI has.
        affine: 4x4, voxel to RAS mm. Where it is sheared there is no qform, which cannot be.
        path: the file; it appears whole or not at all.
    """
    image = nib.Nifti1Image(array, affine)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, code=_SCANNER)
    image.set_qform(affine, code=_SCANNER, strip_shears=True)
    ends = np.array([[i, j, k, 1] for i in (0, 1) for j in (0, 1) for k in (0, 1)]) * [*array.shape, 1]
    if np.abs((image.get_qform() - affine) @ ends.T).max() > _AFFINE_TOLERANCE_MM:
        image = nib.Nifti1Image(array, affine)  # the attempt has changed the voxel sizes
        image.header.set_xyzt_units("mm")
        image.set_sform(affine, code=_SCANNER)
        image.set_qform(None, code=0)
    with whole_file(path) as temporary:
        nib.save(image, temporary)
    return path
