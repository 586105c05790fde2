"""Read a DICOM file as a whole, and refuse what is not all there or is of a kind that holds free text."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from pydicom.dataelem import RawDataElement
from pydicom.uid import UID

from pipeline.dicom.datasets import read_open
from pipeline.dicom.elements import COPY_AGAIN, text
from pipeline.dicom.reading.preamble import PREAMBLE_BYTES, begins_bare, begins_dicom, promises_dicom
from pipeline.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from pydicom.dataset import Dataset

__all__ = ["PassedOver", "object_kind", "read_whole"]

_UNDEFINED = 0xFFFFFFFF
_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_BESIDE_IMAGES = {
    "Label Map Segmentation Storage",
    "Parametric Map Storage",
    "RT Dose Storage",
    "RT Plan Storage",
    "RT Structure Set Storage",
    "Real World Value Mapping Storage",
    "Segmentation Storage",
    "Spatial Fiducials Storage",
    "Spatial Registration Storage",
    "Deformable Spatial Registration Storage",
}


class PassedOver(Exception):  # noqa: N818 - it is no error
    """A file that is left out, with the reason; nothing is wrong with it."""


def read_whole(path: Path) -> Dataset:
    """Read a file with its pixels.

    Raises:
        PassedOver: the file is not DICOM, nor named like it.
        InputError: the file is truncated; no part of its name or its values is in the message.
    """
    with path.open("rb") as file:
        head = file.read(PREAMBLE_BYTES)
        if not begins_dicom(head):
            if promises_dicom(path.name):
                raise InputError("the file is not DICOM, whatever its name says", cure=COPY_AGAIN)
            raise PassedOver("not DICOM")
        file.seek(0)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            dataset = read_open(file, where=None, pixels=True, force=begins_bare(head))
    ended = any(" in file " in str(warning.message) for warning in caught)  # where pydicom met the end of the file
    if ended or _is_short(dataset):
        raise InputError("the file is truncated", cure=COPY_AGAIN)
    return dataset


def _is_short(dataset: Dataset) -> bool:
    """Whether an element holds less than it says, or the pixels of an image are missing."""
    stored = [element for element in dataset.values() if isinstance(element, RawDataElement)]
    cut = any(element.length != _UNDEFINED and len(element.value or b"") < element.length for element in stored)
    return cut or ("Rows" in dataset and not any(keyword in dataset for keyword in _PIXELS))


def object_kind(dataset: Dataset) -> str:
    """Return the name of a data set's SOP class (PS3.4 B.5), without "Storage".

    Raises:
        PassedOver: objects of this kind hold text that cannot be cleaned, or no image.
        InputError: the data set is no instance.
    """
    uid = text(dataset, "SOPClassUID")
    if uid == "1.2.840.10008.1.3.10" or (not uid and "DirectoryRecordSequence" in dataset):
        raise PassedOver("DICOMDIR")
    if not uid or not all(text(dataset, f"{level}InstanceUID") for level in ("SOP", "Series", "Study")):
        raise InputError("the file names no instance, series or study", cure=COPY_AGAIN)
    name = "of no standard kind" if UID(uid).name == uid else UID(uid).name
    if "Secondary Capture" in name or not ("Image Storage" in name or name in _BESIDE_IMAGES):
        raise PassedOver(f"{name.removesuffix(' Storage')}: its text cannot be cleaned")
    return name.removesuffix(" Storage")
