"""A small regression that is a list of numbers: gradient-boosted trees of depth 2, fitted and applied in NumPy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["BoostedTrees", "fit_trees"]

_TREES, _RATE, _SHARE, _LEAF, _CUTS = 300, 0.05, 0.5, 8, 32
_Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class BoostedTrees:
    """The sum of a start and of what each tree gives.

    Attributes:
        start: a number.
        trees: for each tree ``[f, t, fl, tl, fr, tr, a, b, c, d]``: feature f below or at t goes on to feature fl and
            its threshold tl, with the values a (at or below) and b, else to fr and tr, with c and d.
    """

    start: float
    trees: tuple[tuple[float, ...], ...]

    def predict(self, features: npt.ArrayLike) -> _Floats:
        """Of features (n, F), shape (n,)."""
        x = np.asarray(features, dtype=np.float64)
        total = np.full(len(x), self.start)
        for tree in self.trees:
            f, fl, fr = (int(tree[index]) for index in (0, 2, 4))
            left = np.where(x[:, fl] <= tree[3], tree[6], tree[7])
            right = np.where(x[:, fr] <= tree[5], tree[8], tree[9])
            total += np.where(x[:, f] <= tree[1], left, right)
        return total

    def to_json(self) -> dict[str, Any]:
        """For JSON."""
        return {"start": self.start, "trees": [list(tree) for tree in self.trees]}

    @classmethod
    def from_json(cls, content: Any, *, features: int | None = None) -> BoostedTrees:
        """From :meth:`to_json`.

        Args:
            content: what that gave.
            features: how many there will be, where that is known.

        Raises:
            ValueError: it is something else, or asks for other features.
        """
        trees = tuple(tuple(float(value) for value in tree) for tree in content["trees"])
        if any(len(tree) != 10 for tree in trees):  # noqa: PLR2004 - see the attribute
            raise ValueError("a tree has other than 10 numbers")
        _check_features(trees, features)
        return cls(start=float(content["start"]), trees=trees)


def _check_features(trees: tuple[tuple[float, ...], ...], features: int | None) -> None:
    known = range(2**31 if features is None else features)
    if any(tree[index] not in known for tree in trees for index in (0, 2, 4)):
        raise ValueError("a tree asks for a feature that there is not")


def fit_trees(features: npt.ArrayLike, target: npt.ArrayLike, *, seed: int) -> BoostedTrees:
    """Fit by stochastic gradient boosting (Friedman 2002) with Huber's loss.

    Each tree sees half of the rows and 40 % of the features, and cuts at quantiles of them.

    Args:
        features: shape (n, F).
        target: shape (n,).
        seed: of the draws.
    """
    x, y = np.asarray(features, dtype=np.float64), np.asarray(target, dtype=np.float64)
    generator = np.random.default_rng(seed)
    quantiles = np.linspace(0, 1, _CUTS + 2)[1:-1]
    cuts = [np.unique(np.round(np.quantile(column, quantiles), 6)) for column in x.T]
    bins = np.stack([np.searchsorted(cut, column, side="left") for cut, column in zip(cuts, x.T, strict=True)], axis=1)
    start = float(np.median(y))
    total, trees = np.full(len(y), start), list[tuple[float, ...]]()
    seen = max(1, round(0.4 * x.shape[1]))
    for _ in range(_TREES):
        residual = y - total
        limit = np.quantile(np.abs(residual), 0.9)
        rows = generator.choice(len(y), max(2, round(_SHARE * len(y))), replace=False)
        chosen = generator.choice(x.shape[1], seen, replace=False)
        tree = _grow(bins, cuts, np.clip(residual, -limit, limit), rows, chosen)
        trees.append(tree)
        total += BoostedTrees(0.0, (tree,)).predict(x)
    return BoostedTrees(start=round(start, 6), trees=tuple(trees))


def _grow(
    bins: npt.NDArray[np.intp], cuts: list[_Floats], residual: _Floats, rows: npt.NDArray[np.intp],
    chosen: npt.NDArray[np.intp],
) -> tuple[float, ...]:  # fmt: skip
    f, cut = _best_split(bins, residual, rows, chosen, cuts)
    below = bins[rows, f] <= cut
    splits, values = [f, _threshold(cuts, f, cut)], list[float]()
    for part in (rows[below], rows[~below]):
        g, at = _best_split(bins, residual, part, chosen, cuts)
        splits += [g, _threshold(cuts, g, at)]
        under = bins[part, g] <= at
        values += [_leaf(residual[part[under]]), _leaf(residual[part[~under]])]
    return tuple(float(value) for value in (*splits, *values))


def _threshold(cuts: list[_Floats], feature: int, cut: int) -> float:
    return float(cuts[feature][cut]) if len(cuts[feature]) else 0.0


def _leaf(residual: _Floats) -> float:
    return round(_RATE * float(residual.mean()), 6) if len(residual) else 0.0


def _best_split(
    bins: npt.NDArray[np.intp], residual: _Floats, rows: npt.NDArray[np.intp], chosen: npt.NDArray[np.intp],
    cuts: list[_Floats],
) -> tuple[int, int]:  # fmt: skip
    """The feature and the number of its cut that take most of the squared residual away; leaves of 8 rows or more."""
    best, feature, place = -np.inf, int(chosen[0]), max(len(cuts[int(chosen[0])]) - 1, 0)
    total = residual[rows].sum()
    for f in map(int, chosen):
        if not len(cuts[f]):
            continue
        here = bins[rows, f]
        n = np.cumsum(np.bincount(here, minlength=len(cuts[f]) + 1))[:-1]
        s = np.cumsum(np.bincount(here, weights=residual[rows], minlength=len(cuts[f]) + 1))[:-1]
        rest = len(rows) - n
        gain = s**2 / np.maximum(n, 1) + (total - s) ** 2 / np.maximum(rest, 1)
        gain = np.where((n >= _LEAF) & (rest >= _LEAF), gain, -np.inf)
        if gain.max() > best:
            best, feature, place = float(gain.max()), f, int(gain.argmax())
    return feature, place
