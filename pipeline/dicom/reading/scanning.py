"""DICOM series: find them, and choose one.

The order and the place of the slices come from their positions alone (PS3.3 C.7.6.2.1.1); the number of an
instance and the name of a file say nothing about them.
"""

from __future__ import annotations

import logging
import os
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from pipeline.dicom.reading.candidates import Candidate, candidates
from pipeline.dicom.reading.geometry import Stack, TiltError
from pipeline.dicom.reading.headers import read_header
from pipeline.dicom.reading.series import Scan, Series
from pipeline.dicom.reading.stacking import stack_slices
from pipeline.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pipeline.dicom.reading.header import Header

__all__ = ["choose", "scan"]

Source: TypeAlias = "str | os.PathLike[str] | Iterable[str | os.PathLike[str]]"

_log = logging.getLogger(__name__)


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
        (one for headers in groups.values() for one in _summaries(headers)),
        key=lambda one: (one.number or 0, one.series_uid, one.part or 0),
    )
    return Scan(source=label, series=tuple(series), passed_over=passed_over, broken=tuple(broken))


def choose(found: Scan, series: str | None = None) -> Series:
    """Return the only image series of a scan, or the one that is named; pictures beside slices are no choice.

    Args:
        found: what :func:`scan` returned.
        series: a SeriesInstanceUID, SeriesNumber or series description, in any case of letters; with "/2" after it
            for the second volume of that series.

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
    matches = tuple(one for one in found.series if not one.is_picture) or found.series
    if series is not None:
        wanted = series.strip().casefold()
        matches = tuple(one for one in found.series if wanted in _names(one))
    if len(matches) == 1:
        return matches[0]
    listing = _listing(matches or found.series)
    if series is None:
        what = f"{len(matches)} image series: {listing}"
    elif matches:
        what = f"{len(matches)} image series answer to '{series}': {listing}"
    else:
        what = f"no image series answers to '{series}'; there are: {listing}"
    raise InputError(what, where=found.source, cure="Name one with --series (its UID, number or description)")


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


def _summaries(headers: list[Header]) -> list[Series]:
    """Return the volumes of one SeriesInstanceUID."""
    parts = candidates(sorted(headers, key=lambda header: str(header.path)))
    by_path = {header.path: header for header in headers}
    if len(parts) == 1:
        return [_summary(parts[0], by_path, None)]
    return [_summary(part, by_path, number) for number, part in enumerate(parts, start=1)]


def _summary(candidate: Candidate, by_path: dict[Path, Header], part: int | None) -> Series:
    frames = candidate.headers
    shown = next((header for header in frames if header.problem is None), frames[0])
    stack, tilted, problem = None, None, None
    try:
        stack = _judge(frames)
    except TiltError as error:
        tilted, problem = error.stack, str(error)
    except InputError as error:
        problem = str(error)
    spacing = None
    placed = stack or tilted
    if placed is not None:
        between_slices, between_rows, between_columns = placed.geometry.spacing
        spacing = (float(between_columns), float(between_rows), float(between_slices))
        frames = placed.headers
    headers = [by_path[path] for path in dict.fromkeys(frame.path for frame in frames)]
    return Series(
        series_uid=shown.series_uid,
        description=shown.description,
        modality=shown.modality,
        number=shown.number,
        rows=shown.rows,
        columns=shown.columns,
        slices=sum(frame.frames for frame in frames),
        spacing=spacing,
        files=tuple(header.path for header in headers),
        problem=problem,
        part=part,
        note=candidate.note,
        headers=tuple(headers),
        frames=stack,
        tilted=tilted,
    )


def _judge(frames: Sequence[Header]) -> Stack:
    """Return the stack of the frames of one candidate, or refuse it."""
    for frame in frames:
        if frame.problem is not None:
            raise InputError(frame.problem)
    parts = {frame.concatenation.number: frame for frame in frames if frame.concatenation is not None}
    total = next((frame.concatenation.total for frame in frames if frame.concatenation is not None), "")
    if total and int(total) != len(parts):
        raise InputError(
            "parts of the concatenation are missing",
            where=frames[0].path.name,
            expected=f"{total} files",
            got=len(parts),
            cure="Give the complete series",
        )
    return stack_slices(frames)


def _listing(series: Sequence[Series]) -> str:
    """Return the series in words; with their UIDs where two answer to one number."""
    names = [one.name for one in series]
    return "; ".join(f"{one} of UID {one.series_uid}" if names.count(one.name) > 1 else str(one) for one in series)


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
    names.discard("")
    return names if series.part is None else names | {f"{name}/{series.part}" for name in names}
