"""The grid of an image on which labels are wanted, and what a label map on it is made of."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from pipeline.errors import InputError
from pipeline.space import swap_lps_ras

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.dicom.reading.geometry import Stack
    from pipeline.dicom.reading.series import Series

__all__ = ["Bools", "Floats", "Grid", "LabelNames", "Labels", "check_frame_of_reference", "find_names",
           "overlay"]  # fmt: skip

Floats: TypeAlias = "np.ndarray[tuple[int, ...], np.dtype[np.float64]]"
Bools: TypeAlias = "np.ndarray[tuple[int, ...], np.dtype[np.bool_]]"
Labels: TypeAlias = "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]"
LabelNames: TypeAlias = Mapping[int, Sequence[str]]
"""For each label value (1 to 255), the names of what belongs to it."""

_NEAREST = 3  # so many names are shown where the one that is wanted is missing

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class Grid:
    """The voxels of an image: axes (i, j, k), which are (column, row, slice) where a DICOM series was just read.

    ``affine`` is 4x4, from voxel centres to RAS mm. The UIDs are "" where they are not known.
    """

    shape: tuple[int, int, int]
    affine: Floats
    frame_of_reference_uid: str = ""
    series_uid: str = ""

    @classmethod
    def of_series(cls, series: Series) -> Grid:
        """Return the grid on which :class:`pipeline.dicom.DicomSeriesReader` gives a series.

        Raises:
            InputError: the series has a problem.
        """
        if series.problem is not None or series.frames is None:
            raise InputError(series.problem or "the series has no slices")
        return cls.of_stack(series.frames)

    @classmethod
    def of_stack(cls, stack: Stack) -> Grid:
        """Return the grid of the slices as acquired; of a tilted gantry, it is sheared."""
        slices, rows, columns = stack.geometry.spatial_shape
        return cls(
            shape=(columns, rows, slices),
            affine=stack.ras_affine,
            frame_of_reference_uid=str(stack.geometry.frame_of_reference_uid or ""),
            series_uid=stack.headers[0].series_uid,
        )

    @property
    def steps_mm(self) -> Floats:
        """The distance between neighbouring voxels along (i, j, k)."""
        steps: Floats = np.linalg.norm(self.affine[:3, :3], axis=0)
        return steps

    def to_voxels(self, points: Floats) -> Floats:
        """Return where points (n, 3) in LPS mm, as DICOM has them, lie in voxels (n, 3)."""
        voxels: Floats = np.linalg.solve(self.affine[:3, :3], (swap_lps_ras(points) - self.affine[:3, 3]).T).T
        return voxels


def check_frame_of_reference(uid: str, grid: Grid, where: Path) -> None:
    """Refuse coordinates of another frame of reference (PS3.3 C.7.4.1) than the image's, where both are known."""
    if uid and grid.frame_of_reference_uid and uid != grid.frame_of_reference_uid:
        raise InputError(
            "its coordinates are of another frame of reference than the image's",
            where=where,
            expected=grid.frame_of_reference_uid,
            got=uid,
            cure="Give the image that it was drawn on",
        )


def find_names(
    names: LabelNames, present: Sequence[Sequence[str]], *, what: str, where: Path
) -> dict[int, tuple[int, ...]]:
    """Find for each label what is named as it; case and white space at the ends or doubled do not count.

    Args:
        names: the names of each label value; one that occurs is enough, and all that occur count.
        present: the names that each of the objects answers to.
        what: the word for such an object, for messages.
        where: the file, for messages.

    Returns:
        For each label value the indices into ``present``.

    Raises:
        InputError: a label has nothing, or shares a name with another.
    """
    owner: dict[str, int] = {}
    for value, own in names.items():
        if not 1 <= value <= np.iinfo(np.uint8).max:
            raise InputError("a label value is out of range", expected="1 to 255", got=value)
        for name in map(_plain, own):
            if owner.setdefault(name, value) != value:
                raise InputError(f"labels {owner[name]} and {value} share the name '{name}'")
    found: dict[int, list[int]] = {value: [] for value in names}
    for index, answers in enumerate(present):
        values = {owner[name] for name in map(_plain, answers) if name in owner}
        if len(values) > 1:
            raise InputError(f"{what} '{answers[0]}' is named by the labels {sorted(values)}", where=where)
        for value in values:
            found[value].append(index)
    for value, indices in found.items():
        if not indices:
            raise _missing(names[value], [answers[0] for answers in present], what=what, where=where)
    return {value: tuple(indices) for value, indices in found.items()}


def _plain(name: str) -> str:
    return " ".join(name.split()).casefold()


def _missing(wanted: Sequence[str], present: Sequence[str], *, what: str, where: Path) -> InputError:
    by_name = {_plain(name): name for name in present}
    scored = {plain: max((_likeness(plain, one) for one in wanted), default=0.0) for plain in by_name}
    near = sorted(by_name, key=lambda plain: -scored[plain])[:_NEAREST]
    listed = ", ".join(f"'{by_name[plain]}'" for plain in near) or "none at all"
    more = f" and {len(by_name) - len(near)} more" if len(by_name) > len(near) else ""
    return InputError(
        f"no {what} is named {' or '.join(repr(name) for name in wanted)}",
        where=where,
        got=f"{listed}{more}",
        cure="Correct the name, or add it to the label's source_names",
    )


def _likeness(plain: str, wanted: str) -> float:
    return difflib.SequenceMatcher(None, plain, _plain(wanted)).ratio()


def overlay(masks: Iterator[tuple[int, Bools]], grid: Grid, where: Path) -> Labels:
    """Make one label map of a mask per label value; where they overlap the later one wins, and the log tells.

    Args:
        masks: (value, mask of the grid's shape), in the order of the labels.
        grid: of the image.
        where: the file, for the log.
    """
    labels: Any = np.zeros(grid.shape, dtype=np.uint8)
    for value, mask in masks:
        covered = np.bincount(labels[mask], minlength=1)
        for under in np.flatnonzero(covered[1:]) + 1:
            _log.warning("%s: label %d takes %d voxels from label %d", where, value, covered[under], under)
        labels[mask] = value
    result: Labels = labels
    return result
