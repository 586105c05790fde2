"""Fit a calibration to cases whose Dice is known, and tell how good it is on patients that it was not fitted to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.errors import InputError
from pipeline.evaluation.boosting import fit_trees
from pipeline.evaluation.conformal import conformal_quantile
from pipeline.evaluation.quality import Calibration, LabelCalibration, model_rows

__all__ = ["LEVEL", "KnownCase", "figures", "fit_calibration"]

LEVEL = 0.9
_FOLDS, _MIN_PATIENTS = 9, 10
_LOW_DICE = 0.8  # what the AUROC tells apart
_MARGIN = 0.1  # of the range of a feature, that a case may lie outside of it
_LEAST_SPREAD = 0.01
_Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class KnownCase:
    """A case, perhaps degraded, with its Dice.

    Attributes:
        patient: whose it is.
        degradation: what was done to it, in words.
        of_labels: features, shape (K, F).
        of_image: features, shape (G,).
        dice: of each label, shape (K,).
    """

    patient: str
    degradation: str
    of_labels: _Floats
    of_image: _Floats
    dice: _Floats


def fit_calibration(
    cases: Sequence[KnownCase],
    *,
    labels: Mapping[int, str],
    label_features: Sequence[str],
    image_features: Sequence[str],
    seed: int = 0,
) -> Calibration:
    """Fit a model for each label, and its intervals by cross-conformal prediction over patients.

    The patients are dealt into nine parts. The errors that the intervals and all figures come from are those of
    models that were fitted without the part that they predict (Vovk 2015); the model that is kept is fitted to all.
    An error counts as a multiple of the typical error at the predicted Dice, so that intervals are narrow where the
    prediction is good.

    Args:
        cases: of at least ten patients.
        labels: names by values.
        label_features: names of the features of each label.
        image_features: names of those of the image.
        seed: of the parts and the models.

    Raises:
        InputError: too few patients.
    """
    patients = np.array([case.patient for case in cases])
    count = len(set(patients.tolist()))
    if count < _MIN_PATIENTS:
        raise InputError("too few patients to calibrate on", expected=f"at least {_MIN_PATIENTS}", got=count)
    parts = _parts(patients, seed)
    rows = np.stack([model_rows(case.of_labels, case.of_image) for case in cases])
    fitted, scored = dict[int, LabelCalibration](), dict[str, Any]()
    for index, (value, name) in enumerate(labels.items()):
        own = np.stack([case.of_labels[index] for case in cases])
        x, dice = rows[:, index], np.array([case.dice[index] for case in cases])
        unseen = _unseen(x, dice, parts, seed)
        fitted[value] = _fit_label(name, x, dice, unseen, patients, ranges=_ranges(own), seed=seed)
        half = _unseen_halves(dice, unseen, patients, parts)
        scored[name] = (dice, unseen, half)
    return Calibration(
        label_features=tuple(label_features),
        image_features=tuple(image_features),
        labels=fitted,
        image_ranges=_ranges(np.stack([case.of_image for case in cases])),
        level=LEVEL,
        about={"seed": seed, "figures": figures(scored, [case.degradation for case in cases])},
    )


def figures(scored: Mapping[str, tuple[_Floats, _Floats, _Floats]], degradations: Sequence[str]) -> dict[str, Any]:
    """How good predictions are, over all labels, for each label, and for each degradation.

    Args:
        scored: by label's name: true Dice, predicted Dice and half the interval's width, each of shape (n,).
        degradations: of each case, in words.

    Returns:
        Each with ``cases``, mean absolute error ``mae``, ``coverage`` of the intervals, their mean ``width``, and
        ``auroc`` of the predicted Dice for a true one under 0.8 (NaN where all or none are), ``low`` such cases.
    """
    dice, told, half = (np.concatenate([one[k] for one in scored.values()]) for k in range(3))
    kinds = np.array(list(degradations) * len(scored))
    return {
        "all": _figures(dice, told, half),
        "labels": {name: _figures(*one) for name, one in scored.items()},
        "degradations": {
            kind: _figures(*(one[kinds == kind] for one in (dice, told, half)))
            for kind in dict.fromkeys(kinds.tolist())
        },
    }


def _figures(dice: _Floats, told: _Floats, half: _Floats) -> dict[str, float]:
    low, high = np.maximum(told - half, 0), np.minimum(told + half, 1)
    return {
        "cases": len(dice),
        "mae": round(float(np.abs(dice - told).mean()), 4),
        "coverage": round(float(((low <= dice) & (dice <= high)).mean()), 4),
        "width": round(float((high - low).mean()), 4),
        "auroc": round(_auroc(dice < _LOW_DICE, -told), 4),
        "low": int((dice < _LOW_DICE).sum()),
    }


def _auroc(positive: npt.NDArray[np.bool_], score: _Floats) -> float:
    """The share of pairs of one positive and one negative that the score puts in order; ties count half."""
    over, under = score[positive][:, None], score[~positive][None, :]
    return float(((over > under) + 0.5 * (over == under)).mean()) if over.size and under.size else float("nan")


def _parts(patients: npt.NDArray[np.str_], seed: int) -> npt.NDArray[np.intp]:
    names, owner = np.unique(patients, return_inverse=True)
    place = np.empty(len(names), dtype=np.intp)
    place[np.random.default_rng(seed).permutation(len(names))] = np.arange(len(names)) % _FOLDS
    parts: npt.NDArray[np.intp] = place[owner]
    return parts


def _unseen(x: _Floats, dice: _Floats, parts: npt.NDArray[np.intp], seed: int) -> _Floats:
    """Predictions, each by a model that was fitted without the patient's part."""
    told = np.empty(len(dice))
    for part in np.unique(parts):
        here = parts == part
        told[here] = fit_trees(x[~here], dice[~here], seed=seed).predict(x[here])
    return np.clip(told, 0.0, 1.0)


