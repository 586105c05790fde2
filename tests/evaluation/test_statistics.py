from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.evaluation import bootstrap_interval, mean_intervals
from pipeline.evaluation.statistics import holm, mean_ranks, patient_means, rank_biserial, rank_shares, wilcoxon


def _names(count: int) -> list[str]:
    return [f"{i:05}" for i in range(count)]


@pytest.mark.parametrize("level", [0.95, 0.8])
def test_intervals_of_means_are_scipys(level: float) -> None:
    values = np.random.default_rng(3).exponential(size=(40, 3))
    ours = mean_intervals(values, _names(40), level=level, resamples=700, seed=4)
    for column, ends in zip(values.T, ours.T, strict=True):
        expected = scipy.stats.bootstrap(
            (column,), np.mean, n_resamples=700, confidence_level=level, method="BCa", batch=256,
            rng=np.random.default_rng(4),
        ).confidence_interval  # fmt: skip
        assert ends == pytest.approx(tuple(expected), rel=1e-12)


def test_intervals_of_means_are_over_patients() -> None:
    generator = np.random.default_rng(2)
    values, patients = generator.exponential(size=90), generator.integers(0, 20, 90).astype(str)
    expected = bootstrap_interval(lambda cases: float(values[cases].mean()), patients.tolist())
    assert mean_intervals(values, patients.tolist())[:, 0] == pytest.approx(expected)


def test_what_is_not_finite_is_left_out_of_its_own_column_only() -> None:
    values = np.random.default_rng(0).normal(size=(30, 2))
    holes = values.copy()
    holes[3, 0], holes[8, 0] = np.inf, np.nan
    ours = mean_intervals(holes, _names(30))
    kept = np.delete(values[:, 0], [3, 8])
    assert ours[:, 0] == pytest.approx(mean_intervals(kept, _names(28))[:, 0])
    assert ours[:, 1] == pytest.approx(mean_intervals(values[:, 1], _names(30))[:, 0])


def test_intervals_without_two_patients_are_undefined_and_of_equal_values_have_no_width() -> None:
    assert np.isnan(mean_intervals([1.0, 2.0], ["a", "a"])).all()
    assert np.isnan(mean_intervals([1.0, np.nan], ["a", "b"])).all()
    assert mean_intervals([0.1] * 7, _names(7))[:, 0].tolist() == pytest.approx([0.1, 0.1], abs=1e-15)


def test_holm_by_hand() -> None:
    # In order 0.005 * 4, 0.01 * 3, 0.03 * 2 and 0.04 * 1, which may not fall below the one before.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([0.02, math.nan, 0.03]) == pytest.approx([0.04, math.nan, 0.04], nan_ok=True)
    assert holm([]).size == 0


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_holm_is_the_closed_test_of_bonferroni(p_values: list[float]) -> None:
    """Adjusted p of a hypothesis: the largest Bonferroni p of all the sets of hypotheses that hold it."""
    adjusted = holm(p_values)
    for k in range(len(p_values)):
        others = [n for n in range(len(p_values)) if n != k]
        sets = (set(some) | {k} for size in range(len(p_values)) for some in itertools.combinations(others, size))
        expected = max(min(1.0, len(one) * min(p_values[n] for n in one)) for one in sets)
        assert adjusted[k] == pytest.approx(expected)


@pytest.mark.parametrize("count", [6, 30, 120])
def test_wilcoxon_is_scipys(count: int) -> None:
    generator = np.random.default_rng(count)
    first, second = generator.normal(size=(2, count)).round(1)
    assert wilcoxon(second - first) == pytest.approx(scipy.stats.wilcoxon(second - first).pvalue)


def test_infinite_differences_count_as_the_largest() -> None:
    differences = np.array([0.3, -0.2, 0.9, np.inf, 0.5, -np.inf, np.nan, 0.1, 0.7, np.inf])
    stand_in = np.array([0.3, -0.2, 0.9, 50, 0.5, -50, 0.1, 0.7, 50])
    assert wilcoxon(differences) == pytest.approx(scipy.stats.wilcoxon(stand_in).pvalue)
    assert rank_biserial(differences) == pytest.approx(rank_biserial(stand_in))


def test_differences_of_nothing() -> None:
    assert (wilcoxon([0.0, 0.0, 0.0]), rank_biserial([0.0, 0.0])) == (1.0, 0.0)
    assert np.isnan([wilcoxon([]), rank_biserial([]), wilcoxon([np.nan])]).all()


def test_rank_biserial_by_hand() -> None:
    # |d| 1, 2, 3, 4 have the ranks 1 to 4; the 0 has none. R+ = 1 + 3 + 4, R- = 2.
    assert rank_biserial([1, -2, 3, 4, 0]) == pytest.approx((8 - 2) / 10)
    # Ties share: |d| 1, 1, 2 have 1.5, 1.5, 3.
    assert rank_biserial([1, -1, -2]) == pytest.approx((1.5 - 4.5) / 6)
    assert rank_biserial([-0.1, -7]) == -1


def test_rank_biserial_follows_from_scipys_statistic() -> None:
    differences = np.random.default_rng(1).normal(0.2, 1, 25)
    total = 25 * 26 / 2
    smaller = scipy.stats.wilcoxon(differences).statistic  # the smaller of R+ and R-
    assert abs(rank_biserial(differences)) == pytest.approx((total - 2 * smaller) / total)


def test_means_of_patients() -> None:
    means = patient_means(np.array([1.0, 2.0, 6.0, np.inf, -np.inf]), ["b", "a", "b", "c", "c"])
    assert means.tolist() == pytest.approx([2.0, 3.5, np.nan], nan_ok=True)


def test_mean_ranks_by_hand() -> None:
    # Three methods, four cases, two labels; higher is better.
    scores = np.array(
        [
            [[0.9, 0.5], [0.8, -np.inf], [0.7, np.nan], [np.nan, np.nan]],
            [[0.8, 0.5], [0.9, -np.inf], [0.7, 0.1], [0.5, 0.5]],
            [[0.7, 0.6], [0.1, 0.2], [0.9, 0.2], [0.5, 0.5]],
        ]
    )
    # p: (1, 2, 3) and (2.5, 2.5, 1) are (1.75, 2.25, 2); (2, 1, 3) and (2.5, 2.5, 1) are (2.25, 1.75, 2).
    # q: only the first label counts, (2.5, 2.5, 1). r has nothing left.
    ranks = mean_ranks(scores, ["p", "p", "q", "r"])
    np.testing.assert_allclose(ranks, [[2.0, 2.0, 2.0], [2.5, 2.5, 1.0]])


def test_shares_of_places() -> None:
    clear = rank_shares(np.tile([1.0, 2.0, 3.0], (9, 1)), resamples=50)
    np.testing.assert_array_equal(clear, np.eye(3))
    tied = rank_shares(np.tile([1.5, 1.5, 3.0], (4, 1)), resamples=50)
    np.testing.assert_array_equal(tied, [[1, 0, 0], [1, 0, 0], [0, 0, 1]])


def test_shares_of_places_of_two_methods_are_binomial() -> None:
    """The first is better for 7 of 11 patients: it leads where a draw of 11 has at least 6 of them."""
    ranks = np.array([[1.0, 2.0]] * 7 + [[2.0, 1.0]] * 4)
    expected = scipy.stats.binom.sf(5, 11, 7 / 11)
    assert rank_shares(ranks, resamples=20000)[0, 0] == pytest.approx(expected, abs=0.012)
