"""The modules of an image's header that its values and its place need: Image Pixel, Image Plane, Modality LUT."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from pipeline.dicom.elements import COPY_AGAIN, number, numbers, plain_text, text
from pipeline.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from pydicom.dataset import Dataset

    from pipeline.dicom.reading.header import Header

__all__ = ["ACQUISITION_KEYWORDS", "acquisition", "by_number", "image_pixel", "image_plane", "values_found"]

_MOST_SHOWN = 8

ACQUISITION_KEYWORDS = (
    "EchoTime",
    "DiffusionBValue",
    "TemporalPositionIdentifier",
    "DiffusionGradientOrientation",
    "InversionTime",
    "TriggerTime",
    "ImageType",
    "ConvolutionKernel",
    "AcquisitionNumber",
    "FrameReferenceTime",
    "AcquisitionTime",
)
"""What tells the volumes of one series apart where they lie at the same positions, the most telling one first."""


def acquisition(dataset: Dataset) -> tuple[str, ...]:
    """Return the values of :data:`ACQUISITION_KEYWORDS` as text."""
    return tuple(plain_text(dataset, keyword) for keyword in ACQUISITION_KEYWORDS)


def values_found(headers: Iterable[Header]) -> str:
    """Return the acquisition keywords that differ between slices, with the values of each."""
    found = []
    rows = [header.acquisition for header in headers]
    for place, keyword in enumerate(ACQUISITION_KEYWORDS):
        different = sorted({row[place] for row in rows}, key=by_number)
        if len(different) > 1:
            shown = ", ".join(value or "none" for value in different[:_MOST_SHOWN])
            found.append(f"{keyword} {shown}{', ...' if len(different) > _MOST_SHOWN else ''}")
    return "; ".join(found)


def by_number(value: str) -> tuple[float, str]:
    """Return the key that sorts values as numbers where they are, before others as text."""
    try:
        return float(value), value
    except ValueError:
        return math.inf, value


def image_pixel(dataset: Dataset, path: Path) -> dict[str, Any]:
    """Return the Image Pixel module's fields (PS3.3 C.7.6.3).

    Raises:
        InputError: a colour image, a mosaic, no size, or a depth that is not supported.
    """
    photometric = text(dataset, "PhotometricInterpretation")
    samples = int(dataset.get("SamplesPerPixel") or 1)
    if samples != 1 or not photometric.startswith("MONOCHROME"):
        raise InputError(
            "a colour image has no intensities to segment",
            where=path.name,
            expected="MONOCHROME1 or MONOCHROME2",
            got=photometric or f"{samples} samples per pixel",
        )
    if "MOSAIC" in text(dataset, "ImageType").upper().split("\\"):
        raise InputError(
            "a mosaic holds many slices in one picture, whose positions it does not tell",
            where=path.name,
            got="ImageType MOSAIC",
            cure="Export the series as one image per slice or as enhanced MR",
        )
    rows, columns = int(dataset.get("Rows") or 0), int(dataset.get("Columns") or 0)
    if rows < 1 or columns < 1:
        raise InputError("the image has no size", where=path.name, got=f"{columns} x {rows} pixels", cure=COPY_AGAIN)
    return {
        "rows": rows,
        "columns": columns,
        "frames": int(dataset.get("NumberOfFrames") or 1),
        "frame_of_reference_uid": text(dataset, "FrameOfReferenceUID"),
        "photometric": photometric,
        **_depth(dataset, path),
    }


def _depth(dataset: Dataset, path: Path) -> dict[str, Any]:
    bits_allocated = int(dataset.get("BitsAllocated") or 0)
    bits_stored = int(dataset.get("BitsStored") or bits_allocated)
    if bits_allocated not in {8, 16, 32} or not 0 < bits_stored <= bits_allocated:
        got = f"{bits_stored} of {bits_allocated} bits"
        raise InputError("unsupported depth of the stored values", where=path.name, expected="8, 16 or 32", got=got)
    high_bit = dataset.get("HighBit")
    if high_bit is not None and int(high_bit) != bits_stored - 1:  # older editions allowed it; PS3.5 8.1.1 does not
        raise InputError(
            "HighBit does not fit BitsStored, so that the place of the values within their bits is unclear",
            where=path.name,
            expected=bits_stored - 1,
            got=int(high_bit),
        )
    return {
        "bits_allocated": bits_allocated,
        "bits_stored": bits_stored,
        "signed": bool(dataset.get("PixelRepresentation")),
    }


def image_plane(
    *, position: Dataset, orientation: Dataset, measures: Dataset, transformation: Dataset, where: str
) -> dict[str, Any]:
    """Return the fields of the Image Plane module (PS3.3 C.7.6.2) and of the rescaling (PS3.3 C.11.1).

    Args:
        position: holds ImagePositionPatient; a single-frame image is all four, an enhanced one has a functional
            group for each (PS3.3 C.7.6.16.2).
        orientation: holds ImageOrientationPatient.
        measures: holds PixelSpacing.
        transformation: holds RescaleSlope and RescaleIntercept, or neither.
        where: the file's name, and the frame.

    Raises:
        InputError: a value is missing or of no use.
    """
    spacing = numbers(measures, "PixelSpacing", 2, where)
    if min(spacing) <= 0:
        raise InputError("PixelSpacing is not positive", where=where, got=f"{spacing[0]:g} x {spacing[1]:g} mm")
    slope, intercept = (number(transformation, keyword, where) for keyword in ("RescaleSlope", "RescaleIntercept"))
    if slope == 0:
        raise InputError("RescaleSlope is zero, so that every voxel would be the same", where=where)
    return {
        "orientation": numbers(orientation, "ImageOrientationPatient", 6, where),
        "position": numbers(position, "ImagePositionPatient", 3, where),
        "pixel_spacing": spacing,
        "slice_extent_mm": _slice_extent_mm(measures, where),
        "slope": slope,
        "intercept": intercept,
    }


def _slice_extent_mm(dataset: Dataset, where: str) -> float:
    """Return the extent of a lone slice along its normal; a stack takes its own from the positions."""
    for keyword in ("SpacingBetweenSlices", "SliceThickness"):
        try:
            value = abs(number(dataset, keyword, where) or 0.0)
        except InputError:  # scanners write odd values here, and a stack does not need them
            continue
        if value > 0:
            return value
    return 1.0