def _spread(dice: _Floats, told: _Floats) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The mean absolute error by predicted Dice: in ten groups of one size, never rising with the Dice."""
    order = np.argsort(told, kind="stable")
    groups = np.array_split(order, 10)
    at = [float(told[group].mean()) for group in groups]
    error = [float(np.abs(dice - told)[group].mean()) for group in groups]
    falling = np.maximum.accumulate(error[::-1])[::-1]
    return tuple(round(a, 6) for a in at), tuple(round(max(float(e), _LEAST_SPREAD), 6) for e in falling)


def _fit_label(
    name: str, x: _Floats, dice: _Floats, unseen: _Floats, patients: npt.NDArray[np.str_], *,
    ranges: tuple[tuple[float, float], ...], seed: int,
) -> LabelCalibration:  # fmt: skip
    at, spread = _spread(dice, unseen)
    scores = np.abs(dice - unseen) / np.interp(unseen, at, spread)
    quantile = conformal_quantile(scores, patients.tolist(), LEVEL)
    model = fit_trees(x, dice, seed=seed)
    return LabelCalibration(name=name, model=model, spread_at=at, spread=spread, quantile=quantile, ranges=ranges)


def _unseen_halves(
    dice: _Floats, unseen: _Floats, patients: npt.NDArray[np.str_], parts: npt.NDArray[np.intp]
) -> _Floats:
    """Half the width of each interval, from the errors of other parts alone."""
    half = np.empty(len(dice))
    for part in np.unique(parts):
        here, rest = parts == part, parts != part
        at, spread = _spread(dice[rest], unseen[rest])
        scores = np.abs(dice - unseen)[rest] / np.interp(unseen[rest], at, spread)
        half[here] = conformal_quantile(scores, patients[rest].tolist(), LEVEL) * np.interp(unseen[here], at, spread)
    return half


def _ranges(features: _Floats) -> tuple[tuple[float, float], ...]:
    low, high = features.min(axis=0), features.max(axis=0)
    margin = _MARGIN * (high - low)
    ends = zip((low - margin).round(6).tolist(), (high + margin).round(6).tolist(), strict=True)
    return tuple((float(a), float(b)) for a, b in ends)
