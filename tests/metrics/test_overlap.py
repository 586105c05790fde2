from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.metrics import DiceMetric

from pipeline.metrics import dice_per_label


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31), classes=st.integers(2, 6))
def test_agrees_with_monai_wherever_the_reference_holds_the_label(seed: int, classes: int) -> None:
    generator = np.random.default_rng(seed)
    prediction, reference = generator.integers(0, classes, (2, 7, 6, 5)).astype(np.uint8)
    onehot = [
        torch.nn.functional.one_hot(torch.as_tensor(x).long(), classes).movedim(-1, 0)[None]
        for x in (prediction, reference)
    ]
    expected = DiceMetric(include_background=False, reduction="none", ignore_empty=False)(*onehot).numpy()[0]
    np.testing.assert_allclose(dice_per_label(prediction, reference, range(1, classes)), expected, atol=1e-6)


def test_hand_made_overlap() -> None:
    reference = np.array([[1, 1, 1, 0], [2, 2, 0, 0]])
    prediction = np.array([[1, 1, 0, 0], [0, 2, 2, 2]])
    # label 1: 2 * 2 / (2 + 3); label 2: 2 * 1 / (3 + 2)
    np.testing.assert_allclose(dice_per_label(prediction, reference, [1, 2]), [0.8, 0.4])


@pytest.mark.parametrize(("in_prediction", "in_reference", "expected"), [(0, 0, 1.0), (1, 0, 0.0), (0, 1, 0.0)])
def test_absent_labels(in_prediction: int, in_reference: int, expected: float) -> None:
    prediction, reference = np.zeros((2, 4, 4), dtype=np.uint8)
    prediction[0, 0], reference[0, 0] = in_prediction * 3, in_reference * 3
    assert dice_per_label(prediction, reference, [3]) == [expected]


def test_refuses_different_shapes() -> None:
    with pytest.raises(ValueError, match="differ in shape"):
        dice_per_label(np.zeros((2, 2)), np.zeros((2, 3)), [1])
