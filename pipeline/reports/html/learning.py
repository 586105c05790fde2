"""The learning curves of the weights that an evaluation is about."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.documents import read_csv
from pipeline.errors import InputError
from pipeline.reports.html.plots import Curve, curve_plot
from pipeline.reports.html.wording import heading
from pipeline.sources.given import given_path

__all__ = ["find_curves", "learning_plots"]

_CURVES = "training.csv"
_LOSS, _RATE = "training_loss", "learning_rate"
_LEARNING = "learning_"


def find_curves(weights: str | Path) -> Path | None:
    """``training.csv`` beside the weights, or in ``docs`` of the bundle whose ``models`` they are in."""
    file = Path(weights)
    places = [file.with_name(_CURVES)]
    if file.parent.name == "models":
        places.append(file.parent.parent / "docs" / _CURVES)
    return next((path for path in places if path.is_file()), None)


def learning_plots(path: str | Path | None) -> dict[str, tuple[str, str]]:
    """Loss and validation over the epochs of a training.

    Args:
        path: ``training.csv``, or None.

    Returns:
        Title and plot by the name of its file; empty without a table.

    Raises:
        InputError: the file is no table of a training.
    """
    if path is None:
        return {}
    rows = read_csv(given_path(path), needed=["epoch", _LOSS])
    columns = list(rows[0]) if rows else []

    def curve(name: str, column: str) -> Curve:
        kept = [row for row in rows if row[column]]
        return Curve(name, *(np.array([float(row[key]) for row in kept]) for key in ("epoch", column)))

    try:
        curves = {name: curve(name, name) for name in columns[columns.index(_RATE) + 1 :] if name != "epoch"}
    except ValueError as error:
        raise InputError("is no table of a training", where=path, got=error) from None
    found = {}
    if _LOSS in curves and len(curves[_LOSS].x) > 1:
        found[f"{_LEARNING}loss"] = ("Training loss", curve_plot("loss", "Training loss", [curves[_LOSS]]))
    scores = [one for name, one in curves.items() if name != _LOSS and len(one.x) > 1]
    if scores:
        metric = scores[0].name.removeprefix("val_mean_").removeprefix("val_")
        named = [
            Curve("mean" if n == 0 else one.name.removeprefix(f"{metric}_"), one.x, one.y)
            for n, one in enumerate(scores)
        ]
        title = f"Validation {heading(metric).title}"
        found[f"{_LEARNING}validation"] = (title, curve_plot("validation", title, named))
    return found
