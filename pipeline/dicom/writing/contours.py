"""The outlines of a mask in one slice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from skimage.measure import find_contours

if TYPE_CHECKING:
    from pipeline.dicom.labels.grid import Bools, Floats

__all__ = ["slice_contours"]

_LOST = 0.5
"""Pixels by which a contour through the midpoints between pixel centres encloses less than its pixels. Between two
midpoints it cuts off an eighth of a pixel at each corner that points outwards, adds one at each that points inwards,
and has four more of the former."""

_FARTHEST = 0.25  # pixels off the midpoints; 0.21 is the most that is needed, of a pixel alone
_STRAIGHT = 1e-9


def slice_contours(mask: Bools) -> list[Floats]:
    """Outline a mask of one slice.

    The contours run between the centres of pixels within and without, near their midpoints (marching squares), so that
    filling them at the centres, by exclusive or, gives the mask again; a hole is a contour within a contour. Each one
    is moved off the midpoints by as much as lets it enclose exactly the area of its pixels. None of them touches or
    crosses another or itself: pixels that touch at a corner alone are apart, and holes that do are one.

    Args:
        mask: axes (column, row).

    Returns:
        The corners (n, 2) of each contour, in pixels (column, row), centres at whole numbers, without the first one
        again at the end; those around pixels run one way about, those around holes the other. A side on the border of
        the image is half a pixel from the outermost centres.
    """
    columns, rows = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(columns):
        return []
    first = np.array([columns[0], rows[0]])
    inside = np.pad(mask[columns[0] : columns[-1] + 1, rows[0] : rows[-1] + 1], 1)
    border = np.array(mask.shape) - _LOST
    found = []
    for corners in find_contours(inside.astype(np.float64), 0.5, fully_connected="low"):
        midpoints = corners[:-1]
        outwards = _outwards(midpoints, inside)
        placed = midpoints - 1 + first
        fixed = ((placed == -_LOST) | (placed == border)).any(axis=1)
        found.append(_without_straight(_widened(placed, outwards, fixed)))
    return found


def _outwards(midpoints: Floats, inside: Bools) -> Floats:
    """Return the steps (n, 2) from the pixel within to the pixel without, between which each midpoint lies."""
    low = np.floor(midpoints).astype(np.intp)
    step = np.ceil(midpoints) - low
    within: Floats = np.where(inside[low[:, 0], low[:, 1]], 1.0, -1.0)
    steps: Floats = step * within[:, np.newaxis]
    return steps


def _widened(points: Floats, outwards: Floats, fixed: Bools) -> Floats:
    """Move points so that the area enclosed grows by what the midpoints lose; fixed ones stay."""
    sign = np.sign(_cross(points, points))
    # Around a hole, which grows into the mask, the other way.
    around = sign * np.sign(_cross(points, outwards) + _cross(outwards, points))
    steps = around * outwards * ~fixed[:, np.newaxis]
    # The area is a quadratic function of how far the points move.
    linear = sign * (_cross(points, steps) + _cross(steps, points)) / 2
    quadratic = sign * _cross(steps, steps) / 2
    inner = linear**2 + 4 * quadratic * _LOST
    far = 2 * _LOST / (linear + np.sqrt(inner)) if linear > 0 and inner >= 0 else _FARTHEST
    moved: Floats = points + min(float(far), _FARTHEST) * steps
    return moved


def _cross(one: Floats, other: Floats) -> float:
    """Return the sum of the cross products of each point with the next of the other: twice the area of a polygon."""
    following = np.roll(other, -1, axis=0)
    return float((one[:, 0] * following[:, 1] - one[:, 1] * following[:, 0]).sum())


def _without_straight(points: Floats) -> Floats:
    """Leave out the points on the straight line between their neighbours."""
    before, after = points - np.roll(points, 1, axis=0), np.roll(points, -1, axis=0) - points
    turns = np.abs(before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0])
    corners: Floats = points[turns > _STRAIGHT]
    return corners
