"""What a threshold on a probability trades: ROC and precision-recall curves."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = [
    "average_precision",
    "average_precision_of_ranks",
    "precision_recall_points",
    "roc_points",
    "threshold_counts",
]

_Floats = npt.NDArray[np.float64]


def threshold_counts(scores: npt.ArrayLike, positive: npt.ArrayLike) -> tuple[_Floats, _Floats, _Floats]:
    """True and false positives where all cases from a score on are called positive.

    Args:
        scores: of shape (N,), higher for what looks more positive.
        positive: bool of shape (N,).

    Returns:
        The distinct scores from the highest down, and at each the true and the false positives.

    Raises:
        ValueError: the shapes differ, or a score is NaN.
    """
    values, kinds = np.asarray(scores, dtype=np.float64), np.asarray(positive, dtype=bool)
    if values.ndim != 1 or values.shape != kinds.shape:
        raise ValueError(f"expected two lists of one length, got the shapes {values.shape} and {kinds.shape}")
    if np.isnan(values).any():
        raise ValueError("scores contain NaN")
    distinct, place = np.unique(-values, return_inverse=True)
    counted = [np.bincount(place[chosen], minlength=len(distinct)) for chosen in (kinds, ~kinds)]
    true, false = (np.cumsum(one).astype(np.float64) for one in counted)
    return -distinct, true, false


def roc_points(scores: npt.ArrayLike, positive: npt.ArrayLike) -> tuple[_Floats, _Floats] | None:
    """The corners of the ROC curve, ties as slanted lines (Fawcett 2006), so that its area is the Mann-Whitney U.

    Args:
        scores: of shape (N,).
        positive: bool of shape (N,).

    Returns:
        False and true positive rate from (0, 0) to (1, 1); None where there is no positive or no negative case.

    Raises:
        ValueError: as for :func:`threshold_counts`.
    """
    _, true, false = threshold_counts(scores, positive)
    if not true.size or not true[-1] or not false[-1]:
        return None
    return np.append(0.0, false / false[-1]), np.append(0.0, true / true[-1])


def precision_recall_points(scores: npt.ArrayLike, positive: npt.ArrayLike) -> tuple[_Floats, _Floats] | None:
    """Recall and precision at each distinct score, from the highest down.

    Between two points precision is that of the higher recall, as in :func:`average_precision`: straight lines between
    them would flatter (Davis and Goadrich 2006).

    Args:
        scores: of shape (N,).
        positive: bool of shape (N,).

    Returns:
        None where there is no positive case.

    Raises:
        ValueError: as for :func:`threshold_counts`.
    """
    _, true, false = threshold_counts(scores, positive)
    if not true.size or not true[-1]:
        return None
    return true / true[-1], true / (true + false)


def average_precision(scores: npt.ArrayLike, positive: npt.ArrayLike) -> float:
    """Sum over the distinct scores of precision times the gain in recall.

    Args:
        scores: of shape (N,).
        positive: bool of shape (N,).

    Returns:
        0 to 1; NaN where there is no positive case.

    Raises:
        ValueError: as for :func:`threshold_counts`.
    """
    points = precision_recall_points(scores, positive)
    if points is None:
        return float("nan")
    recall, precision = points
    return float(np.diff(recall, prepend=0.0) @ precision)


def average_precision_of_ranks(ranks: npt.NDArray[np.integer], positive: npt.NDArray[np.bool_]) -> float:
    """:func:`average_precision` where the scores were ranked before, for many resamples of one set.

    Args:
        ranks: of shape (N,), numbers from 0 that order the cases as their scores do, equal where those are equal.
        positive: bool of shape (N,).

    Returns:
        0 to 1; NaN where there is no positive case.
    """
    called = np.bincount(ranks)[::-1]
    hits = np.bincount(ranks[positive], minlength=len(called))[::-1]
    total = hits.sum()
    if not total:
        return float("nan")
    gained = np.flatnonzero(hits)
    return float((hits[gained] * np.cumsum(hits)[gained] / np.cumsum(called)[gained]).sum() / total)
