"""Intervals with a promised coverage, whatever the distribution, for cases that come in patients."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["conformal_quantile"]


def conformal_quantile(scores: npt.ArrayLike, patients: Sequence[str], level: float) -> float:
    """The score that a new patient's case stays below with a probability of at least ``level``.

    Hierarchical conformal prediction (Lee, Barber and Willett, Distribution-free inference with hierarchical data,
    2023): each of the K patients weighs 1 / (K + 1), spread evenly over the patient's cases, and the last
    1 / (K + 1) lies at infinity. With a case per patient it is the quantile of split conformal prediction (Vovk,
    Gammerman and Shafer 2005). The promise holds for patients that are exchangeable with these, and for scores of a
    model that was not fitted on their own patient.

    Args:
        scores: how far each case was from what was predicted, shape (n,), 0 or more.
        patients: of each case.
        level: of the interval, between 0 and 1.

    Returns:
        Infinity where there are too few patients for the level.
    """
    values = np.asarray(scores, dtype=np.float64)
    _, owner, sizes = np.unique(np.asarray(patients), return_inverse=True, return_counts=True)
    order = np.argsort(values, kind="stable")
    weight = np.cumsum(1.0 / sizes[owner][order]) / (len(sizes) + 1)
    reached = np.flatnonzero(weight >= level - 1e-12)
    return float(values[order[reached[0]]]) if len(reached) else float("inf")
