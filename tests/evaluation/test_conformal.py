from __future__ import annotations

import math

import numpy as np
import pytest

from pipeline.evaluation.conformal import conformal_quantile


@pytest.mark.parametrize(("count", "level"), [(9, 0.9), (19, 0.9), (57, 0.8), (100, 0.95)])
def test_with_a_case_per_patient_it_is_the_split_conformal_quantile(count: int, level: float) -> None:
    scores = np.random.default_rng(count).exponential(size=count)
    expected = np.sort(scores)[math.ceil((count + 1) * level) - 1]
    assert conformal_quantile(scores, [str(n) for n in range(count)], level) == expected


def test_too_few_patients_promise_nothing() -> None:
    assert conformal_quantile(np.arange(80), [str(n % 8) for n in range(80)], 0.9) == math.inf
    assert conformal_quantile(np.arange(90), [str(n % 9) for n in range(90)], 0.9) < math.inf


def test_it_covers_new_patients_whose_cases_are_alike() -> None:
    """Ten cases of a patient share most of their error, and some patients have more of them than others."""
    generator = np.random.default_rng(0)
    covered, naive = list[float](), list[float]()
    for _ in range(400):
        sizes = generator.integers(1, 20, 31)
        errors = [abs(generator.normal() * 2 + generator.normal(size=n) * 0.3) for n in sizes]
        known, new = errors[:30], errors[30]
        patients = [str(index) for index, one in enumerate(known) for _ in one]
        covered.append(float((new <= conformal_quantile(np.concatenate(known), patients, 0.8)).mean()))
        naive.append(float((new <= np.quantile(np.concatenate(known), 0.7)).mean()))
    assert 0.78 < np.mean(covered) < 0.88
    assert np.mean(naive) < 0.75, "a quantile at another level would not pass"
