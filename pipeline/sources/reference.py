"""The DICOM series that labels belong to, and label maps on its grid."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.dicom import Grid, LabelMap, choose, load, scan
from pipeline.dicom.reading.tilt import Shear
from pipeline.dicom.writing.placement import place, source_stack
from pipeline.errors import InputError
from pipeline.sources.given import given_path
from pipeline.sources.kinds import is_label_object
from pipeline.sources.label_map import plain_segment, read_label_map
from pipeline.sources.label_table import table_segments

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.dicom import Series
    from pipeline.sources.label_table import Label

__all__ = ["Reference", "read_described_map"]

_MOST = np.iinfo(np.uint8).max


@dataclass(frozen=True, kw_only=True)
class Reference:
    """The series that labels belong to.

    ``files`` are all of its SeriesInstanceUID; ``selector`` tells which volume of them. ``untilt`` says that label maps
    lie on the upright grid of a series of a tilted gantry.
    """

    series: Series
    files: tuple[Path, ...]
    selector: str
    untilt: bool = False

    @classmethod
    def open(cls, path: Path, series: str | None, *, untilt: bool) -> Reference:
        """Find the series at a path.

        Raises:
            InputError: there is no single series, or it is not one sound volume.
        """
        found = scan(given_path(path))
        chosen = choose(found, series)
        source_stack(chosen)
        alike = [one for one in found.series if one.series_uid == chosen.series_uid]
        files = dict.fromkeys(file for one in alike for file in one.files)
        part = "" if chosen.part is None else f"/{chosen.part}"
        return cls(series=chosen, files=tuple(files), selector=f"{chosen.series_uid}{part}", untilt=untilt)

    @property
    def grid(self) -> Grid:
        """The grid of the slices as acquired; of a tilted gantry, it is sheared."""
        return Grid.of_stack(source_stack(self.series))

    def image(self) -> np.ndarray | None:
        """The values of the series on its grid; ``None`` where the gantry was tilted."""
        return load(self.series).array.transpose(2, 1, 0) if self.series.problem is None else None


def read_described_map(
    path: Path, *, reference: Reference | None = None, table: Sequence[Label] | None = None, strict: bool = False
) -> LabelMap:
    """Read a label map each of whose values has a meaning, on the grid of a series where one is given.

    Args:
        path: NIfTI, NRRD, MHA, MGZ, a DICOM SEG or a DICOM RTSTRUCT.
        reference: the series on whose grid it is wanted; an RTSTRUCT needs it.
        table: what the values mean. Of a SEG or RTSTRUCT only the segments or ROIs that it names are read; without it
            all are.
        strict: see :func:`pipeline.dicom.read_rtstruct`.

    Raises:
        InputError: it cannot be read, does not lie on the reference, or its values are no labels.
    """
    if is_label_object(path):
        return read_label_map(path, grid=None if reference is None else reference.grid, table=table, strict=strict)
    found = read_label_map(path)
    if found.affine is None:
        raise InputError(
            "a picture has no place in a patient", where=path, expected="NIfTI, NRRD, MHA, SEG or RTSTRUCT"
        )
    low, high = found.labels.min(), found.labels.max()
    if low < 0 or high > _MOST:
        raise InputError(
            "holds values that are no labels",
            where=path,
            expected=f"whole numbers from 0 to {_MOST}",
            got=f"{low:g} to {high:g}",
        )
    label_map = replace(found, labels=found.labels.astype(np.uint8, copy=False))
    return _described(label_map if reference is None else _on_series(label_map, reference), path, table)


def _described(label_map: LabelMap, path: Path, table: Sequence[Label] | None) -> LabelMap:
    values = label_map.values
    if table is None and not values:
        raise InputError("the label map is empty", where=path, cure="Say with --labels what it could hold")
    plain = tuple(plain_segment(value, f"Label {value}") for value in values)
    segments = plain if table is None else table_segments(table)
    unknown = sorted(set(values) - {segment.value for segment in segments})
    if unknown:
        raise InputError("values that --labels does not name", where=path, got=unknown)
    return replace(label_map, segments=segments)


def _on_series(label_map: LabelMap, reference: Reference) -> LabelMap:
    labels, affine = label_map.labels.astype(np.uint8, copy=False), label_map.volume_affine
    tilted = reference.series.tilted
    if reference.untilt and tilted is not None:
        shear = Shear.of_stack(tilted)
        source_affine = shear.affine.copy()
        source_affine[:3, 2] -= shear.affine[:3, :2] @ shear.steps
        source_affine[:3, 3] += shear.affine[:3, :2] @ shear.origin
        upright = place(labels, affine=affine, shape=shear.upright_size, source_affine=source_affine)
        return replace(label_map, labels=shear.to_acquired(upright), affine=shear.affine)
    grid = reference.grid
    placed = place(labels, affine=affine, shape=grid.shape, source_affine=grid.affine)
    return replace(label_map, labels=placed, affine=grid.affine)
