"""Agreement of predicted with true classes, and of confidence with truth."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import numpy.typing as npt

__all__ = ["calibration_bins", "confusion_matrix", "expected_calibration_error", "roc_auc", "roc_auc_of_ranks"]

_First = TypeVar("_First", bound=np.generic)
_Second = TypeVar("_Second", bound=np.generic)


def confusion_matrix(reference: npt.ArrayLike, predicted: npt.ArrayLike, classes: int) -> npt.NDArray[np.int64]:
    """Count the cases of each reference class (rows) by predicted class (columns).

    Args:
        reference: class numbers of shape (N,), 0 to ``classes`` - 1.
        predicted: class numbers of shape (N,), 0 to ``classes`` - 1.
        classes: the number of classes, K.

    Returns:
        Counts of shape (K, K).

    Raises:
        ValueError: the shapes differ, or a number is no class.
    """
    r, p = _pair(np.asarray(reference, dtype=np.int64), np.asarray(predicted, dtype=np.int64))
    for numbers in (r, p):
        if numbers.size and not (numbers.min() >= 0 and numbers.max() < classes):
            raise ValueError(f"class numbers are not within 0 to {classes - 1}: {numbers.min()} to {numbers.max()}")
    counts: npt.NDArray[np.int64] = np.bincount(r * classes + p, minlength=classes**2).reshape(classes, classes)
    return counts.astype(np.int64, copy=False)


def roc_auc(scores: npt.ArrayLike, positive: npt.ArrayLike) -> float:
    """Area under the ROC curve: how often a positive case scores above a negative one, ties at one half.

    This is the Mann-Whitney U over the number of pairs (Hanley and McNeil 1982).

    Args:
        scores: of shape (N,), higher for what looks more positive.
        positive: bool of shape (N,).

    Returns:
        0 to 1; NaN where there is no positive or no negative case.

    Raises:
        ValueError: the shapes differ, or a score is NaN.
    """
    values, kinds = _pair(np.asarray(scores), np.asarray(positive, dtype=bool))
    if np.isnan(values).any():
        raise ValueError("scores contain NaN")
    return roc_auc_of_ranks(np.unique(values, return_inverse=True)[1], kinds)


def roc_auc_of_ranks(ranks: npt.NDArray[np.integer], positive: npt.NDArray[np.bool_]) -> float:
    """:func:`roc_auc` where the scores were ranked before: counts without sorting, for many resamples of one set.

    Args:
        ranks: of shape (N,), numbers from 0 that order the cases as their scores do, equal where those are equal.
        positive: bool of shape (N,).

    Returns:
        0 to 1; NaN where there is no positive or no negative case.
    """
    positives = np.bincount(ranks[positive])
    negatives = np.bincount(ranks[~positive], minlength=len(positives))
    if not positives.any() or not negatives.any():
        return float("nan")
    negatives_below_or_half = np.cumsum(negatives) - negatives / 2
    wins = positives @ negatives_below_or_half[: len(positives)]
    return float(wins / (positives.sum() * negatives.sum()))


def calibration_bins(
    confidence: npt.ArrayLike, correct: npt.ArrayLike, bins: int = 15
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The reliability diagram (Guo et al. 2017): cases in bins of equal width of their confidence.

    Args:
        confidence: probability of the predicted class, of shape (N,), 0 to 1.
        correct: whether the predicted class is true, bool of shape (N,).
        bins: the number of bins, M. Bin m holds (m / M, (m + 1) / M]; the first also holds 0.

    Returns:
        Per bin the number of cases, their mean confidence and their accuracy; the latter two NaN in an empty bin.

    Raises:
        ValueError: the shapes differ, or a confidence is not within 0 to 1.
    """
    c, right = _pair(np.asarray(confidence, dtype=np.float64), np.asarray(correct, dtype=bool))
    if c.size and not (c.min() >= 0 and c.max() <= 1):
        raise ValueError(f"confidence is not within 0 to 1: {c.min()} to {c.max()}")
    place = np.searchsorted(np.arange(1, bins) / bins, c, side="left")
    counts = np.bincount(place, minlength=bins).astype(np.int64, copy=False)
    size = np.where(counts > 0, counts, np.nan)
    return counts, np.bincount(place, c, minlength=bins) / size, np.bincount(place, right, minlength=bins) / size


def expected_calibration_error(confidence: npt.ArrayLike, correct: npt.ArrayLike, bins: int = 15) -> float:
    """Mean gap between confidence and accuracy, over the cases of :func:`calibration_bins` (Guo et al. 2017).

    Args:
        confidence: probability of the predicted class, of shape (N,), 0 to 1.
        correct: whether the predicted class is true, bool of shape (N,).
        bins: the number of bins of equal width, closed on the right.

    Returns:
        0 to 1; NaN without cases.

    Raises:
        ValueError: the shapes differ, or a confidence is not within 0 to 1.
    """
    counts, means, accuracies = calibration_bins(confidence, correct, bins)
    filled = counts > 0
    if not filled.any():
        return float("nan")
    return float(counts[filled] @ np.abs(means - accuracies)[filled] / counts.sum())


def _pair(first: npt.NDArray[_First], second: npt.NDArray[_Second]) -> tuple[npt.NDArray[_First], npt.NDArray[_Second]]:
    if first.ndim != 1 or first.shape != second.shape:
        raise ValueError(f"expected two lists of one length, got the shapes {first.shape} and {second.shape}")
    return first, second
