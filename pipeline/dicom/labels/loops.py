"""Several closed contours in one plane, as people who draw them mean them.

A contour within another is a hole, one within a hole is solid again, and so on. Contours that overlap or touch without
one lying within the other are joined. A contour that was drawn again, reversed or moved by less than rounding, counts
once. Where contours say that they are to be combined by exclusive or (CLOSEDPLANAR_XOR, PS3.3 C.8.8.6.3), they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipeline.dicom.labels.polygons import fill_polygons

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.dicom.labels.grid import Bools, Floats

__all__ = ["Combined", "combine"]

_SAME_PIXELS = 0.05  # how far apart two drawings of one contour may be, and a point may lie beyond what it is within


@dataclass(frozen=True)
class Combined:
    """The pixels of contours together, shape of the plane; how many were drawn again, and how many were joined."""

    mask: Bools
    again: int
    joined: int


def combine(loops: Sequence[Floats], shape: tuple[int, int], *, exclusive: bool = False) -> Combined:
    """Fill contours of one plane.

    Args:
        loops: the corners of each, (n, 2), in pixels.
        shape: of the plane.
        exclusive: whether they are combined by exclusive or, whatever lies in what.
    """
    if exclusive or len(loops) == 1:
        return Combined(fill_polygons(loops, shape), 0, 0)
    once = _once(loops)
    by_size = sorted(once, key=_area, reverse=True)
    within = [[other for other in range(k) if _lies_within(loop, by_size[other])] for k, loop in enumerate(by_size)]
    filled = [fill_polygons([loop], shape) for loop in by_size]
    parents = [{other for other in outer if not any(other in within[one] for one in outer)} for outer in within]

    def region(k: int) -> Bools:
        mask: Bools = filled[k].copy()
        for child in range(k + 1, len(by_size)):
            if k in parents[child]:
                mask &= ~region(child)
        return mask

    mask: Bools = np.zeros(shape, dtype=bool)
    roots = [k for k, outer in enumerate(within) if not outer]
    joined = 0
    for k in roots:
        own = region(k)
        joined += bool((mask & own).any())
        mask |= own
    return Combined(mask, len(loops) - len(once), joined)


def _once(loops: Sequence[Floats]) -> list[Floats]:
    kept: list[Floats] = []
    for loop in loops:
        if not any(_is_same(loop, other) for other in kept):
            kept.append(loop)
    return kept


def _is_same(one: Floats, other: Floats) -> bool:
    boxes = [np.concatenate([loop.min(axis=0), loop.max(axis=0)]) for loop in (one, other)]
    if np.abs(boxes[0] - boxes[1]).max() > _SAME_PIXELS:
        return False
    return bool(_distances(one, other).max() <= _SAME_PIXELS and _distances(other, one).max() <= _SAME_PIXELS)


def _lies_within(inner: Floats, outer: Floats) -> bool:
    """Whether every corner of a contour lies inside another one or on it."""
    low, high = outer.min(axis=0) - _SAME_PIXELS, outer.max(axis=0) + _SAME_PIXELS
    if (inner < low).any() or (inner > high).any():
        return False
    inside = _is_inside(inner, outer)
    return bool(inside.all() or (_distances(inner[~inside], outer) <= _SAME_PIXELS).all())


def _area(loop: Floats) -> float:
    x, y = loop.T
    return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2


def _is_inside(points: Floats, loop: Floats) -> Bools:
    """By the number of edges that a ray to the right crosses, (n,)."""
    start, end = loop, np.roll(loop, -1, axis=0)
    y = points[:, 1:]
    spans = (start[:, 1] <= y) != (end[:, 1] <= y)
    with np.errstate(divide="ignore", invalid="ignore"):
        x = start[:, 0] + (y - start[:, 1]) / (end[:, 1] - start[:, 1]) * (end[:, 0] - start[:, 0])
    inside: Bools = (spans & (points[:, :1] < x)).sum(axis=1) % 2 == 1
    return inside


def _distances(points: Floats, loop: Floats) -> Floats:
    """How far points (n, 2) are from the edges of a contour, in pixels, (n,)."""
    start, edge = loop, np.roll(loop, -1, axis=0) - loop
    squared = (edge**2).sum(axis=1)
    away = points[:, np.newaxis] - start
    share = np.clip((away * edge).sum(axis=2) / np.where(squared > 0, squared, 1), 0, 1)
    distances: Floats = np.linalg.norm(away - share[..., np.newaxis] * edge, axis=2).min(axis=1)
    return distances
