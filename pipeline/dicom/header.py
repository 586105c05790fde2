"""The header of one DICOM file: what its place in a volume and its stored values need, and nothing more."""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, BinaryIO

import pydicom
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

from pipeline.dicom.elements import (
    COPY_AGAIN,
    READ_ERRORS,
    decoded_text,
    hashed,
    number,
    numbers,
    text,
    whole_number,
)
from pipeline.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from pydicom.dataset import Dataset

__all__ = ["Header", "read_header"]

_KEYWORDS = (
    "BitsAllocated",
    "BitsStored",
    "Columns",
    "FrameOfReferenceUID",
    "ImageOrientationPatient",
    "ImagePositionPatient",
    "Modality",
    "ModalityLUTSequence",
    "NumberOfFrames",
    "PatientID",
    "PatientName",
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
    "SliceThickness",
    "SpacingBetweenSlices",
    "SpecificCharacterSet",
)

# They hold pixels, but are results about an image and not an image to segment (PS3.4 B.5).
_RESULT_CLASSES = {
    "1.2.840.10008.5.1.4.1.1.66.4",  # Segmentation
    "1.2.840.10008.5.1.4.1.1.66.7",  # Label Map Segmentation
    "1.2.840.10008.5.1.4.1.1.481.2",  # RT Dose
}
_ENHANCED_CLASSES = {
    "1.2.840.10008.5.1.4.1.1.2.1",  # Enhanced CT
    "1.2.840.10008.5.1.4.1.1.2.2",  # Legacy Converted Enhanced CT
    "1.2.840.10008.5.1.4.1.1.4.1",  # Enhanced MR
    "1.2.840.10008.5.1.4.1.1.4.4",  # Legacy Converted Enhanced MR
    "1.2.840.10008.5.1.4.1.1.128.1",  # Legacy Converted Enhanced PET
    "1.2.840.10008.5.1.4.1.1.130",  # Enhanced PET
}


@dataclass(frozen=True, kw_only=True)
class Header:
    """The part of one instance's header that grouping, geometry and pixel reading need.

    ``patient`` holds hashes of the patient's ID and name ("" when absent): enough to tell two patients apart,
    and nothing that could be printed. ``pixel_offset`` is where the native pixel values begin in the file;
    ``None`` when they are compressed or deflated. ``problem`` is the reason why this file cannot be used.
    """

    path: Path
    sop_class_uid: str
    sop_instance_uid: str
    series_uid: str
    transfer_syntax_uid: str
    patient: tuple[str, str] = field(repr=False)
    modality: str
    number: int | None
    description: str
    rows: int = 0
    columns: int = 0
    frames: int = 1
    frame_of_reference_uid: str = ""
    photometric: str = ""
    bits_allocated: int = 0
    bits_stored: int = 0
    signed: bool = False
    orientation: tuple[float, ...] = ()
    position: tuple[float, ...] = ()
    pixel_spacing: tuple[float, ...] = ()
    slice_extent_mm: float = 1.0
    slope: float | None = None
    intercept: float | None = None
    pixel_offset: int | None = None
    problem: str | None = None

    @property
    def enhanced(self) -> bool:
        """Whether the file is an enhanced multi-frame image, which holds a whole volume."""
        return self.sop_class_uid in _ENHANCED_CLASSES


def read_header(path: Path) -> Header | None:
    """Read the header of one file without its pixels.

    Returns:
        The header; ``None`` for a file that is not DICOM, and for a DICOM object that holds no image.

    Raises:
        InputError: the file is damaged to the point that its series cannot be told.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            dataset = _read_dataset(file, path, size)
            if dataset is None:
                return None
            return _header(dataset, path=path, file=file, size=size)
    except READ_ERRORS as error:
        if isinstance(error, InputError):
            raise
        # pydicom's own text may quote a value of the header, so only the kind of error is shown.
        raise InputError(
            "the file cannot be read", where=path.name, got=type(error).__name__, cure=COPY_AGAIN
        ) from error


def _read_dataset(file: BinaryIO, path: Path, size: int) -> Dataset | None:
    suffix = path.suffix.lower()
    promises_dicom = suffix in {".dcm", ".dicom", ".ima"}
    if size == 0:
        if promises_dicom or suffix == "" or suffix[1:].isdigit():
            raise InputError("the file is empty", where=path.name, cure=COPY_AGAIN)
        return None
    head = file.read(132)
    file.seek(0)
    # Old archives leave out the preamble (PS3.10 section 7.1); such a file begins with group 0002 or 0008.
    bare = head[:2] in {b"\x02\x00", b"\x08\x00"} and head[2:4] in {b"\x00\x00", b"\x05\x00", b"\x08\x00", b"\x16\x00"}
    if head[128:] != b"DICM" and not bare:
        if promises_dicom:
            raise InputError("the file is not DICOM, whatever its name says", where=path.name, cure=COPY_AGAIN)
        return None
    return pydicom.dcmread(file, stop_before_pixels=True, specific_tags=list(_KEYWORDS), force=bare)


def _header(dataset: Dataset, *, path: Path, file: BinaryIO, size: int) -> Header | None:
    sop_class_uid = str(dataset.file_meta.get("MediaStorageSOPClassUID", "")) or text(dataset, "SOPClassUID")
    syntax = str(dataset.file_meta.get("TransferSyntaxUID", ""))
    series_uid = text(dataset, "SeriesInstanceUID")
    offset, length, found = _find_pixels(dataset, file, syntax)
    if not (sop_class_uid or found):
        raise InputError("the file is truncated within its header", where=path.name, cure=COPY_AGAIN)
    if sop_class_uid in _RESULT_CLASSES or not (found or "Image Storage" in UID(sop_class_uid).name):
        return None
    if not series_uid:
        raise InputError("the file has no SeriesInstanceUID", where=path.name, cure=COPY_AGAIN)
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
    )
    if not found:
        problem = InputError("the file is truncated: it has no pixel data", where=path.name, cure=COPY_AGAIN)
        return replace(header, problem=str(problem))
    try:
        header = replace(header, **_image_fields(dataset, path), pixel_offset=offset)
        if not header.enhanced:
            header = replace(header, **_plane_fields(dataset, path))
        _check_length(header, length=length, size=size)
    except InputError as error:
        return replace(header, problem=str(error))
    return header


def _image_fields(dataset: Dataset, path: Path) -> dict[str, Any]:
    """Return the Image Pixel module's fields (PS3.3 C.7.6.3)."""
    photometric = text(dataset, "PhotometricInterpretation")
    samples = int(dataset.get("SamplesPerPixel") or 1)
    if samples != 1 or not photometric.startswith("MONOCHROME"):
        raise InputError(
            "a colour image has no intensities to segment",
            where=path.name,
            expected="MONOCHROME1 or MONOCHROME2",
            got=photometric or f"{samples} samples per pixel",
        )
    rows, columns = int(dataset.get("Rows") or 0), int(dataset.get("Columns") or 0)
    bits_allocated = int(dataset.get("BitsAllocated") or 0)
    bits_stored = int(dataset.get("BitsStored") or bits_allocated)
    if rows < 1 or columns < 1:
        raise InputError("the image has no size", where=path.name, got=f"{columns} x {rows} pixels", cure=COPY_AGAIN)
    if bits_allocated not in {8, 16, 32} or not 0 < bits_stored <= bits_allocated:
        got = f"{bits_stored} of {bits_allocated} bits"
        raise InputError("unsupported depth of the stored values", where=path.name, expected="8, 16 or 32", got=got)
    return {
        "rows": rows,
        "columns": columns,
        "frames": int(dataset.get("NumberOfFrames") or 1),
        "frame_of_reference_uid": text(dataset, "FrameOfReferenceUID"),
        "photometric": photometric,
        "bits_allocated": bits_allocated,
        "bits_stored": bits_stored,
        "signed": bool(dataset.get("PixelRepresentation")),
    }


