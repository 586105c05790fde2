from __future__ import annotations

import math
import time

import numpy as np
import numpy.typing as npt
import pytest
import scipy.stats

from pipeline.evaluation import bootstrap_interval


def _names(count: int) -> list[str]:
    return [f"{i:05}" for i in range(count)]


def test_agrees_with_scipy_where_each_case_is_its_own_group() -> None:
    values = np.random.default_rng(3).exponential(size=40)
    expected = scipy.stats.bootstrap(
        (values,), np.mean, n_resamples=2000, method="BCa", rng=np.random.default_rng(0)
    ).confidence_interval
    assert bootstrap_interval(lambda cases: float(values[cases].mean()), _names(40)) == pytest.approx(tuple(expected))


def test_of_a_normal_mean_is_the_formula() -> None:
    values = np.random.default_rng(1).normal(size=400)
    low, high = bootstrap_interval(lambda cases: float(values[cases].mean()), _names(400), level=0.9)
    margin = scipy.stats.norm.ppf(0.95) * values.std(ddof=1) / math.sqrt(400)
    assert (low, high) == pytest.approx((values.mean() - margin, values.mean() + margin), abs=0.1 * margin)


def test_holds_the_true_mean_as_often_as_it_says() -> None:
    generator = np.random.default_rng(5)
    held = 0
    for _ in range(100):
        values = generator.normal(size=50)
        low, high = bootstrap_interval(lambda cases, x=values: float(x[cases].mean()), _names(50), resamples=300)
        held += low <= 0 <= high
    assert 88 <= held <= 99  # 95 % of 100; 3 standard deviations below


def test_repeated_cases_of_a_patient_do_not_narrow_the_interval() -> None:
    per_patient = np.random.default_rng(2).normal(size=30)
    values, groups = np.repeat(per_patient, 10), np.repeat(_names(30), 10)
    order = np.random.default_rng(0).permutation(300)
    values, groups = values[order], groups[order]
    low, high = bootstrap_interval(lambda cases: float(values[cases].mean()), list(groups))
    alone = bootstrap_interval(lambda cases: float(per_patient[cases].mean()), _names(30))
    assert (low, high) == pytest.approx(alone)


def test_draws_whole_groups_of_different_sizes() -> None:
    groups = ["b", "a", "b", "c", "b", "c"]
    seen: list[list[int]] = []

    def note(cases: npt.NDArray[np.int64]) -> float:
        seen.append(np.bincount(cases, minlength=6).tolist())
        return float(len(cases))

    bootstrap_interval(note, groups, resamples=50)
    assert len({tuple(times) for times in seen}) > 5
    assert all(times[0] == times[2] == times[4] and times[3] == times[5] for times in seen)


def test_values_that_never_differ_have_no_width() -> None:
    assert bootstrap_interval(lambda cases: 0.25, _names(20)) == (0.25, 0.25)


def test_one_group_says_nothing_about_others() -> None:
    assert np.isnan(bootstrap_interval(lambda cases: float(len(cases)), ["a", "a", "a"])).all()


def test_undefined_statistic_is_undefined() -> None:
    assert np.isnan(bootstrap_interval(lambda cases: float("nan"), _names(5))).all()


def test_draws_without_a_value_are_left_out() -> None:
    values = np.array([np.nan, *np.linspace(0, 1, 11)])

    def mean_if_first(cases: npt.NDArray[np.int64]) -> float:
        return float(np.nanmean(values[cases])) if 0 in cases else float("nan")

    low, high = bootstrap_interval(mean_if_first, _names(12))
    assert 0.2 < low < 0.5 < high < 0.8


def test_same_seed_same_interval() -> None:
    values = np.random.default_rng(0).normal(size=25)
    first, again, other = (
        bootstrap_interval(lambda cases: float(values[cases].mean()), _names(25), seed=seed) for seed in (7, 7, 8)
    )
    assert first == again
    assert first != other


def test_is_quick() -> None:
    values = np.random.default_rng(0).normal(size=360)
    bootstrap_interval(lambda cases: float(values[cases].mean()), _names(10), resamples=10)  # imports
    began = time.process_time()
    bootstrap_interval(lambda cases: float(values[cases].mean()), [str(i // 3) for i in range(360)])
    assert time.process_time() - began < 2
