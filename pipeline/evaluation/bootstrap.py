"""Confidence intervals over patients."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["LEVEL", "RESAMPLES", "SEED", "bootstrap_interval", "draws", "mean_intervals"]

LEVEL, RESAMPLES, SEED = 0.95, 2000, 0

_MIN_GROUPS = 2
_BATCH = 256  # resamples held in memory at a time
_ROUNDING = 1e-12

_Floats = npt.NDArray[np.float64]


def bootstrap_interval(
    statistic: Callable[[npt.NDArray[np.int64]], float],
    groups: Sequence[str],
    *,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = SEED,
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


def mean_intervals(
    values: npt.ArrayLike, groups: Sequence[str], *, level: float = LEVEL, resamples: int = RESAMPLES, seed: int = SEED
) -> npt.NDArray[np.float64]:
    """The intervals of :func:`bootstrap_interval` for the means of many columns, from the same draws, all at once.

    Args:
        values: of shape (n,) or (n, columns); what is not finite is left out of its column's mean.
        groups: the group of each case, such as its patient.
        level: the coverage, between 0 and 1.
        resamples: the number of draws.
        seed: of the draws.

    Returns:
        Lower and upper ends, of shape (2, columns); NaN where fewer than two groups have a finite value.
    """
    columns = np.asarray(values, dtype=np.float64).reshape(len(groups), -1)
    ends = np.full((2, columns.shape[1]), np.nan)
    finite = np.isfinite(columns)
    for pattern in np.unique(finite, axis=1).T:  # columns that miss the same cases share their draws
        names, group_of_case = np.unique(np.asarray(groups, dtype=str)[pattern], return_inverse=True)
        if len(names) < _MIN_GROUPS:
            continue
        chosen = (finite == pattern[:, None]).all(axis=0)
        sums = np.zeros((len(names), int(chosen.sum())))
        np.add.at(sums, group_of_case, columns[np.ix_(pattern, chosen)])
        ends[:, chosen] = _bca_of_means(sums, np.bincount(group_of_case), level, resamples, seed)
    return ends


def draws(count: int, resamples: int, seed: int) -> Iterator[npt.NDArray[np.float64]]:
    """How often each of ``count`` groups is in each resample, of shape (up to 256, count), batch after batch."""
    generator = np.random.default_rng(seed)
    for start in range(0, resamples, _BATCH):
        size = min(_BATCH, resamples - start)
        rows = np.arange(size)[:, None] * count
        drawn = generator.integers(0, count, (size, count)) + rows
        yield np.bincount(drawn.ravel(), minlength=size * count).reshape(size, count).astype(np.float64)


def _bca_of_means(sums: _Floats, sizes: npt.NDArray[np.int64], level: float, resamples: int, seed: int) -> _Floats:
    """Efron 1987, equations 6.6 and 7.4, for ratios of sums over groups, of shape (groups, columns)."""
    from scipy.special import ndtr, ndtri

    count, mean = len(sums), sums.sum(axis=0) / sizes.sum()
    drawn = np.concatenate([(times @ sums) / (times @ sizes)[:, None] for times in draws(count, resamples, seed)])
    even = np.abs(drawn - mean) <= _ROUNDING * np.abs(mean)  # the same draw in another order of summing
    below = ((drawn < mean) & ~even).mean(axis=0) + even.mean(axis=0) / 2
    left_out = (sums.sum(axis=0) - sums) / (sizes.sum() - sizes)[:, None]
    influence = left_out.mean(axis=0) - left_out
    tail, ends = (1 - level) / 2, np.empty((2, len(mean)))
    with np.errstate(all="ignore"):
        acceleration = (influence**3).sum(axis=0) / (6 * (influence**2).sum(axis=0) ** 1.5)
        for end, share in zip(ends, (tail, 1 - tail), strict=True):
            z = ndtri(below) + ndtri(share)
            corrected = ndtr(ndtri(below) + z / (1 - acceleration * z))
            where = np.where(np.isfinite(corrected), corrected, share)
            end[:] = [np.quantile(column, q) for column, q in zip(drawn.T, where, strict=True)]
    return np.where(even.all(axis=0), mean, ends)


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
