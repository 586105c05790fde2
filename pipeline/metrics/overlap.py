"""Overlap of label maps, counted without one-hot copies."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["dice_per_label"]


def dice_per_label(
    prediction: npt.ArrayLike, reference: npt.ArrayLike, labels: Sequence[int]
) -> npt.NDArray[np.float64]:
    """Dice similarity coefficient of each label: 2 |P and R| / (|P| + |R|) (Dice 1945).

    Args:
        prediction: integer label map of any shape, values 0 to 255.
        reference: integer label map of the same shape.
        labels: the label values to score.

    Returns:
        One value per label. A label that is in neither map scores 1: the prediction is right that it is absent. A label
        that is in one map only scores 0.

    Raises:
        ValueError: the shapes differ.
    """
    p, r = np.asarray(prediction), np.asarray(reference)
    if p.shape != r.shape:
        raise ValueError(f"prediction and reference differ in shape: {p.shape} and {r.shape}")
    p, r = p.astype(np.uint8, copy=False).ravel(), r.astype(np.uint8, copy=False).ravel()
    in_p, in_r = np.bincount(p, minlength=256), np.bincount(r, minlength=256)
    in_both = np.bincount(p[p == r], minlength=256)
    wanted = np.asarray(labels, dtype=int)
    size = in_p[wanted] + in_r[wanted]
    return np.where(size > 0, 2.0 * in_both[wanted] / np.maximum(size, 1), 1.0)