def _plane_fields(dataset: Dataset, path: Path) -> dict[str, Any]:
    """Return the Image Plane module's fields (PS3.3 C.7.6.2) and the rescaling (PS3.3 C.11.1)."""
    if "ModalityLUTSequence" in dataset:
        raise InputError(
            "values that are rescaled by a look-up table (ModalityLUTSequence) are not supported", where=path.name
        )
    frames = int(dataset.get("NumberOfFrames") or 1)
    if frames != 1:
        raise InputError(
            "a multi-frame image of this kind has no known slice positions",
            where=path.name,
            expected="one file per slice, or enhanced CT, MR or PET",
            got=f"{frames} frames",
        )
    spacing = numbers(dataset, "PixelSpacing", 2, path)
    if min(spacing) <= 0:
        raise InputError("PixelSpacing is not positive", where=path.name, got=f"{spacing[0]:g} x {spacing[1]:g} mm")
    slope, intercept = (number(dataset, keyword, path) for keyword in ("RescaleSlope", "RescaleIntercept"))
    if slope == 0:
        raise InputError("RescaleSlope is zero, so that every voxel would be the same", where=path.name)
    return {
        "orientation": numbers(dataset, "ImageOrientationPatient", 6, path),
        "position": numbers(dataset, "ImagePositionPatient", 3, path),
        "pixel_spacing": spacing,
        "slice_extent_mm": _slice_extent_mm(dataset, path),
        "slope": slope,
        "intercept": intercept,
    }


def _slice_extent_mm(dataset: Dataset, path: Path) -> float:
    """Return the extent of a lone slice along its normal; a stack takes its own from the positions."""
    for keyword in ("SpacingBetweenSlices", "SliceThickness"):
        try:
            value = abs(number(dataset, keyword, path) or 0.0)
        except InputError:  # scanners write odd values here, and a stack does not need them
            continue
        if value > 0:
            return value
    return 1.0


def _find_pixels(dataset: Dataset, file: BinaryIO, syntax: str) -> tuple[int | None, int | None, bool]:
    """Return (offset of the native values, their length in bytes, whether there is any pixel data).

    pydicom leaves the file at the tag of the pixel data, where it stopped.
    """
    if syntax == DeflatedExplicitVRLittleEndian:
        return None, None, "Rows" in dataset
    implicit, little = dataset.original_encoding
    start = file.tell()
    order = "<" if little else ">"
    head = file.read(12)
    if len(head) < 12 or struct.unpack(f"{order}HH", head[:4]) != (0x7FE0, 0x0010):  # noqa: PLR2004 - PS3.5 7.1
        return None, None, False
    length = struct.unpack(f"{order}L", head[4:8] if implicit else head[8:12])[0]
    if length == 0xFFFFFFFF or not little:  # noqa: PLR2004 - undefined length: encapsulated (PS3.5 A.4)
        return None, None, True
    return start + (8 if implicit else 12), length, True


def _check_length(header: Header, *, length: int | None, size: int) -> None:
    if header.pixel_offset is None or length is None:
        return
    expected = header.rows * header.columns * header.frames * header.bits_allocated // 8
    present = min(length, size - header.pixel_offset)
    if present < expected:
        raise InputError(
            "the file is truncated",
            where=header.path.name,
            expected=f"{expected} bytes of pixel data",
            got=max(present, 0),
            cure=COPY_AGAIN,
        )
