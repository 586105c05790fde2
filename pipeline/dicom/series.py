"""DICOM series: find them, choose one, load it.

The order and the place of the slices come from their positions alone (PS3.3 C.7.6.2.1.1); the number of an
instance and the name of a file say nothing about them.
"""

from __future__ import annotations

import logging
import os
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import highdicom
import numpy as np

from pipeline.dicom.elements import READ_ERRORS
from pipeline.dicom.geometry import Stack, stack_slices
from pipeline.dicom.header import Header, read_header
from pipeline.dicom.pixels import fill_plane
from pipeline.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Scan", "Series", "choose", "load", "scan"]

Source: TypeAlias = "str | os.PathLike[str] | Iterable[str | os.PathLike[str]]"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Series:
    """What the headers tell about one series.

    ``spacing`` is (between columns, between rows, between slices) in mm, where it can be told. ``files`` are
    in slice order when ``problem`` is ``None``, else by name. ``problem`` is the one-line reason why the series
    cannot be loaded.
    """

    series_uid: str
    description: str
    modality: str
    number: int | None
    rows: int
    columns: int
    slices: int
    spacing: tuple[float, float, float] | None
    files: tuple[Path, ...] = field(repr=False)
    problem: str | None = None
    headers: tuple[Header, ...] = field(default=(), repr=False, compare=False)
    stack: Stack | None = field(default=None, repr=False, compare=False)

    def __str__(self) -> str:
        number = "none" if self.number is None else self.number
        spacing = "" if self.spacing is None else " at " + " x ".join(f"{value:.4g}" for value in self.spacing) + " mm"
        size = f"{self.columns} x {self.rows} x {self.slices}{spacing}"
        return f"number {number} '{self.description}' {self.modality or 'no modality'} {size}"


@dataclass(frozen=True, kw_only=True)
class Scan:
    """What was found: the image series, how many files were passed over, and what could not be read at all."""

    source: str
    series: tuple[Series, ...]
    passed_over: int = 0
    broken: tuple[str, ...] = ()


def scan(source: Source) -> Scan:
    """Read the headers of a file, a folder (with its subfolders) or a list of them, and group them by series.

    Files that are not DICOM, and DICOM objects without an image (RTSTRUCT, SR, DICOMDIR, ...) or that are a
    result about one (SEG, RT Dose), are passed over and counted. Files whose name begins with a dot are too.

    Raises:
        InputError: a path does not exist.
    """
    paths = _paths(source)
    groups: dict[str, list[Header]] = defaultdict(list)
    broken: list[str] = []
    passed_over = 0
    for path in _files(paths):
        try:
            header = None if path.name.startswith(".") else read_header(path)
        except InputError as error:
            broken.append(str(error))
            continue
        if header is None:
            passed_over += 1
        else:
            groups[header.series_uid].append(header)
    label = str(paths[0]) if len(paths) == 1 else f"{len(paths)} paths from {paths[0]}"
    if passed_over:
        _log.info("%s: %d files without an image passed over", label, passed_over)
    series = sorted(
        (_summary(headers) for headers in groups.values()), key=lambda one: (one.number or 0, one.series_uid)
    )
    return Scan(source=label, series=tuple(series), passed_over=passed_over, broken=tuple(broken))


def choose(found: Scan, series: str | None = None) -> Series:
    """Return the only image series of a scan, or the one that is named.

    Args:
        found: what :func:`scan` returned.
        series: a SeriesInstanceUID, SeriesNumber or series description, in any case of letters.

    Raises:
        InputError: there is no series, more than one, more than one patient, or a file that cannot be read.
    """
    if found.broken:
        more = f" (and {len(found.broken) - 1} more such files)" if len(found.broken) > 1 else ""
        raise InputError(f"{found.broken[0]}{more}")
    _check_one_patient(found)
    if not found.series:
        raise InputError(
            "no DICOM image found",
            where=found.source,
            got=f"{found.passed_over} other files",
            cure="Give the folder that holds the image series",
        )
    matches = found.series
    if series is not None:
        wanted = series.strip().casefold()
        matches = tuple(one for one in found.series if wanted in _names(one))
    if len(matches) == 1:
        return matches[0]
    listing = "; ".join(map(str, matches or found.series))
    if series is None:
        what = f"{len(matches)} image series: {listing}"
    elif matches:
        what = f"{len(matches)} image series answer to '{series}': {listing}"
    else:
        what = f"no image series answers to '{series}'; there are: {listing}"
    raise InputError(what, where=found.source, cure="Name one with --series (its UID, number or description)")


