"""A DICOM series, and what a look at a path has found."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.dicom.reading.geometry import Stack
    from pipeline.dicom.reading.header import Header

__all__ = ["Scan", "Series"]


@dataclass(frozen=True, kw_only=True)
class Series:
    """What the headers tell about one series, or about one of the volumes that it holds.

    ``spacing`` is (between columns, between rows, between slices) in mm, where it can be told. ``files`` are
    in slice order when ``problem`` is ``None`` or nothing but a tilt, else by name. ``problem`` is the one-line reason
    why the series cannot be loaded. ``part`` counts the volumes of one SeriesInstanceUID from 1, where there are
    several, and ``note`` tells what sets this one apart. ``frames`` are its slices in order; ``headers`` are of the
    files. ``tilted`` are the slices in order where the only problem is the tilt of the gantry: :func:`load` can then
    untilt them.
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
    part: int | None = None
    note: str = ""
    headers: tuple[Header, ...] = field(default=(), repr=False, compare=False)
    frames: Stack | None = field(default=None, repr=False, compare=False)
    tilted: Stack | None = field(default=None, repr=False, compare=False)

    @property
    def stack(self) -> Stack | None:
        """The slices in order, where each is a file of its own; ``None`` for enhanced multi-frame images."""
        return None if any(header.enhanced for header in self.headers) else self.frames

    @property
    def is_picture(self) -> bool:
        """Whether it holds pictures, such as screenshots beside a scan, and no slices."""
        return all(header.is_picture for header in self.headers)

    @property
    def name(self) -> str:
        """The shortest name for ``--series``, if no other series has it: "3", or "3/2" for the second volume of it."""
        number = self.series_uid if self.number is None else str(self.number)
        return number if self.part is None else f"{number}/{self.part}"

    def __str__(self) -> str:
        number = "none" if self.number is None and self.part is None else self.name
        spacing = "" if self.spacing is None else " at " + " x ".join(f"{value:.4g}" for value in self.spacing) + " mm"
        size = f"{self.columns} x {self.rows} x {self.slices}{spacing}"
        note = f" ({self.note})" if self.note else ""
        return f"number {number} '{self.description}' {self.modality or 'no modality'} {size}{note}"


@dataclass(frozen=True, kw_only=True)
class Scan:
    """What was found: the image series, how many files were passed over, and what could not be read at all."""

    source: str
    series: tuple[Series, ...]
    passed_over: int = 0
    broken: tuple[str, ...] = ()
