"""What is at a path: series and images, their geometry, and what is wrong with them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from itertools import chain
from pathlib import Path

import nibabel as nib
import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.bundle.input_channels import input_channels
from pipeline.data.channel_cases import group
from pipeline.dicom import Series, ras_affine, scan
from pipeline.dicom.reading.picture import picture_size
from pipeline.errors import InputError, one_line, shown
from pipeline.sources.kinds import describe
from pipeline.sources.paths import paths_of
from pipeline.sources.survey import Survey, survey

__all__ = ["Finding", "inspect", "print_findings"]

_NO_IMAGE, _CASE = "no image", "case"


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
        channel: which image of a case it would be for a bundle: the channel's name; several where it holds them.
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
    channel: str = ""


def inspect(path: Path, *, bundle: str | Path | None = None) -> list[Finding]:
    """Look at every series and image at a path, subfolders included.

    Args:
        path: a file or a folder.
        bundle: folder or name of a bundle, to tell which channel of its network each image would be, and which cases
            lack one.

    Raises:
        InputError: the path does not exist, or there is nothing to look at, or no such bundle.
    """
    if not path.exists():
        raise InputError("no such file or folder", where=path)
    found = survey(path)
    roles = _Roles() if bundle is None else _roles(path, found, bundle)
    series = sorted(_series(path, found, roles), key=lambda one: (one.path, one.number or 0))  # volumes stay in order
    images = [_image(file, path, roles) for file in sorted((*found.volumes, *found.pictures))]
    if not series and not images:
        got = found.counted() or "no file"
        raise InputError("holds no image", where=path, expected="DICOM, NIfTI, NRRD, MHA or a picture", got=got)
    outlines = [Finding(kind=describe(file), path=_below(file, path), note=_NO_IMAGE) for file in found.outlines]
    counted = [_counted(kind, count) for kind, count in sorted(found.others.items())]
    return series + images + outlines + counted + roles.problems


def print_findings(findings: list[Finding], *, as_json: bool = False) -> None:
    """Print a table for people, or JSON."""
    if as_json:
        sys.stdout.write(json.dumps([asdict(finding) for finding in findings], indent=1) + "\n")
        return
    console = Console()
    if not console.is_terminal:  # a file or pipe has no width of its own
        console = Console(width=200)
    console.print(_table(findings))
    images = [finding for finding in findings if finding.kind != _CASE and not finding.note.endswith(_NO_IMAGE)]
    bad = sum(finding.problem is not None for finding in images)
    console.print(f"{len(images)} found" + (f", {bad} cannot be used" if bad else ""))


def _table(findings: list[Finding]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    rows = [_cells(one) for one in findings]
    columns = ["kind", "path", "series", "description", "modality", "size", "spacing mm", "axes", "channel"]
    if not any(one.channel for one in findings):
        columns.remove("channel")
    for column in columns:
        table.add_column(column, overflow="fold")
    table.add_column("problem", overflow="fold", ratio=1)
    for one, cells in zip(findings, rows, strict=True):
        # A name may look like rich's markup.
        texts = [Text(shown(cell)) for cell in cells[: len(columns)]]
        table.add_row(*texts, Text(shown(one.problem or ""), style="red"))
    return table


def _cells(one: Finding) -> tuple[str, ...]:
    """What the columns say of it, but for the problem."""
    described = f"{one.description} ({one.note})" if one.note and one.description else one.description or one.note
    spacing = "x".join(f"{value:.4g}" for value in one.spacing_mm or ())
    size = "x".join(map(str, one.size))
    return one.kind, one.path, one.series, described, one.modality, size, spacing, one.orientation, one.channel


@dataclass
class _Roles:
    """Which channel each file would be.

    Attributes:
        of_file: the channel's name by the file.
        default: the name for any other image.
        problems: of cases that lack a channel and the like.
    """

    of_file: dict[Path, str] = field(default_factory=dict)
    default: str = ""
    problems: list[Finding] = field(default_factory=list)

    def of(self, file: Path) -> str:
        return self.of_file.get(file, self.default)


def _roles(path: Path, found: Survey, bundle: str | Path) -> _Roles:
    told = input_channels(bundle)
    every = ", ".join(told.names)
    if told.rules is None:
        return _Roles(default=every)
    try:
        # The other channels of a file lie beside it.
        root, within = (path, found) if path.is_dir() else (path.parent, survey(path.parent))
        grouped = group(within, told.rules, root, dimensions=told.dimensions)
    except InputError as error:
        return _Roles(problems=[Finding(kind=_CASE, path="", problem=str(error))])
    return _Roles(
        of_file={file: every if index is None else told.names[index] for file, index in grouped.channel.items()},
        problems=[
            Finding(kind=_CASE, path=str(case["name"]), problem=str(case["problem"]))
            for case in grouped.cases
            if "problem" in case and (path == root or path in paths_of(case["image"]))
        ],
    )


def _counted(kind: str, count: int) -> Finding:
    return Finding(kind=kind, path="", note=f"{count} {'file' if count == 1 else 'files'}, {_NO_IMAGE}")


def _series(path: Path, surveyed: Survey, roles: _Roles) -> Iterable[Finding]:
    files = [*surveyed.dicom_pictures, *chain.from_iterable(one.files for one in surveyed.slices)]
    if not files:
        return
    found = scan(files)
    for one in found.series:
        if one.is_picture:
            yield from (replace(_picture(file, path, one), channel=roles.of(file)) for file in one.files)
            continue
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
            orientation=_orientation(one),
            problem=one.problem,
            channel="" if one.problem else roles.of(one.files[0]),
        )
    for problem in found.broken:
        yield Finding(kind="DICOM", path="", problem=problem)


def _orientation(series: Series) -> str:
    if series.problem is not None or series.frames is None:
        return ""
    return "".join(nib.aff2axcodes(ras_affine(series.frames.geometry)))


def _picture(file: Path, root: Path, series: Series) -> Finding:
    """One of the DICOM files that are pictures, each of which is a case."""
    size: tuple[int, ...] = ()
    problem = None
    try:
        columns, rows, _, frames = picture_size(file)
        size = (columns, rows)
        if frames != 1:
            problem = f"holds several pictures (expected 1, got {frames}). Export one frame"
    except InputError as error:
        problem = str(error)
    return Finding(
        kind="DICOM picture",
        path=_below(file, root),
        number=series.number,
        series=series.name,
        description=series.description,
        modality=series.modality,
        size=size,
        problem=problem,
    )


def _image(file: Path, root: Path, roles: _Roles) -> Finding:
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
        channel="" if unusable else roles.of(file),
    )


def _below(path: Path, root: Path) -> str:
    return path.name if path == root else str(path.relative_to(root))