def load(series: Series) -> highdicom.Volume:
    """Load a series into a volume in its own units (HU, SUV, ...).

    Returns:
        float32, axes (slice, row, column), with highdicom's affine to LPS in mm.

    Raises:
        InputError: the series has a problem, or its pixels cannot be decoded.
    """
    if series.problem is not None:
        raise InputError(series.problem)
    if series.stack is None:
        return _load_enhanced(series.headers[0])
    geometry = series.stack.geometry
    array = np.empty(geometry.spatial_shape, dtype=np.float32)
    for plane, header in zip(array, series.stack.headers, strict=True):
        fill_plane(header, plane)
    return geometry.with_array(array)


def _load_enhanced(header: Header) -> highdicom.Volume:
    """Load an enhanced multi-frame image (PS3.3 A.36, A.38), whose geometry highdicom judges."""
    try:
        image = highdicom.imread(header.path)
        return image.get_volume(
            dtype=np.float32,
            apply_real_world_transform=False,
            apply_voi_transform=False,
            apply_presentation_lut=False,
        )
    except (*READ_ERRORS, RuntimeError) as error:
        raise InputError(
            "the enhanced multi-frame image is not one evenly spaced volume of one intensity per voxel",
            where=header.path.name,
            got=f"{header.frames} frames",
        ) from error


def _paths(source: Source) -> list[Path]:
    sources = [source] if isinstance(source, str | os.PathLike) else list(source)
    paths = [Path(path) for path in sources]
    if not paths:
        raise InputError("no file or folder was given")
    for path in paths:
        if not path.exists():
            raise InputError("no such file or folder", where=path)
    return paths


def _files(paths: Iterable[Path]) -> list[Path]:
    """Return the files under the paths, each once, sorted so that every machine sees the same order."""
    files: dict[Path, None] = {}
    for path in paths:
        found = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
        files.update(dict.fromkeys(found))
    return list(files)


def _summary(headers: list[Header]) -> Series:
    headers = sorted(headers, key=lambda header: str(header.path))
    shown = next((header for header in headers if header.problem is None), headers[0])
    stack, problem = None, None
    try:
        stack = _judge(headers)
    except InputError as error:
        problem = str(error)
    spacing = None
    if stack is not None:
        between_slices, between_rows, between_columns = stack.geometry.spacing
        spacing = (float(between_columns), float(between_rows), float(between_slices))
    ordered = headers if stack is None else list(stack.headers)
    return Series(
        series_uid=shown.series_uid,
        description=shown.description,
        modality=shown.modality,
        number=shown.number,
        rows=shown.rows,
        columns=shown.columns,
        slices=sum(header.frames for header in ordered),
        spacing=spacing,
        files=tuple(header.path for header in ordered),
        problem=problem,
        headers=tuple(ordered),
        stack=stack,
    )


def _judge(headers: list[Header]) -> Stack | None:
    """Return the stack of a series of single frames; ``None`` for one enhanced multi-frame image."""
    for header in headers:
        if header.problem is not None:
            raise InputError(header.problem)
    if not any(header.enhanced for header in headers):
        return stack_slices(headers)
    if len(headers) > 1:
        raise InputError(
            "an enhanced multi-frame image and another file in one series",
            where=headers[1].path.name,
            cure="Give the file of one volume",
        )
    return None


def _check_one_patient(found: Scan) -> None:
    """Refuse a mixture of patients; the ID decides, and the name where an ID is absent."""
    headers = [header for series in found.series for header in series.headers]
    for header in headers[1:]:
        first = headers[0]
        place = 0 if first.patient[0] and header.patient[0] else 1
        one, other = first.patient[place], header.patient[place]
        if one and other and one != other:
            raise InputError(
                f"two patients in one input: {first.path.name} and {header.path.name} are of different patients",
                where=found.source,
                cure="Give one patient at a time",
            )


def _names(series: Series) -> set[str]:
    names = {series.series_uid.casefold(), series.description.casefold()}
    if series.number is not None:
        names.add(str(series.number))
    return names - {""}
