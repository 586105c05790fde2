"""What a NIfTI header says of an image's place, unit and values, and what contradicts itself.

Fields and codes are those of nifti1.h (https://nifti.nimh.nih.gov/nifti-1) and of NIfTI-2.
"""

from __future__ import annotations

import itertools
import logging
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
from nibabel.openers import ImageOpener

from pipeline.errors import InputError
from pipeline.sources.integrity import COPY_AGAIN

__all__ = ["affine_mm", "check_header"]

logger = logging.getLogger(__name__)

_NIFTI_1_BYTES, _NIFTI_2_BYTES = 348, 540  # sizeof_hdr
_MM_PER_UNIT = {0: 1.0, 1: 1e3, 2: 1.0, 3: 1e-3}  # unknown, metre, millimetre, micrometre: the lowest three bits
_SPATIAL_BITS = 0x07
_TOLERANCE_VOXELS = 0.1
_VOLUME, _TIME, _VECTORS = 3, 4, 5
_VECTOR_INTENTS = {1005: "symmetric matrices", 1006: "displacements", 1007: "vectors", 1008: "points",
                   1009: "triangles", 1010: "quaternions"}  # fmt: skip
_REWRITE = "Rewrite the header so that both agree"


def affine_mm(image: Any) -> npt.NDArray[np.float64]:
    """Voxel indices to RAS mm, shape (4, 4), of a NIfTI image of nibabel, whatever the unit of its header.

    Raises:
        InputError: the unit is none of length.
    """
    affine = np.array(image.affine, dtype=np.float64)
    affine[:_VOLUME] *= _scale(image)
    return affine


def _scale(image: Any) -> float:
    code = int(image.header["xyzt_units"]) & _SPATIAL_BITS
    if code not in _MM_PER_UNIT:
        expected = "metre, millimetre or micrometre (1, 2 or 3)"
        raise InputError("xyzt_units has no unit of length", where=_name(image), expected=expected, got=code)
    return _MM_PER_UNIT[code]


def check_header(image: Any) -> None:
    """Refuse a NIfTI header that is damaged, says two things of one, or is of no plain image.

    Args:
        image: of nibabel.

    Raises:
        InputError: names the field.
    """
    header, path = image.header, _name(image)
    wanted = _NIFTI_2_BYTES if isinstance(header, nib.Nifti2Header) else _NIFTI_1_BYTES
    if (stored := _stored_size(image)) is not None and wanted not in stored:
        raise InputError(
            "cannot be read: its header is damaged",
            where=path,
            expected=f"sizeof_hdr {wanted}",
            got=stored[0],
            cure=COPY_AGAIN,
        )
    intent = _VECTOR_INTENTS.get(int(header["intent_code"]))
    if intent is not None and len(image.shape) >= _VECTORS and image.shape[_TIME] > 1:
        raise InputError(f"holds {intent}, not an image", where=path, expected="no such intent_code")
    _check_numbers(image)
    _check_forms(image)


def _stored_size(image: Any) -> tuple[int, int] | None:
    """What the file begins with, in both byte orders: nibabel mends the field when it reads it."""
    files = image.file_map
    name = files.get("header", files["image"]).filename or files["image"].filename
    if name is None:
        return None
    with ImageOpener(name) as stream:
        begin = stream.read(4)
    return int.from_bytes(begin, "little"), int.from_bytes(begin, "big")


def _check_numbers(image: Any) -> None:
    zooms = np.asarray(image.header["pixdim"][1 : 1 + min(len(image.shape), _VOLUME)], dtype=np.float64)
    if not np.isfinite(zooms).all():
        raise InputError("pixdim is not finite", where=_name(image), got=zooms.tolist(), cure="Repair the header")
    if not np.isfinite(image.affine).all():
        raise InputError("the affine is not finite", where=_name(image), cure="Repair the header")


def _check_forms(image: Any) -> None:
    """Compare sform and qform where both are given: programs differ in which of them they take."""
    header, path = image.header, _name(image)
    sform_code, qform_code = int(header["sform_code"]), int(header["qform_code"])
    if not sform_code and not qform_code:
        logger.warning("%s: neither sform nor qform tells how it lies: its axes are taken as right, front, head", path)
    if not sform_code or not qform_code:
        return
    sform, qform = image.get_sform(), image.get_qform()
    sizes = [np.linalg.norm(form[:_VOLUME, :_VOLUME], axis=0) for form in (sform, qform)]
    if not np.allclose(sizes[0], sizes[1], rtol=_TOLERANCE_VOXELS / 10):
        raise InputError(
            "sform and qform disagree about the voxel size",
            where=path,
            expected=f"{sizes[1].round(4).tolist()} mm, as the qform says",
            got=f"{sizes[0].round(4).tolist()} mm from the sform",
            cure=_REWRITE,
        )
    corners = np.array([*itertools.product(*((0, n - 1) for n in _three(image.shape)), (1,))]).T
    away = float(np.linalg.norm(((sform - qform) @ corners)[:_VOLUME], axis=0).max())
    if away <= _TOLERANCE_VOXELS * sizes[0].min():
        return
    codes = [nib.aff2axcodes(form) for form in (sform, qform)]
    if sform_code == qform_code or codes[0] != codes[1]:
        raise InputError(
            "sform and qform put it at two places",
            where=path,
            expected="the same place",
            got=f"axes {''.join(codes[0])} and {''.join(codes[1])}, voxels up to {away:.3g} mm apart",
            cure=_REWRITE,
        )
    logger.warning(
        "%s: sform (code %d) and qform (code %d) differ by up to %.3g mm: the sform is taken",
        path, sform_code, qform_code, away,
    )  # fmt: skip


def _three(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (*shape[:_VOLUME], *(1,) * (_VOLUME - len(shape)))


def _name(image: Any) -> Path:
    return Path(image.get_filename() or "image")
