"""Tests and effect sizes of paired scores, and the stability of rankings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pipeline.evaluation.bootstrap import RESAMPLES, SEED, draws

__all__ = ["holm", "mean_ranks", "patient_means", "rank_biserial", "rank_shares", "wilcoxon"]

_Floats = npt.NDArray[np.float64]


def patient_means(values: _Floats, patients: Sequence[str]) -> _Floats:
    """Mean over the cases of each patient, because those are no independent evidence.

    Args:
        values: of shape (n, ...).
        patients: of each case.

    Returns:
        Of shape (patients, ...), sorted by patient.
    """
    names, place = np.unique(np.asarray(patients, dtype=str), return_inverse=True)
    sums = np.zeros((len(names), *values.shape[1:]))
    with np.errstate(invalid="ignore"):  # infinite of both signs: NaN
        np.add.at(sums, place, values)
    means: _Floats = sums / np.bincount(place).reshape(-1, *([1] * (values.ndim - 1)))
    return means


def wilcoxon(differences: npt.ArrayLike) -> float:
    """Two-sided p of the signed-rank test (Wilcoxon 1945), without differences of 0 as he had it.

    Args:
        differences: of independent pairs, of shape (n,); infinite ones have the highest ranks, NaN is left out.

    Returns:
        1 where no difference is left but some were 0; NaN where there were none at all.
    """
    from scipy.stats import wilcoxon as signed_rank

    known = _known(differences)
    if not known.any():
        return 1.0 if known.size else float("nan")
    largest = np.abs(known[np.isfinite(known)]).max(initial=1.0)
    return float(signed_rank(np.clip(known, -2 * largest, 2 * largest)).pvalue)  # only the ranks count


def rank_biserial(differences: npt.ArrayLike) -> float:
    """Matched-pairs rank-biserial correlation (Kerby 2014): (R+ - R-) / (R+ + R-) of the ranks that Wilcoxon sums.

    Args:
        differences: as for :func:`wilcoxon`.

    Returns:
        -1 (all negative) to 1 (all positive); 0 where all are 0; NaN where there are none.
    """
    from scipy.stats import rankdata

    known = _known(differences)
    moved = known[known != 0]
    if not moved.size:
        return 0.0 if known.size else float("nan")
    ranks = rankdata(np.abs(moved))
    return float((np.sign(moved) @ ranks) / ranks.sum())


def holm(p_values: npt.ArrayLike) -> _Floats:
    """Adjusted p-values that control the family-wise error rate (Holm 1979).

    Args:
        p_values: of shape (n,); NaN is no test, and stays.

    Returns:
        Of shape (n,): at each step of the descent p times the number of hypotheses left, at most 1, never falling.
    """
    values = np.asarray(p_values, dtype=np.float64)
    adjusted = np.full(values.shape, np.nan)
    tested = np.flatnonzero(~np.isnan(values))
    order = tested[np.argsort(values[tested], kind="stable")]
    adjusted[order] = np.maximum.accumulate(values[order] * np.arange(len(order), 0, -1)).clip(max=1)
    return adjusted


def mean_ranks(scores: _Floats, patients: Sequence[str]) -> _Floats:
    """Ranks of methods within each case and label, averaged over labels and then over the cases of each patient.

    Args:
        scores: of shape (methods, cases, labels), higher is better; cases and labels in which a score is NaN are left
            out.
        patients: of each case.

    Returns:
        Of shape (patients, methods), sorted by patient; 1 is the best, ties share the mean of their ranks. Patients for
        whom nothing is left are left out.
    """
    from scipy.stats import rankdata

    usable = np.asarray(~np.isnan(scores).any(axis=0))
    ranks = np.where(usable, rankdata(-scores, axis=0), np.nan)
    chosen = usable.any(axis=1)
    over_labels = np.nanmean(ranks[:, chosen], axis=2).T
    return patient_means(over_labels, np.asarray(patients, dtype=str)[chosen].tolist())


def rank_shares(ranks: _Floats, *, resamples: int = RESAMPLES, seed: int = SEED) -> _Floats:
    """How often each method takes each place when patients are drawn anew (Wiesenfarth et al. 2021).

    Args:
        ranks: of shape (patients, methods), from :func:`mean_ranks`.
        resamples: the number of draws.
        seed: of the draws.

    Returns:
        Of shape (methods, methods): the share of draws in which the method (row) takes the place (column, from the
        first); methods that tie share the best of their places.
    """
    count, methods = ranks.shape
    shares = np.zeros((methods, methods))
    for times in draws(count, resamples, seed):
        means = np.round(times @ ranks / count, 12)  # equal sums in another order are ties
        places = (means[:, :, None] > means[:, None, :]).sum(axis=2)
        for method in range(methods):
            shares[method] += np.bincount(places[:, method], minlength=methods)
    return shares / resamples


def _known(differences: npt.ArrayLike) -> _Floats:
    values = np.asarray(differences, dtype=np.float64)
    return values[~np.isnan(values)]
