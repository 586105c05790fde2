"""Which pixel centres lie inside polygons."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.dicom.labels.grid import Bools, Floats

__all__ = ["fill_polygons"]

_VERTEX_DECIMALS = 6  # of a pixel: less than any file tells, more than the rounding of an affine
_CROSSING_DECIMALS = 9


def fill_polygons(polygons: Sequence[Floats], shape: tuple[int, int]) -> Bools:
    """Fill polygons by the even-odd rule at the pixel centres, which have whole numbers as coordinates.

    A centre is inside where a ray from it crosses the edges of all polygons together an odd number of times, so that
    one polygon within another is a hole, and a keyhole, which runs in and out along one line, is one too. A centre
    exactly on an edge is inside if the polygon lies towards higher indices, of the second axis where the edge is
    parallel to the first: polygons that share an edge share no pixel, and none is lost between them.

    Args:
        polygons: the corners of each, (n, 2), in pixels; the last is joined to the first. They may reach beyond
            the array.
        shape: of the array.

    Returns:
        bool, of the given shape.
    """
    # Each crossing of an edge and a line of centres turns "inside" over for all centres beyond it.
    turns = np.zeros((shape[0] + 1, shape[1]), dtype=np.uint8)
    corners = [np.round(polygon, _VERTEX_DECIMALS) for polygon in polygons if len(polygon)]
    if corners:
        start = np.concatenate(corners)
        end = np.concatenate([np.roll(polygon, -1, axis=0) for polygon in corners])
        across, along = _crossings(start, end, shape[1])
        np.add.at(turns, (np.clip(np.ceil(across), 0, shape[0]).astype(np.intp), along), 1)
    inside: Bools = np.bitwise_xor.accumulate(turns & 1, axis=0)[:-1].astype(bool)
    return inside


def _crossings(start: Floats, end: Floats, lines: int) -> tuple[Floats, np.ndarray[tuple[int, ...], np.dtype[np.intp]]]:
    """Return where edges cross the lines 0, 1, ... of the second axis: the place on the first axis, and the line.

    An edge holds its lower end and not its upper one.
    """
    upward = (start[:, 1] <= end[:, 1])[:, np.newaxis]
    low, high = np.where(upward, start, end), np.where(upward, end, start)
    first, stop = (np.clip(np.ceil(ends[:, 1]), 0, lines).astype(np.intp) for ends in (low, high))
    counts = stop - first
    edge = np.repeat(np.arange(len(counts)), counts)
    line = np.arange(len(edge)) - np.repeat(np.cumsum(counts) - counts, counts) + first[edge]
    low, high = low[edge], high[edge]
    share = (line - low[:, 1]) / (high[:, 1] - low[:, 1])
    return np.round(low[:, 0] + share * (high[:, 0] - low[:, 0]), _CROSSING_DECIMALS), line
