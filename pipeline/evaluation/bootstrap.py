"""Confidence intervals over patients."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["bootstrap_interval"]

_MIN_GROUPS = 2
_BATCH = 256  # resamples held in memory at a time


def bootstrap_interval(
    statistic: Callable[[npt.NDArray[np.int64]], float],
    groups: Sequence[str],
    *,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[float, float]:
    """Bias-corrected and accelerated bootstrap interval (Efron 1987) of a statistic of grouped cases.

    Whole groups are drawn, because the cases of one patient are no independent evidence.

    Args:
        statistic: takes the indices of cases, of shape (n,) and with repetitions, and gives one number.
        groups: the group of each case, such as its patient.
        level: the coverage, between 0 and 1.
        resamples: the number of draws.
        seed: the same seed always gives the same interval.

    Returns:
        The lower and the upper end. Where every draw gives the same value, both are that value. Where the corrections
        cannot be computed, for instance because the statistic is undefined without one of the groups, the interval
        holds the middle ``level`` of the draws that gave a number (percentile interval). Both ends are NaN where the
        statistic of all cases is, and where there are fewer than two groups, which say nothing about others.
    """
    from scipy.stats import bootstrap

    names, group_of_case = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    if len(names) < _MIN_GROUPS or np.isnan(statistic(np.arange(len(groups)))):
        return float("nan"), float("nan")
    cases_of = _case_finder(group_of_case, len(names))
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # of degenerate draws, which are looked for below
        result = bootstrap(
            (np.arange(len(names)),),
            lambda drawn: statistic(cases_of(drawn)),
            method="BCa",
            vectorized=False,
            n_resamples=resamples,
            confidence_level=level,
            batch=_BATCH,
            rng=np.random.default_rng(seed),
        )
    ends = np.array(result.confidence_interval, dtype=float)
    if not np.isfinite(ends).all():
        tail = (1 - level) / 2
        ends = np.nanquantile(result.bootstrap_distribution, [tail, 1 - tail])
    return float(ends[0]), float(ends[1])


def _case_finder(
    group_of_case: npt.NDArray[np.int64], count: int
) -> Callable[[npt.NDArray[np.int64]], npt.NDArray[np.int64]]:
    """A function from drawn groups to the indices of their cases."""
    by_group = np.argsort(group_of_case, kind="stable")
    sizes = np.bincount(group_of_case, minlength=count)
    starts = np.cumsum(sizes) - sizes

    def cases_of(drawn: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        size = sizes[drawn]
        ends = np.cumsum(size)
        within = np.arange(ends[-1]) - np.repeat(ends - size, size)
        cases: npt.NDArray[np.int64] = by_group[np.repeat(starts[drawn], size) + within]
        return cases

    return cases_of
