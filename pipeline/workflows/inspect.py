"""What is at a path: series and images, their geometry, and what is wrong with them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.dicom import Series, ras_affine, scan
from pipeline.errors import InputError, one_line, shown
from pipeline.sources.kinds import describe
from pipeline.sources.survey import Survey, survey

__all__ = ["Finding", "inspect", "print_findings"]

_NO_IMAGE = "no image"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One image or series.

    Attributes:
        kind: ``DICOM``, ``NIfTI`` or another format; what the files are that are no image.
        path: the file, or the folders of a series, below the inspected path; "" for files that are only counted.
        number: SeriesNumber of a DICOM series.
        series: what ``--series`` takes for it: its number, with "/2" for the second volume of one series, or its UID.
        description: SeriesDescription of a DICOM series.
        note: what sets a volume apart from the others of its series; how many files there are that are no image.
        modality: of a DICOM series.
        size: voxels along each axis.
        spacing_mm: voxel size along each axis, where it is known.
        orientation: anatomical axis codes, such as RAS.
        problem: why it cannot be used, in one line; None if it can.
    """

    kind: str
    path: str
    number: int | None = None
    series: str = ""
    description: str = ""
    note: str = ""
    modality: str = ""
    size: tuple[int, ...] = ()
    spacing_mm: tuple[float, ...] | None = None
    orientation: str = ""
    problem: str | None = None


def inspect(path: Path) -> list[Finding]:
    """Look at every series and image at a path, subfolders included.

    Raises:
        InputError: the path does not exist, or there is nothing to look at.
    """
    if not path.exists():
        raise InputError("no such file or folder", where=path)
    found = survey(path)
    series = sorted(_series(path, found), key=lambda one: (one.path, one.number or 0))  # volumes stay in their order
    images = [_image(file, path) for file in sorted((*found.volumes, *found.pictures))]
    if not series and not images:
        got = found.counted() or "no file"
        raise InputError("holds no image", where=path, expected="DICOM, NIfTI, NRRD, MHA or a picture", got=got)
    outlines = [Finding(kind=describe(file), path=_below(file, path), note=_NO_IMAGE) for file in found.outlines]
    return series + images + outlines + [_counted(kind, count) for kind, count in sorted(found.others.items())]


def print_findings(findings: list[Finding], *, as_json: bool = False) -> None:
    """Print a table for people, or JSON."""
    if as_json:
        sys.stdout.write(json.dumps([asdict(finding) for finding in findings], indent=1) + "\n")
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("kind", "path", "series", "description", "modality", "size", "spacing mm", "axes", "problem"):
        table.add_column(column, overflow="fold", ratio=None if column != "problem" else 1)
    for one in findings:
        cells = (
            one.kind,
            one.path,
            one.series,
            f"{one.description} ({one.note})" if one.note and one.description else one.description or one.note,
            one.modality,
            "x".join(map(str, one.size)),
            "" if one.spacing_mm is None else "x".join(f"{value:.4g}" for value in one.spacing_mm),
            one.orientation,
        )
        # A name may look like rich's markup.
        table.add_row(*(Text(shown(cell)) for cell in cells), Text(shown(one.problem or ""), style="red"))
    console = Console()
    if not console.is_terminal:  # a file or pipe has no width of its own
        console = Console(width=200)
    console.print(table)
    images = [finding for finding in findings if not finding.note.endswith(_NO_IMAGE)]
    bad = sum(finding.problem is not None for finding in images)
    console.print(f"{len(images)} found" + (f", {bad} cannot be used" if bad else ""))


def _counted(kind: str, count: int) -> Finding:
    return Finding(kind=kind, path="", note=f"{count} {'file' if count == 1 else 'files'}, {_NO_IMAGE}")


def _series(path: Path, surveyed: Survey) -> Iterable[Finding]:
    files = [*surveyed.dicom_pictures, *(file for one in surveyed.slices for file in one.files)]
    if not files:
        return
    found = scan(files)
    for one in found.series:
        if one.is_picture:
            yield from (_picture(file, path, one) for file in one.files)
            continue
        orientation = ""
        if one.problem is None and one.frames is not None:
            affine = ras_affine(one.frames.geometry)
            orientation = "".join(nib.aff2axcodes(affine))
        yield Finding(
            kind="DICOM",
            path=", ".join(dict.fromkeys(_below(file.parent, path) for file in one.files)),
            number=one.number,
            series=one.name,
            description=one.description,
            note=one.note,
            modality=one.modality,
            size=(one.columns, one.rows, one.slices),
            spacing_mm=one.spacing,
            orientation=orientation,
            problem=one.problem,
        )
    for problem in found.broken:
        yield Finding(kind="DICOM", path="", problem=problem)


def _picture(file: Path, root: Path, series: Series) -> Finding:
    """One of the DICOM files that are pictures, each of which is a case."""
    tags = ["Rows", "Columns", "NumberOfFrames"]
    header = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=tags, force=True)
    frames = int(header.get("NumberOfFrames") or 1)
    return Finding(
        kind="DICOM picture",
        path=_below(file, root),
        number=series.number,
        series=series.name,
        description=series.description,
        modality=series.modality,
        size=(int(header.Columns), int(header.Rows)),
        problem=None if frames == 1 else f"holds several pictures (expected 1, got {frames}). Export one frame",
    )


def _image(file: Path, root: Path) -> Finding:
    kind = describe(file)
    try:
        from pipeline.sources import CaseReader  # MONAI's import takes longer than to look at a study

        reader = CaseReader()
        array, meta = reader.get_data(reader.read(file))
    except InputError as error:
        return Finding(kind=kind, path=_below(file, root), problem=one_line(error))
    affine = np.asarray(meta.get("affine", np.eye(4)), dtype=float)
    volume = affine.shape == (4, 4) and array.ndim >= 3  # noqa: PLR2004
    unusable = int(array.size - np.isfinite(array).sum())
    return Finding(
        kind=kind,
        path=_below(file, root),
        size=tuple(int(n) for n in array.shape),
        spacing_mm=tuple(float(v) for v in np.linalg.norm(affine[:3, :3], axis=0)) if volume else None,
        orientation="".join(nib.aff2axcodes(affine)) if volume else "",
        problem=f"{unusable} of {array.size} voxels are NaN or infinite" if unusable else None,
    )


def _below(path: Path, root: Path) -> str:
    return path.name if path == root else str(path.relative_to(root))
