"""Read the header of one DICOM file, and nothing more of it than its place in a volume and its stored values need."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, BinaryIO

from pydicom.uid import UID

from pipeline.dicom.datasets import read_open
from pipeline.dicom.elements import COPY_AGAIN, READ_ERRORS, decoded_text, hashed, text, whole_number
from pipeline.dicom.reading.functional_groups import CONCATENATION_KEYWORDS, concatenation, frame_headers
from pipeline.dicom.reading.header import Header
from pipeline.dicom.reading.image_modules import ACQUISITION_KEYWORDS, acquisition, image_pixel, image_plane
from pipeline.dicom.reading.modality_lut import read_modality_lut
from pipeline.dicom.reading.pixel_data import check_length, find_pixel_data
from pipeline.dicom.reading.preamble import PREAMBLE_BYTES, begins_bare, begins_dicom, promises_dicom
from pipeline.dicom.sop_classes import RESULTS
from pipeline.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from pydicom.dataset import Dataset

    from pipeline.dicom.reading.pixel_data import PixelData

__all__ = ["read_header"]

_KEYWORDS = (
    *ACQUISITION_KEYWORDS,
    *CONCATENATION_KEYWORDS,
    "BitsAllocated",
    "BitsStored",
    "Columns",
    "FrameOfReferenceUID",
    "HighBit",
    "ImageOrientationPatient",
    "ImagePositionPatient",
    "Modality",
    "ModalityLUTSequence",
    "NumberOfFrames",
    "PatientID",
    "PatientName",
    "PerFrameFunctionalGroupsSequence",
    "PhotometricInterpretation",
    "PixelRepresentation",
    "PixelSpacing",
    "RescaleIntercept",
    "RescaleSlope",
    "Rows",
    "SOPClassUID",
    "SOPInstanceUID",
    "SamplesPerPixel",
    "SeriesDescription",
    "SeriesInstanceUID",
    "SeriesNumber",
    "SharedFunctionalGroupsSequence",
    "SliceThickness",
    "SpacingBetweenSlices",
    "SpecificCharacterSet",
)

_PLACES = ("ImageOrientationPatient", "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
_REMEMBERED = 2**16  # files


def read_header(path: Path) -> Header | None:
    """Read the header of one file without its pixels, once in a run, unless the file changes.

    Returns:
        The header; ``None`` for a file that is not DICOM, and for a DICOM object that holds no image.

    Raises:
        InputError: the file is damaged to the point that its series cannot be told.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise InputError("the file cannot be read", where=path.name, got=error.strerror) from None
    found = _remembered(path, (status.st_ino, status.st_size, status.st_mtime_ns))
    if isinstance(found, str):
        raise InputError(found)
    return found


@lru_cache(_REMEMBERED)
def _remembered(path: Path, signature: tuple[int, int, int]) -> Header | str | None:  # noqa: ARG001 - a part of the key
    """The header, or why the file cannot be used; a study is looked at more than once."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            dataset = _read_dataset(file, path, size)
            if dataset is None:
                return None
            return _header(dataset, path=path, file=file, size=size)
    except READ_ERRORS as error:
        if isinstance(error, InputError):
            return str(error)
        # pydicom's own text may quote a value of the header, so only the kind of error is shown.
        return str(InputError("the file cannot be read", where=path.name, got=type(error).__name__, cure=COPY_AGAIN))


def _read_dataset(file: BinaryIO, path: Path, size: int) -> Dataset | None:
    if size == 0:
        suffix = path.suffix
        if promises_dicom(path.name) or suffix == "" or suffix[1:].isdigit():
            raise InputError("the file is empty", where=path.name, cure=COPY_AGAIN)
        return None
    head = file.read(PREAMBLE_BYTES)
    file.seek(0)
    if not begins_dicom(head):
        if promises_dicom(path.name):
            raise InputError("the file is not DICOM, whatever its name says", where=path.name, cure=COPY_AGAIN)
        return None
    return read_open(file, where=path, keywords=_KEYWORDS, force=begins_bare(head))


def _header(dataset: Dataset, *, path: Path, file: BinaryIO, size: int) -> Header | None:
    sop_class_uid = str(dataset.file_meta.get("MediaStorageSOPClassUID", "")) or text(dataset, "SOPClassUID")
    syntax = str(dataset.file_meta.get("TransferSyntaxUID", ""))
    series_uid = text(dataset, "SeriesInstanceUID")
    pixels, problem = None, None
    try:
        pixels = find_pixel_data(dataset, file, syntax, size=size, name=path.name)
    except InputError as error:
        problem = str(error)
    if not (sop_class_uid or pixels or problem):
        raise InputError("the file is truncated within its header", where=path.name, cure=COPY_AGAIN)
    if sop_class_uid in RESULTS or not (pixels or problem or "Image Storage" in UID(sop_class_uid).name):
        return None
    if not series_uid:
        what = "the file has no SeriesInstanceUID" if pixels else "the file is truncated: it has no SeriesInstanceUID"
        raise InputError(what, where=path.name, cure=COPY_AGAIN)
    if pixels is None and problem is None:
        problem = str(InputError("the file is truncated: it has no pixel data", where=path.name, cure=COPY_AGAIN))
    header = Header(
        path=path,
        sop_class_uid=sop_class_uid,
        sop_instance_uid=text(dataset, "SOPInstanceUID"),
        series_uid=series_uid,
        transfer_syntax_uid=syntax,
        patient=(hashed(dataset, "PatientID"), hashed(dataset, "PatientName")),
        modality=text(dataset, "Modality"),
        number=whole_number(dataset, "SeriesNumber"),
        description=decoded_text(dataset, "SeriesDescription"),
        localizer="LOCALIZER" in text(dataset, "ImageType").upper().split("\\"),
        placed=any(keyword in dataset for keyword in _PLACES),
        problem=problem,
    )
    return header if pixels is None else _with_image(header, dataset, pixels, size)


def _with_image(header: Header, dataset: Dataset, pixels: PixelData, size: int) -> Header:
    """Add what the image is like, or what is wrong with it."""
    try:
        little = dataset.original_encoding[1] is not False
        header = replace(header, **image_pixel(dataset, header.path), pixel_offset=pixels.offset if little else None)
        check_length(header, pixels, size=size)
        if header.enhanced:
            header = replace(header, concatenation=concatenation(dataset, header.path))
            return replace(header, frame_headers=frame_headers(dataset, header))
        return replace(header, **_single_frame(dataset, header))
    except InputError as error:
        return replace(header, problem=str(error))


def _single_frame(dataset: Dataset, header: Header) -> dict[str, Any]:
    if header.frames != 1:
        raise InputError(
            "a multi-frame image of this kind has no known slice positions",
            where=header.path.name,
            expected="one file per slice, or enhanced CT, MR or PET",
            got=f"{header.frames} frames",
        )
    name = header.path.name
    plane = image_plane(position=dataset, orientation=dataset, measures=dataset, transformation=dataset, where=name)
    lut = read_modality_lut(dataset, signed=header.signed, where=name) if "ModalityLUTSequence" in dataset else None
    return {**plane, "lut": lut, "acquisition": acquisition(dataset)}
