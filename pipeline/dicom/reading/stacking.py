"""From the headers of a series to one evenly spaced volume, judged by the slice positions alone (LPS, mm)."""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
from highdicom import VolumeGeometry

from pipeline.dicom.reading.geometry import DRIFT_TOLERANCE, JITTER_MM, TILT_DEGREES, Array, Stack, TiltError
from pipeline.dicom.reading.image_modules import values_found
from pipeline.dicom.reading.pixels import stored_values
from pipeline.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pipeline.dicom.reading.header import Header

__all__ = ["stack_slices"]

GAP_TOLERANCE = 0.05
"""How far, as a part of the median step, one step may differ from it."""

MOST_TILT_DEGREES = 45.0
"""No gantry tilts by more (30 degrees are usual); beyond it the positions are wrong, or no tilt."""

_log = logging.getLogger(__name__)


def stack_slices(headers: Sequence[Header]) -> Stack:
    """Put single-frame slices in order, or say why they are not one evenly spaced volume.

    Raises:
        TiltError: the gantry was tilted, and nothing else is wrong.
        InputError: a slice is missing, doubled, shifted or unlike the others.
    """
    _check_alike(headers)
    first = headers[0]
    row, column = np.array(first.orientation[:3]), np.array(first.orientation[3:])
    if max(abs(row @ row - 1), abs(column @ column - 1), abs(row @ column)) > 1e-3:  # noqa: PLR2004
        raise InputError(
            "ImageOrientationPatient is not two perpendicular unit vectors",
            where=first.name,
            got=", ".join(f"{value:g}" for value in first.orientation),
        )
    normal = np.cross(column, row)
    normal /= np.linalg.norm(normal)
    ordered = sorted(
        headers, key=lambda header: (float(np.dot(header.position, normal)), header.path.name, header.frame)
    )
    degrees = _check_lateral(ordered, normal)
    ordered = _drop_duplicates(ordered, normal)
    spacing_mm = _check_steps(ordered, normal)
    try:
        geometry = VolumeGeometry.from_attributes(
            image_position=ordered[0].position,
            image_orientation=first.orientation,
            rows=first.rows,
            columns=first.columns,
            pixel_spacing=first.pixel_spacing,
            spacing_between_slices=spacing_mm,
            number_of_frames=len(ordered),
            coordinate_system="PATIENT",
            frame_of_reference_uid=first.frame_of_reference_uid or None,
        )
    except ValueError as error:
        raise InputError(f"the geometry cannot be used: {error}", where=first.name) from error
    stack = Stack(tuple(ordered), geometry)
    if degrees > TILT_DEGREES:
        raise TiltError(stack, degrees)
    return stack


def _check_alike(headers: Sequence[Header]) -> None:
    """Refuse a series whose slices differ in size, spacing, orientation, frame of reference or rescaling."""
    traits: tuple[tuple[str, Callable[[Header], str]], ...] = (
        ("size", lambda header: f"{header.columns} x {header.rows} pixels"),
        ("PixelSpacing", lambda header: " x ".join(f"{value:.4g}" for value in header.pixel_spacing) + " mm"),
        # One decimal degree is about 0.002: three decimals tell a turn from rounding. Adding 0 makes -0 a 0.
        ("orientation", lambda header: "\\".join(f"{round(value, 3) + 0.0:g}" for value in header.orientation)),
        ("PhotometricInterpretation", lambda header: header.photometric),
        ("frame of reference", lambda header: header.frame_of_reference_uid or "none"),
        ("rescaling", _rescaling),
    )
    for name, trait in traits:
        _check_trait(headers, name, trait)


def _rescaling(header: Header) -> str:
    if header.lut is not None:
        return "a look-up table"
    return "none" if header.slope is None and header.intercept is None else "present"


def _check_trait(headers: Sequence[Header], name: str, trait: Callable[[Header], str]) -> None:
    values = [trait(header) for header in headers]
    usual = Counter(values).most_common(1)[0][0]
    reference = headers[values.index(usual)]
    for header, value in zip(headers, values, strict=True):
        if value != usual and not _nearly_equal(header, reference, name):
            raise InputError(f"the {name} differs within the series", where=header.name, expected=usual, got=value)


def _nearly_equal(one: Header, other: Header, name: str) -> bool:
    """Compare numbers as numbers, because two that print differently may differ by rounding alone."""
    if name == "PixelSpacing":
        return bool(np.allclose(one.pixel_spacing, other.pixel_spacing, rtol=1e-3, atol=0))
    if name == "frame of reference":
        return not (one.frame_of_reference_uid and other.frame_of_reference_uid)
    if name == "orientation":
        return bool(np.allclose(one.orientation, other.orientation, rtol=0, atol=1e-3))
    return False


