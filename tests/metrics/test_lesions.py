from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import scipy.ndimage

from pipeline.metrics import measure


def brute_force_lesions(
    prediction: npt.NDArray[np.bool_], reference: npt.NDArray[np.bool_]
) -> tuple[int, int, int, int, float]:
    everywhere = np.ones((3,) * reference.ndim)
    in_p, n_p = scipy.ndimage.label(prediction, everywhere)
    in_r, n_r = scipy.ndimage.label(reference, everywhere)
    dice = []
    for k in range(1, n_r + 1):
        lesion = in_r == k
        matched = np.isin(in_p, [j for j in np.unique(in_p[lesion]) if j])
        dice.append(2 * (lesion & matched).sum() / (lesion.sum() + matched.sum()))
    wrong = [j for j in range(1, n_p + 1) if not reference[in_p == j].any()]
    return n_r, n_p, sum(value > 0 for value in dice), len(wrong), float(np.mean(dice + [0.0] * len(wrong)))


@pytest.mark.parametrize("shape", [(14, 15, 16), (40, 50)])
@pytest.mark.parametrize("density", [0.02, 0.08])
def test_lesions_agree_with_a_plain_count(shape: tuple[int, ...], density: float) -> None:
    generator = np.random.default_rng(5)
    reference = ((generator.random(shape) < density) * generator.integers(1, 3, shape)).astype(np.uint8)
    prediction = np.where(generator.random(shape) < 0.7, reference, np.roll(reference, 3, axis=0))
    for label, ours in measure(prediction, reference, labels=[1, 2], spacing_mm=[1.0] * len(shape)).items():
        expected = brute_force_lesions(prediction == label, reference == label)
        counts = ours.reference_lesions, ours.prediction_lesions, ours.detected_lesions, ours.false_positive_lesions
        assert counts == expected[:4]
        assert ours.lesion_dice == pytest.approx(expected[4])
        assert ours.lesion_sensitivity == pytest.approx(expected[2] / expected[0])
        assert 0 < ours.detected_lesions < ours.reference_lesions  # so that the case says something
        assert ours.false_positive_lesions


def test_lesions_match_as_documented() -> None:
    reference = np.array([[1, 1, 0, 1, 0, 0, 0, 1], [0, 0, 0, 0, 1, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0, 0]])
    prediction = np.array([[1, 1, 1, 1, 0, 0, 0, 2], [0, 0, 0, 0, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0, 1, 0]])
    # Reference: a pair, a diagonal pair, one single that the prediction calls 2. Prediction: four in a row that match
    # both pairs, and two false positives. Dice 2 * 2 / (2 + 4), 2 * 1 / (2 + 4), 0, and 0 twice.
    ours = measure(prediction, reference, labels=[1, 2], spacing_mm=(1, 1))
    one, two = ours[1], ours[2]
    assert (one.reference_lesions, one.prediction_lesions, one.detected_lesions) == (3, 3, 2)
    assert (one.false_positive_lesions, one.lesion_sensitivity) == (2, 2 / 3)
    assert one.lesion_dice == pytest.approx((4 / 6 + 2 / 6) / 5)
    assert (two.reference_lesions, two.false_positive_lesions, two.lesion_dice) == (0, 1, 0)
