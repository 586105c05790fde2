"""DICOM images that are pictures, such as radiographs and ultrasound: what a viewer shows at first."""

from __future__ import annotations

import logging
import math
import re
import warnings
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_voi_lut
from pydicom.pixels.utils import pixel_array
from pydicom.uid import UID

from pipeline.dicom.datasets import read_dataset, reading
from pipeline.dicom.elements import COPY_AGAIN, READ_ERRORS, text
from pipeline.dicom.sop_classes import INTENSITIES
from pipeline.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pydicom.dataset import Dataset

__all__ = ["picture_size", "read_picture"]

Array: TypeAlias = "np.ndarray[tuple[int, ...], np.dtype[Any]]"

_log = logging.getLogger(__name__)

_DEEPEST = 65535
_NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*")
_GREY = ("MONOCHROME1", "MONOCHROME2")


def picture_size(path: Path) -> tuple[int, int, int, int]:
    """Columns, rows, samples a pixel, and frames of a picture, by its header.

    Raises:
        InputError: the file is damaged, or tells no size.
    """
    with reading(path):
        header = read_dataset(path, keywords=["Columns", "NumberOfFrames", "Rows", "SamplesPerPixel"])
        columns, rows = (int(header.get(keyword) or 0) for keyword in ("Columns", "Rows"))
        samples, frames = (int(header.get(keyword) or 1) for keyword in ("SamplesPerPixel", "NumberOfFrames"))
    if columns < 1 or rows < 1:
        raise InputError("the image has no size", where=path, got=f"{columns} x {rows} pixels", cure=COPY_AGAIN)
    return columns, rows, samples, frames


def read_picture(path: Path) -> tuple[Array, int]:
    """Read a radiograph, or another DICOM image without a place in the patient (PS3.3 C.7.6.2), as it is shown.

    Grey values go through the Modality LUT or rescaling, but for XA and XRF, then the first VOI LUT or sound window,
    which is spread over 16 bits, and are brighter the more they are to be: MONOCHROME1, or an inverse Presentation LUT,
    is inverted (PS3.4 N.2). Without any of these the stored values are given. Colours are RGB.

    Args:
        path: of the file.

    Returns:
        Samples of shape (Y, X) or (Y, X, 3), unsigned integers, and the largest value that such samples can have.

    Raises:
        InputError: several frames, or pixel data that is damaged or cannot be decoded.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a warning may quote a value
        try:
            dataset = read_dataset(path, pixels=True)
            _check_frames(dataset, path)
            _leave_out(dataset, path)
            stored = pixel_array(dataset)  # YBR as RGB
            if dataset.PhotometricInterpretation in _GREY:
                return _grey(dataset, stored)
            if dataset.PhotometricInterpretation == "PALETTE COLOR":
                colours = apply_color_lut(stored, dataset)
                return colours[..., :3], int(np.iinfo(colours.dtype).max)
            return stored, 2 ** int(dataset.BitsStored) - 1
        except InputError:
            raise
        except READ_ERRORS as error:
            raise InputError(
                "the pixel data cannot be decoded: the file is damaged, or no decoder for it is installed",
                where=path,
                got=_syntax(path),
                cure=f"{COPY_AGAIN}, uncompressed if need be; JPEG lossless needs: pip install 'medbundle[jpeg]'",
            ) from error


def _check_frames(dataset: Dataset, path: Path) -> None:
    frames = int(dataset.get("NumberOfFrames") or 1)
    if frames > 1:
        raise InputError("holds several pictures", where=path, expected="1", got=frames, cure="Export one frame")


def _leave_out(dataset: Dataset, path: Path) -> None:
    """Take away what is not for display: the Modality LUT of XA and XRF, and windows that are none.

    The former leads to X-ray intensities (PS3.3 C.8.7.1.1.2 and C.11.1); a window has a width (C.11.2.1.2).
    """
    if dataset.get("SOPClassUID") in INTENSITIES:
        for keyword in ("ModalityLUTSequence", "RescaleSlope", "RescaleIntercept", "RescaleType"):
            dataset.pop(keyword, None)
    if "WindowWidth" not in dataset and "WindowCenter" not in dataset:
        return
    window = next(_windows(dataset), None)
    for keyword in ("WindowCenter", "WindowWidth"):
        dataset.pop(keyword, None)
    if window is not None:
        dataset.WindowCenter, dataset.WindowWidth = window
    elif "VOILUTSequence" not in dataset:
        _log.warning("%s: its window has no width and is not applied", path)


def _windows(dataset: Dataset) -> Iterator[tuple[float, float]]:
    """The sound ones of a file's windows: centre and width."""
    least = 1.0 if str(dataset.get("VOILUTFunction") or "LINEAR") == "LINEAR" else 0.0
    for center, width in zip(_floats(dataset, "WindowCenter"), _floats(dataset, "WindowWidth"), strict=False):
        if math.isfinite(center) and math.isfinite(width) and width >= least and width > 0:
            yield center, width


def _floats(dataset: Dataset, keyword: str) -> list[float]:
    """The numbers of a DS value; NaN for what is none."""
    return [float(value) if _NUMBER.fullmatch(value) else math.nan for value in text(dataset, keyword).split("\\")]


def _grey(dataset: Dataset, stored: Array) -> tuple[Array, int]:
    bits = int(dataset.BitsStored)
    unused = int(dataset.BitsAllocated) - bits
    if unused and stored.dtype.itemsize * 8 == int(dataset.BitsAllocated):
        stored = (stored << unused) >> unused  # an overlay may be in these bits (PS3.5 8.1.1)
    if any(keyword in dataset for keyword in ("VOILUTSequence", "WindowWidth", "ModalityLUTSequence")):
        shown, low, high = _displayed(dataset, stored)
        samples = np.rint((np.clip(shown, low, high) - low) * (_DEEPEST / (high - low))).astype(np.uint16)
        full = _DEEPEST
    else:  # rescaling alone changes neither the order, but for a negative slope, nor the range
        lowest, full = -(1 << bits - 1) if stored.dtype.kind == "i" else 0, (1 << bits) - 1
        samples = (stored.astype(np.int64) - lowest).astype(np.min_scalar_type(full))
        if float(dataset.get("RescaleSlope") or 1) < 0:
            samples = full - samples
    inverse = dataset.PhotometricInterpretation == "MONOCHROME1" or dataset.get("PresentationLUTShape") == "INVERSE"
    return (full - samples if inverse else samples), full


def _displayed(dataset: Dataset, stored: Array) -> tuple[Array, float, float]:
    """Values after Modality and VOI LUT, and the range that they can have."""
    values = apply_modality_lut(stored, dataset)
    if "VOILUTSequence" in dataset:
        bits = int(dataset.VOILUTSequence[0].LUTDescriptor[2])
        return apply_voi_lut(values.astype(np.int64), dataset).astype(np.float64), 0.0, float((1 << bits) - 1)
    if "WindowWidth" in dataset:
        shown = apply_voi_lut(np.asarray(values, dtype=np.float64), dataset)
        low, high = sorted(apply_voi_lut(np.array([-1e7, 1e7]), dataset).tolist())
        return shown, low, high
    bits = int(dataset.ModalityLUTSequence[0].LUTDescriptor[2])
    return values.astype(np.float64), 0.0, float((1 << bits) - 1)


def _syntax(path: Path) -> str:
    try:
        return UID(read_dataset(path).file_meta.TransferSyntaxUID).name
    except Exception:  # noqa: BLE001 - it is only told
        return "an unknown transfer syntax"
