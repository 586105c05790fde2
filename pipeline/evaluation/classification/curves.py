"""ROC, precision-recall and calibration curves of each class, with bands over patients."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.evaluation.bootstrap import LEVEL, RESAMPLES, SEED, draws
from pipeline.metrics.calibration import CalibrationBins, equal_count_bins
from pipeline.metrics.thresholds import precision_recall_points, roc_points

if TYPE_CHECKING:
    from pipeline.evaluation.classification.scores import ClassScores

__all__ = ["Band", "ClassCurves", "class_bins", "class_curves", "curve_bands", "positive_classes"]

_GRID = 101
_MIN_GROUPS, _PAIR = 2, 2
_MAX_BINS, _PER_BIN = 10, 8
_NEXT_TO_ZERO = 1e-9

_Floats = npt.NDArray[np.float64]
_Points = tuple[_Floats, _Floats]


class Band(NamedTuple):
    """A pointwise interval of a curve; of shape (n,) each: x, and the lower and upper end of y there."""

    x: _Floats
    low: _Floats
    high: _Floats


class ClassCurves(NamedTuple):
    """The curves of one class against the rest.

    Attributes:
        name: the class.
        positives: how many cases are of it.
        negatives: how many are not.
        roc: false and true positive rates, or None where a kind of cases is missing.
        roc_band: or None where ``roc`` is, and for fewer than two patients.
        recall: recall and precision, or None where no case is of the class.
        recall_band: likewise.
        decided: false positive rate, recall and precision of the decisions; NaN where undefined.
    """

    name: str
    positives: int
    negatives: int
    roc: _Points | None
    roc_band: Band | None
    recall: _Points | None
    recall_band: Band | None
    decided: tuple[float, float, float]


def positive_classes(table: ClassScores) -> list[int]:
    """The numbers of the classes that are looked at one by one: of two exclusive ones, only the second."""
    size = len(table.classes)
    return [1] if size == _PAIR and not table.multi_label else list(range(size))


def class_curves(table: ClassScores) -> list[ClassCurves]:
    """The curves of each of :func:`positive_classes`; empty where no case has a reference.

    A case without a prediction ranks as the worst, see :attr:`JudgedCases.scores`.
    """
    judged = table.judged()
    if judged is None:
        return []
    patients = [table.cases[name].patient or name for name in table.judged_names()]
    found = []
    for k in positive_classes(table):
        scores, truth, decided = judged.scores[:, k], judged.truth[:, k], judged.decisions[:, k]
        roc_band, recall_band = curve_bands(scores, truth, patients)
        hits, positives, called = (int(one.sum()) for one in (truth & decided, truth, decided))
        negatives = len(truth) - positives
        false = int((~truth & (decided | ~judged.made)).sum())
        rates = ((false, negatives), (hits, positives), (hits, called))
        found.append(
            ClassCurves(
                name=table.classes[k],
                positives=positives,
                negatives=negatives,
                roc=roc_points(scores, truth),
                roc_band=roc_band,
                recall=precision_recall_points(scores, truth),
                recall_band=recall_band,
                decided=tuple(part / whole if whole else float("nan") for part, whole in rates),  # type: ignore[arg-type]
            )
        )
    return found


def class_bins(table: ClassScores) -> dict[str, CalibrationBins]:
    """The calibration of the cases with a reference and a prediction, in bins of equal count.

    Returns:
        By class for each of :func:`positive_classes`, that of its probability; first, under the empty name, that of
        the confidence in the decisions, see :meth:`JudgedCases.calibration`. Empty without references.
    """
    judged = table.judged()
    if judged is None:
        return {}
    made = judged.made
    of_classes = {
        table.classes[k]: _bins(judged.probabilities[made, k], judged.truth[made, k]) for k in positive_classes(table)
    }
    return {"": _bins(*judged.calibration()), **of_classes}


def curve_bands(
    scores: _Floats,
    positive: npt.NDArray[np.bool_],
    patients: list[str],
    *,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> tuple[Band | None, Band | None]:
    """Pointwise percentile intervals of the ROC and the precision-recall curve, from draws of patients.

    The curves of the draws are read at the same 101 false positive rates (vertical averaging, Fawcett 2006) or
    recalls. Draws in which a curve is not defined are left out.

    Args:
        scores: of shape (N,).
        positive: bool of shape (N,).
        patients: of each case.
        level: the coverage at each point.
        resamples: the number of draws.
        seed: of the draws.

    Returns:
        Both bands; None for fewer than two patients, and where no draw has a curve.
    """
    names, group = np.unique(np.asarray(patients, dtype=str), return_inverse=True)
    if len(names) < _MIN_GROUPS:
        return None, None
    grid, order = np.linspace(0, 1, _GRID), np.argsort(-scores, kind="stable")
    starts = np.append(0, np.flatnonzero(np.diff(scores[order])) + 1)
    kinds = positive[order]
    roc, recall = [], []
    for times in draws(len(names), resamples, seed):
        weights = times[:, group[order]]
        true, false = (np.cumsum(np.add.reduceat(weights * one, starts, axis=1), axis=1) for one in (kinds, ~kinds))
        for t, f in zip(true, false, strict=True):
            if t[-1] and f[-1]:
                roc.append(_rates_at(grid, f / f[-1], t / t[-1]))
            if t[-1]:
                recall.append(_precisions_at(grid, t, f))
    return _band(grid, roc, level), _band(grid, recall, level)


def _rates_at(grid: _Floats, false: _Floats, true: _Floats) -> _Floats:
    """True positive rates at false positive rates, at a vertical step its upper end."""
    x, y = np.append(0.0, false), np.append(0.0, true)
    below = np.searchsorted(x, grid, side="right") - 1
    above = np.minimum(below + 1, len(x) - 1)
    width = x[above] - x[below]
    share = np.where(width > 0, (grid - x[below]) / np.where(width > 0, width, 1), 0)
    rates: _Floats = y[below] + share * (y[above] - y[below])
    return rates


def _precisions_at(grid: _Floats, true: _Floats, false: _Floats) -> _Floats:
    """Precisions at recalls, each that of the highest threshold which reaches it; at recall 0 that of the first hit."""
    first = np.searchsorted(true, np.maximum(grid, _NEXT_TO_ZERO) * true[-1] * (1 - 1e-12), side="left")
    precisions: _Floats = true[first] / (true[first] + false[first])
    return precisions


def _band(grid: _Floats, rows: list[_Floats], level: float) -> Band | None:
    if not rows:
        return None
    low, high = np.quantile(np.stack(rows), [(1 - level) / 2, (1 + level) / 2], axis=0)
    return Band(grid, low, high)


def _bins(probabilities: _Floats, positive: npt.NDArray[np.bool_]) -> CalibrationBins:
    return equal_count_bins(probabilities, positive, min(_MAX_BINS, max(1, len(probabilities) // _PER_BIN)))