def _check_lateral(ordered: Sequence[Header], normal: Array) -> float:
    """Return the tilt in degrees; refuse one that no gantry has, and slices that are shifted within their plane.

    ``ordered`` may still hold duplicates.
    """
    points = np.array([header.position for header in ordered])
    along = points @ normal
    sideways = (points - points[0]) - np.outer(along - along[0], normal)
    height = along[-1] - along[0]
    drift = float(np.linalg.norm(sideways[-1]))
    tilted = height > JITTER_MM and drift > JITTER_MM
    degrees = float(np.degrees(np.arctan2(drift, height))) if tilted else 0.0
    if degrees > MOST_TILT_DEGREES:
        raise InputError(
            "the slices are not stacked along their normal, by more than a gantry is tilted",
            where=ordered[-1].name,
            expected=f"at most {MOST_TILT_DEGREES:g} degrees",
            got=f"{degrees:.1f} degrees",
            cure="Give a reconstruction without tilt",
        )
    share = (along - along[0]) / height if height > JITTER_MM else np.zeros(len(along))
    shifts = np.linalg.norm(sideways - np.outer(share, sideways[-1]), axis=1)
    worst = int(np.argmax(shifts))
    allowed = max(2 * JITTER_MM, DRIFT_TOLERANCE * min(ordered[0].pixel_spacing))
    if shifts[worst] > allowed:
        raise InputError(
            "the slice is shifted within its plane",
            where=ordered[worst].name,
            expected=f"at most {allowed:.3g} mm",
            got=f"{shifts[worst]:.3g} mm",
        )
    return degrees


def _drop_duplicates(ordered: Sequence[Header], normal: Array) -> list[Header]:
    """Keep one of each group of identical slices; refuse different pixels at one position."""
    kept: list[Header] = []
    seen: dict[tuple[str, int], Header] = {}
    for header in ordered:
        last = kept[-1] if kept else None
        if last is not None and np.dot(np.subtract(header.position, last.position), normal) <= JITTER_MM:
            if not _same_values(header, last):
                at = ", ".join(f"{value:.2f}" for value in header.position)
                found = values_found(ordered)
                raise InputError(
                    f"two slices with different pixels at one position ({at} mm): {last.name} and {header.name}",
                    where=f"series {header.description or header.series_uid}",
                    got=f"the values {found}" if found else None,
                    cure="Separate the time points, echoes or reconstructions and give one of them",
                )
            _log.warning("%s: the same slice as %s, left out", header.name, last.name)
            continue
        other = seen.setdefault((header.sop_instance_uid, header.frame), header)
        if other is not header and header.sop_instance_uid:
            raise InputError(f"the same SOPInstanceUID as {other.name} at another position", where=header.name)
        kept.append(header)
    return kept


def _same_values(one: Header, other: Header) -> bool:
    if (one.slope, one.intercept, one.lut is None) != (other.slope, other.intercept, other.lut is None):
        return False
    stored = [
        stored_values(header) if header.lut is None else header.lut(stored_values(header)) for header in (one, other)
    ]
    return np.array_equal(stored[0], stored[1])


def _check_steps(ordered: Sequence[Header], normal: Array) -> float:
    """Return the spacing between slices in mm, or refuse steps that are uneven."""
    if len(ordered) == 1:
        return ordered[0].slice_extent_mm
    along = np.array([header.position for header in ordered]) @ normal
    steps = np.diff(along)
    median = float(np.median(steps))
    allowed = max(GAP_TOLERANCE * median, 2 * JITTER_MM + 1e-6)
    worst = int(np.argmax(np.abs(steps - median)))
    if abs(steps[worst] - median) > allowed:
        lost = round(steps[worst] / median) - 1
        what = f"{lost} missing slice{'s' if lost > 1 else ''}" if lost > 0 else "uneven slice positions"
        raise InputError(
            f"{what} between {ordered[worst].name} and {ordered[worst + 1].name}",
            where=f"series {ordered[0].description or ordered[0].series_uid}",
            expected=f"steps of {median:.3f} mm",
            got=f"{steps[worst]:.3f} mm",
            cure="Give the complete series",
        )
    spacing_mm = float((along[-1] - along[0]) / (len(along) - 1))
    away = np.abs(along - along[0] - spacing_mm * np.arange(len(along)))
    worst = int(np.argmax(away))
    if away[worst] > max(DRIFT_TOLERANCE * spacing_mm, 2 * JITTER_MM):
        raise InputError(
            "the spacing between slices changes along the series",
            where=ordered[worst].name,
            expected=f"steps of {spacing_mm:.3f} mm",
            got=f"steps of {steps.min():.3f} to {steps.max():.3f} mm",
            cure="Give the parts of equal spacing one by one",
        )
    return spacing_mm
