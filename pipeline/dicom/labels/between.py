"""Slices between contours that were drawn on every second slice, or more rarely."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pipeline.dicom.labels.grid import Bools, Floats

__all__ = ["gaps_between", "interpolate"]


def gaps_between(slices: Sequence[int]) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Sort the gaps in an ROI's slices into those to be filled and those that part it.

    An ROI that is drawn on every second slice is one body; one that is drawn on every slice but for a few has parts.
    So a gap is filled where it is no longer than the ROI's usual one, the most frequent of its distances, if that
    occurs twice: two slices alone show no habit.

    Args:
        slices: indices of the slices with contours, in any order.

    Returns:
        The slices before and behind each gap that is filled, and of each that is not.
    """
    ordered = sorted(set(slices))
    pairs = list(itertools.pairwise(ordered))
    if not pairs:
        return [], []
    counts = Counter(behind - before for before, behind in pairs)
    usual = min(counts, key=lambda distance: (-counts[distance], distance))
    gaps = [pair for pair in pairs if pair[1] - pair[0] > 1]
    filled = [pair for pair in gaps if pair[1] - pair[0] <= usual and counts[usual] > 1]
    return filled, [pair for pair in gaps if pair not in filled]


def interpolate(before: Bools, behind: Bools, count: int, steps_mm: Sequence[float]) -> Mapping[int, Bools]:
    """Shape-based interpolation (Raya and Udupa, IEEE Trans Med Imaging 9:32, 1990) by signed distances to the border.

    Args:
        before: a slice, shape (A, B).
        behind: another one.
        count: how many slices lie between them.
        steps_mm: the size of a pixel along A and B.

    Returns:
        The slices between, by their number from 1 on.
    """
    from scipy.ndimage import distance_transform_edt

    box = _box(before | behind)
    near, far = (np.pad(mask[box], 1) for mask in (before, behind))

    def signed_mm(mask: Bools) -> Floats:
        if not mask.any():
            return np.full(mask.shape, -np.inf)
        inside: Floats = distance_transform_edt(mask, sampling=steps_mm)
        outside: Floats = distance_transform_edt(~mask, sampling=steps_mm)
        return inside - outside

    ends = signed_mm(near), signed_mm(far)
    found = {}
    for number in range(1, count + 1):
        share = number / (count + 1)
        mask = np.zeros_like(before)
        mask[box] = (((1 - share) * ends[0] + share * ends[1]) > 0)[1:-1, 1:-1]
        found[number] = mask
    return found


def _box(mask: Bools) -> tuple[slice, slice]:
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    if not rows.size:
        return slice(0, 0), slice(0, 0)
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
