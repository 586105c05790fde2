"""Labels brought onto the slices of their source images: turned and cut out of a larger grid, never interpolated."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from pipeline.dicom.labels.lattice import Turn
from pipeline.dicom.reading.scanning import choose, scan
from pipeline.errors import InputError

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from pipeline.dicom.labels.grid import Floats, Labels
    from pipeline.dicom.reading.geometry import Stack
    from pipeline.dicom.reading.series import Series

__all__ = ["place", "source_series", "source_stack"]

Indices: TypeAlias = "np.ndarray[tuple[int, ...], np.dtype[np.intp]]"

PLACE_TOLERANCE_VOXEL = 0.01
"""How far a corner of a label map may lie from the voxel of the source images that it is taken for."""

_CURE = "Bring the labels back to the grid of the input before writing them"


def source_series(source_files: Sequence[str | os.PathLike[str]], series: str | None = None) -> Series:
    """Return the series, or the one volume of several in it, that some files hold.

    Args:
        source_files: in any order.
        series: which one, as :func:`pipeline.dicom.choose` takes it; "<SeriesInstanceUID>/2" also names the second
            volume of a series where the files are those of that volume alone.

    Raises:
        InputError: see :func:`pipeline.dicom.choose`.
    """
    found = scan(source_files)
    if series is not None and len(found.series) == 1 and found.series[0].part is None:
        uid = found.series[0].series_uid
        series = uid if series.startswith(f"{uid}/") else series
    return choose(found, series)


def source_stack(series: Series) -> Stack:
    """Return the slices of a series in order; of one whose only problem is its tilted gantry, those as acquired.

    Raises:
        InputError: the series has another problem.
    """
    tilted: Stack | None = getattr(series, "tilted", None)
    stack = series.frames if series.problem is None else tilted
    if stack is None:
        raise InputError(series.problem or "the series has no slices")
    return stack


def place(labels: Labels, *, affine: Floats, shape: tuple[int, int, int], source_affine: Floats) -> Labels:
    """Put a label map onto the grid of its source images.

    ``inv(source_affine) @ affine`` must be an exchange and reversal of axes with whole offsets. A label map may be cut
    out of the grid, and may reach beyond it where it is empty.

    Args:
        labels: axes in any order and direction.
        affine: 4x4, voxels of ``labels`` to mm.
        shape: of the source images, axes (column, row, slice).
        source_affine: 4x4, voxels of the source images to mm in the same coordinates; it may be sheared.

    Returns:
        The labels with the shape of the source images; voxels that ``labels`` does not reach are 0.

    Raises:
        InputError: the voxels do not lie on each other, or a label lies outside the source images.
    """
    if labels.ndim != 3 or 0 in labels.shape:  # noqa: PLR2004
        raise InputError("the labels are not a volume", expected="three axes", got=f"shape {labels.shape}")
    between = np.asarray(np.linalg.solve(source_affine, affine), dtype=np.float64)
    turn = Turn.nearest(between, labels.shape)
    away = float(np.abs(turn.away).max())
    if not turn.found or not away <= PLACE_TOLERANCE_VOXEL:
        raise InputError(
            "the labels do not lie on the source images",
            expected=f"corners within {PLACE_TOLERANCE_VOXEL:g} voxel",
            got=f"{away:.3g} voxel{'s' if away > 1 else ''} off",
            cure=_CURE,
        )
    return _into(turn.of(labels), turn.first(labels.shape), shape)


def _into(labels: Labels, first: Indices, shape: tuple[int, int, int]) -> Labels:
    """Return an array of a shape with labels in it whose first voxel has the index ``first``."""
    low, high = np.maximum(first, 0), np.minimum(first + labels.shape, shape)
    inside = tuple(slice(a, b) for a, b in zip(low - first, np.maximum(high, low) - first, strict=True))
    total, kept = np.count_nonzero(labels), np.count_nonzero(labels[inside])
    if total > kept:
        beyond = int(np.maximum(-first, first + labels.shape - shape).max())
        raise InputError(
            "labels lie outside the source images",
            expected=f"all within their {' x '.join(map(str, shape))} voxels",
            got=f"{total - kept} of {total} labelled voxels outside, the array reaching {beyond} voxels beyond",
            cure="Give the series that the labels were made on",
        )
    if not np.array_equal(first, (0, 0, 0)) or labels.shape != shape:
        placed = np.zeros(shape, dtype=labels.dtype)
        placed[tuple(slice(a, b) for a, b in zip(low, np.maximum(high, low), strict=True))] = labels[inside]
        return placed
    return labels
