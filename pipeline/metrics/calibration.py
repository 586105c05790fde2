"""Whether a probability can be believed."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["CalibrationBins", "equal_count_bins", "wilson_interval"]

_Floats = npt.NDArray[np.float64]


class CalibrationBins(NamedTuple):
    """A reliability diagram; of shape (bins,) each, without empty bins.

    Attributes:
        counts: of the cases.
        hits: how many of them are positive.
        means: their mean probability.
    """

    counts: npt.NDArray[np.int64]
    hits: npt.NDArray[np.int64]
    means: _Floats

    @property
    def shares(self) -> _Floats:
        """The observed frequency."""
        shares: _Floats = self.hits / self.counts
        return shares

    @property
    def error(self) -> float:
        """Expected calibration error: mean gap of frequency and probability over the cases; NaN without cases."""
        if not self.counts.size:
            return float("nan")
        return float(self.counts @ np.abs(self.means - self.shares) / self.counts.sum())


def equal_count_bins(probabilities: npt.ArrayLike, positive: npt.ArrayLike, bins: int = 10) -> CalibrationBins:
    """Cases in bins between quantiles of their probability; equal probabilities share a bin, the lower one.

    Args:
        probabilities: of shape (N,), 0 to 1.
        positive: bool of shape (N,).
        bins: how many, at most; ties can leave fewer.

    Raises:
        ValueError: the shapes differ, or a probability is not within 0 to 1.
    """
    p, kinds = np.asarray(probabilities, dtype=np.float64), np.asarray(positive, dtype=bool)
    if p.ndim != 1 or p.shape != kinds.shape:
        raise ValueError(f"expected two lists of one length, got the shapes {p.shape} and {kinds.shape}")
    if p.size and not (p.min() >= 0 and p.max() <= 1):
        raise ValueError(f"probabilities are not within 0 to 1: {p.min()} to {p.max()}")
    edges = np.quantile(p, np.arange(1, bins) / bins) if p.size else np.empty(0)
    place = np.searchsorted(edges, p, side="left")
    counts = np.bincount(place, minlength=bins).astype(np.int64)
    filled = counts > 0
    sums = np.bincount(place, p, minlength=bins)[filled]
    hits = np.bincount(place[kinds], minlength=bins)[filled].astype(np.int64)
    return CalibrationBins(counts[filled], hits, sums / counts[filled])


def wilson_interval(hits: npt.ArrayLike, counts: npt.ArrayLike, *, level: float = 0.95) -> tuple[_Floats, _Floats]:
    """Score interval of a proportion (Wilson 1927) of independent cases.

    Args:
        hits: of any shape.
        counts: of the same shape.
        level: the coverage.

    Returns:
        Lower and upper ends within 0 and 1; NaN where there are no cases.
    """
    from scipy.special import ndtri

    n = np.asarray(counts, dtype=np.float64)
    n = np.where(n > 0, n, np.nan)
    share, z = np.asarray(hits, dtype=np.float64) / n, float(ndtri((1 + level) / 2))
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return np.clip(middle - half, 0, 1), np.clip(middle + half, 0, 1)
