"""Curves and calibration bins against scikit-learn, Wilson's interval against his formula solved as a quadratic."""

from __future__ import annotations

import math

import numpy as np
import pytest
import sklearn.calibration
import sklearn.metrics
from scipy.stats import norm

from pipeline.metrics import roc_auc_of_ranks
from pipeline.metrics.calibration import equal_count_bins, wilson_interval
from pipeline.metrics.thresholds import (
    average_precision,
    average_precision_of_ranks,
    precision_recall_points,
    roc_points,
    threshold_counts,
)


def _scored(seed: int, *, ties: bool) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    positive = generator.random(97) < 0.3
    scores = np.clip(generator.normal(0.4 + 0.2 * positive, 0.2), 0, 1)
    return (scores.round(1) if ties else scores), positive


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_curves_agree_with_scikit_learn(seed: int, ties: bool) -> None:
    scores, positive = _scored(seed, ties=ties)
    points = roc_points(scores, positive)
    assert points is not None
    false, true, _ = sklearn.metrics.roc_curve(positive, scores, drop_intermediate=False)
    np.testing.assert_allclose(points, (false, true))
    assert sklearn.metrics.auc(*points) == pytest.approx(sklearn.metrics.roc_auc_score(positive, scores))
    found = precision_recall_points(scores, positive)
    assert found is not None
    precision, recall, _ = sklearn.metrics.precision_recall_curve(positive, scores)
    np.testing.assert_allclose(found[0][::-1], recall[:-1])  # its last point, (0, 1), is of no threshold
    np.testing.assert_allclose(found[1][::-1], precision[:-1])
    expected = sklearn.metrics.average_precision_score(positive, scores)
    assert average_precision(scores, positive) == pytest.approx(expected)
    ranks = np.unique(scores, return_inverse=True)[1]
    assert average_precision_of_ranks(ranks, positive) == pytest.approx(expected)
    drawn = np.random.default_rng(9).integers(0, len(scores), len(scores))
    assert average_precision_of_ranks(ranks[drawn], positive[drawn]) == pytest.approx(
        sklearn.metrics.average_precision_score(positive[drawn], scores[drawn])
    )


def test_curves_by_hand() -> None:
    scores, positive = [0.9, 0.5, 0.5, 0.1], [True, True, False, False]
    thresholds, true, false = threshold_counts(scores, positive)
    assert (thresholds.tolist(), true.tolist(), false.tolist()) == ([0.9, 0.5, 0.1], [1, 2, 2], [0, 1, 2])
    points = roc_points(scores, positive)
    assert points is not None
    assert [one.tolist() for one in points] == [[0, 0, 0.5, 1], [0, 0.5, 1, 1]]
    assert average_precision(scores, positive) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)


@pytest.mark.parametrize("positive", [[True, True], [False, False], []])
def test_a_missing_kind_of_cases_has_no_curve(positive: list[bool]) -> None:
    scores = [0.2, 0.7][: len(positive)]
    assert roc_points(scores, positive) is None
    ranks, kinds = np.arange(len(scores)), np.asarray(positive, dtype=bool)
    assert math.isnan(roc_auc_of_ranks(ranks, kinds))
    if any(positive):
        assert average_precision(scores, positive) == average_precision_of_ranks(ranks, kinds) == 1
    else:
        assert precision_recall_points(scores, positive) is None
        assert math.isnan(average_precision(scores, positive))
        assert math.isnan(average_precision_of_ranks(ranks, kinds))


def test_what_is_no_score_is_refused() -> None:
    with pytest.raises(ValueError, match="NaN"):
        roc_points([0.1, np.nan], [True, False])
    with pytest.raises(ValueError, match="shapes"):
        threshold_counts([0.1], [True, False])
    with pytest.raises(ValueError, match="not within 0 to 1"):
        equal_count_bins([0.1, 1.2], [True, False])


@pytest.mark.parametrize("ties", [False, True])
def test_bins_agree_with_scikit_learn(ties: bool) -> None:
    scores, positive = _scored(5, ties=ties)
    for count in (1, 4, 10):
        bins = equal_count_bins(scores, positive, count)
        shares, means = sklearn.calibration.calibration_curve(positive, scores, n_bins=count, strategy="quantile")
        np.testing.assert_allclose(bins.shares, shares)
        np.testing.assert_allclose(bins.means, means)
        assert bins.counts.sum() == len(scores)
        assert bins.hits.sum() == positive.sum()
    if not ties:
        assert np.ptp(bins.counts) <= 1


def test_the_error_of_bins_by_hand() -> None:
    bins = equal_count_bins([0.1, 0.1, 0.1, 0.9], [False, False, True, True], 2)
    assert bins.counts.tolist() == [3, 1]
    assert bins.error == pytest.approx((3 * (1 / 3 - 0.1) + 0.1) / 4)
    empty = equal_count_bins([], [], 5)
    assert empty.counts.size == 0
    assert math.isnan(empty.error)


@pytest.mark.parametrize(("hits", "count"), [(0, 5), (5, 5), (3, 7), (500, 1000), (0, 1)])
def test_wilsons_interval_holds_the_shares_that_a_score_test_accepts(hits: int, count: int) -> None:
    z = norm.ppf(0.975)
    # (p - hits / n)^2 = z^2 p (1 - p) / n
    share = hits / count
    roots = sorted(np.roots([1 + z**2 / count, -(2 * share + z**2 / count), share**2]).real)
    low, high = wilson_interval([hits], [count])
    assert (float(low[0]), float(high[0])) == pytest.approx(roots, abs=1e-7)
    assert np.isnan(wilson_interval([0], [0])).all()
