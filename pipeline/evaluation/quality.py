"""The Dice that a label map will probably have, told without a reference: what a bundle's calibration says."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.documents import read_mapping
from pipeline.errors import InputError
from pipeline.evaluation.boosting import BoostedTrees
from pipeline.evaluation.tables import write_json

__all__ = ["FILE", "Calibration", "LabelCalibration", "PredictedQuality", "model_rows", "read_calibration"]

FILE = "quality.json"
"""The name of a calibration, beside the weights that it is for."""

FORMAT_VERSION = 1
_Range = tuple[float, float]


@dataclass(frozen=True)
class PredictedQuality:
    """What is predicted of one case.

    Attributes:
        dice: by the label's name.
        low: ends of the intervals.
        high: ends of the intervals.
        outside: what about the case is outside of what was calibrated; nothing where it is inside.
    """

    dice: dict[str, float]
    low: dict[str, float]
    high: dict[str, float]
    outside: tuple[str, ...] = ()


@dataclass(frozen=True)
class LabelCalibration:
    """Of one label.

    Attributes:
        name: of the label.
        model: the Dice from a row of :func:`model_rows`.
        spread_at: predicted Dice, ascending.
        spread: the typical error there, linear in between.
        quantile: of errors as multiples of the typical one, at the level of the intervals.
        ranges: least and greatest value of each feature of the label.
    """

    name: str
    model: BoostedTrees
    spread_at: tuple[float, ...]
    spread: tuple[float, ...]
    quantile: float
    ranges: tuple[_Range, ...]

    def predict(self, features: npt.ArrayLike) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Predicted Dice and half the width of its interval, of rows (n, M)."""
        dice = np.clip(self.model.predict(features), 0.0, 1.0)
        return dice, self.quantile * np.interp(dice, self.spread_at, self.spread)


@dataclass(frozen=True)
class Calibration:
    """How features of a case become a predicted Dice; see :func:`pipeline.evaluation.quality_fit.fit_calibration`.

    Attributes:
        label_features: names of the features of each label.
        image_features: names of those of the image.
        labels: by their values.
        image_ranges: least and greatest value of each feature of the image.
        level: of the intervals.
        about: facts: bundle, weights, cases, seed, figures.
    """

    label_features: tuple[str, ...]
    image_features: tuple[str, ...]
    labels: dict[int, LabelCalibration]
    image_ranges: tuple[_Range, ...]
    level: float
    about: dict[str, Any] = field(default_factory=dict)

    def predict(self, of_labels: npt.ArrayLike, of_image: npt.ArrayLike) -> PredictedQuality:
        """Predict one case.

        The interval of a case outside of the calibrated range is 0 to 1: the calibration says nothing of it.

        Args:
            of_labels: shape (K, len(label_features)), the labels in their order.
            of_image: shape (len(image_features),).
        """
        rows, image = np.asarray(of_labels, dtype=np.float64), np.asarray(of_image, dtype=np.float64)
        outside = _outside(image, self.image_ranges, self.image_features)
        dice, low, high = dict[str, float](), dict[str, float](), dict[str, float]()
        for row, full, label in zip(rows, model_rows(rows, image), self.labels.values(), strict=True):
            names = [f"{name} of {label.name}" for name in self.label_features]
            outside += _outside(row, label.ranges, names)
            value, half = (float(one[0]) for one in label.predict(full[None]))
            dice[label.name] = value
            low[label.name], high[label.name] = max(value - half, 0.0), min(value + half, 1.0)
        if outside:
            low, high = dict.fromkeys(dice, 0.0), dict.fromkeys(dice, 1.0)
        return PredictedQuality(dice=dice, low=low, high=high, outside=tuple(outside))

    def write(self, path: Path) -> Path:
        """Write as JSON."""
        labels = {
            str(value): {
                "name": label.name,
                "spread_at": label.spread_at,
                "spread": label.spread,
                "quantile": label.quantile,
                "ranges": dict(zip(self.label_features, label.ranges, strict=True)),
                **label.model.to_json(),
            }
            for value, label in self.labels.items()
        }
        ranges = dict(zip(self.image_features, self.image_ranges, strict=True))
        content = {"format_version": FORMAT_VERSION, **self.about, "level": self.level, "image_ranges": ranges,
                   "labels": labels}  # fmt: skip
        return write_json(path, content)


def model_rows(of_labels: npt.ArrayLike, of_image: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """What the models see of a case: a label's features, the mean of the other labels', and the image's.

    Labels that lie side by side fail together. With one label the features in the middle are 0.

    Args:
        of_labels: shape (K, F).
        of_image: shape (G,).

    Returns:
        Shape (K, 2 F + G).
    """
    own, image = np.asarray(of_labels, dtype=np.float64), np.asarray(of_image, dtype=np.float64)
    others = (own.sum(axis=0) - own) / max(len(own) - 1, 1)
    return np.concatenate([own, others, np.tile(image, (len(own), 1))], axis=1)


def read_calibration(
    path: Path, *, weights_sha256: str | None, label_features: Sequence[str], image_features: Sequence[str]
) -> Calibration:
    """Read a calibration.

    Args:
        path: the file.
        weights_sha256: of the weights that it shall be for.
        label_features: the features that there will be, which must be those of the file.
        image_features: likewise.

    Raises:
        InputError: it is none, or is of other weights or features.
    """
    cure = "Run: medbundle calibrate, or remove the file"
    try:
        content = read_mapping(path, cure=cure)
        if content["weights_sha256"] != weights_sha256:
            raise InputError("the calibration is of other weights than those beside it", where=path, cure=cure)
        labels = {int(value): _label(one, label_features, image_features) for value, one in content["labels"].items()}
        image_ranges = _ranges(content["image_ranges"], image_features)
        level = _number(content["level"])
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError("is no calibration that can be used", where=path, got=repr(error), cure=cure) from None
    about = {key: value for key, value in content.items() if key not in ("labels", "image_ranges", "level")}
    return Calibration(label_features=tuple(label_features), image_features=tuple(image_features), labels=labels,
                       image_ranges=image_ranges, level=level, about=about)  # fmt: skip


def _label(
    content: Mapping[str, Any], label_features: Sequence[str], image_features: Sequence[str]
) -> LabelCalibration:
    quantile, spread_at = content["quantile"], tuple(map(_number, content["spread_at"]))
    spread = tuple(map(_number, content["spread"]))
    if not len(spread_at) == len(spread) > 0:
        raise ValueError(f"{len(spread)} errors at {len(spread_at)} places")
    return LabelCalibration(
        name=str(content["name"]),
        model=BoostedTrees.from_json(content, features=2 * len(label_features) + len(image_features)),
        spread_at=spread_at,
        spread=spread,
        quantile=float("inf") if quantile is None else _number(quantile),
        ranges=_ranges(content["ranges"], label_features),
    )


def _number(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{number} is no figure")
    return number


def _ranges(content: Mapping[str, Any], names: Sequence[str]) -> tuple[_Range, ...]:
    if list(content) != list(names):
        raise ValueError(f"features {', '.join(content)}")
    return tuple((_number(low), _number(high)) for low, high in content.values())


def _outside(values: npt.NDArray[np.float64], ranges: Sequence[_Range], names: Sequence[str]) -> list[str]:
    found = zip(values, ranges, names, strict=True)
    return [name for value, (low, high), name in found if not low <= value <= high]
