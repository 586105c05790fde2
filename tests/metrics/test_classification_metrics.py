from __future__ import annotations

import math

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.metrics import calibration_bins, confusion_matrix, expected_calibration_error, roc_auc


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31), classes=st.integers(2, 6), count=st.integers(1, 40))
def test_confusion_matrix_agrees_with_scikit_learn(seed: int, classes: int, count: int) -> None:
    reference, predicted = np.random.default_rng(seed).integers(0, classes, (2, count))
    expected = sklearn.metrics.confusion_matrix(reference, predicted, labels=range(classes))
    np.testing.assert_array_equal(confusion_matrix(reference, predicted, classes), expected)


@pytest.mark.parametrize("wrong", [-1, 3])
def test_confusion_matrix_refuses_a_number_that_is_no_class(wrong: int) -> None:
    with pytest.raises(ValueError, match="not within 0 to 2"):
        confusion_matrix([0, 1], [0, wrong], 3)


def test_refuses_different_lengths() -> None:
    with pytest.raises(ValueError, match="one length"):
        confusion_matrix([0, 1], [0], 2)
    with pytest.raises(ValueError, match="one length"):
        roc_auc([0.1, 0.2], [True])
    with pytest.raises(ValueError, match="one length"):
        expected_calibration_error([0.1, 0.2], [True])


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**31), count=st.integers(2, 60), steps=st.sampled_from([2, 5, 1000]))
def test_roc_auc_agrees_with_scikit_learn_ties_included(seed: int, count: int, steps: int) -> None:
    generator = np.random.default_rng(seed)
    scores = generator.integers(0, steps, count) / steps
    positive = generator.random(count) < 0.4
    positive[:2] = True, False
    assert roc_auc(scores, positive) == pytest.approx(sklearn.metrics.roc_auc_score(positive, scores))


@pytest.mark.parametrize("positive", [[True, True], [False, False], []])
def test_roc_auc_of_one_kind_is_undefined(positive: list[bool]) -> None:
    assert math.isnan(roc_auc(np.linspace(0, 1, len(positive)), positive))


def test_roc_auc_refuses_nan() -> None:
    with pytest.raises(ValueError, match="NaN"):
        roc_auc([0.1, float("nan")], [True, False])


def test_hand_made_calibration() -> None:
    # Four bins: (0.25, 0.5] holds 0.4 (wrong), 0.5 (right); (0.75, 1] holds 0.8 (right), 0.9 (right), 1.0 (wrong).
    confidence, correct = [0.4, 0.5, 0.8, 0.9, 1.0], [False, True, True, True, False]
    counts, means, accuracies = calibration_bins(confidence, correct, 4)
    np.testing.assert_array_equal(counts, [0, 2, 0, 3])
    np.testing.assert_allclose(means, [np.nan, 0.45, np.nan, 0.9])
    np.testing.assert_allclose(accuracies, [np.nan, 0.5, np.nan, 2 / 3])
    expected = 2 / 5 * abs(0.5 - 0.45) + 3 / 5 * abs(2 / 3 - 0.9)
    assert expected_calibration_error(confidence, correct, 4) == pytest.approx(expected)


@pytest.mark.parametrize(("confidence", "place"), [(0.0, 0), (0.2, 0), (0.2000001, 1), (0.6, 2), (1.0, 4)])
def test_bins_are_closed_on_the_right(confidence: float, place: int) -> None:
    counts, _, _ = calibration_bins([confidence], [True], 5)
    assert counts.tolist() == [int(place == k) for k in range(5)]


def test_calibration_of_no_case_is_undefined_and_of_no_probability_refused() -> None:
    assert math.isnan(expected_calibration_error([], []))
    with pytest.raises(ValueError, match="not within 0 to 1"):
        expected_calibration_error([1.2], [True])
