"""How a report calls columns, and how it writes numbers."""

from __future__ import annotations

import math
import re
from typing import NamedTuple

__all__ = ["Heading", "heading", "is_main", "place", "shown"]

_MAIN = ("dice", "nsd", "hausdorff95", "mean_surface_distance", "volume_difference", "area_difference", "sensitivity",
         "precision")  # fmt: skip
_TITLES = {
    "dice": "Dice",
    "iou": "IoU",
    "nsd": "NSD",
    "tolerance": "NSD tolerance",
    "hausdorff": "HD",
    "hausdorff95": "HD95",
    "mean_surface_distance": "ASSD",
    "volume_difference": "Volume diff.",
    "area_difference": "Area diff.",
    "lesion_dice": "Lesion Dice",
    "roc_auc": "ROC AUC",
}
_UNITS = {"mm": "mm", "ml": "ml", "mm2": "mm²", "pixel": "px", "percent": "%"}
_SUFFIX = re.compile(rf"_({'|'.join(_UNITS)})$")
_WHOLE = ("_voxels", "_lesions", "_pixel")
_MINUS, _INFINITY, _UNDEFINED = "−", "∞", "–"  # noqa: RUF001 - the signs that are read aloud as such


class Heading(NamedTuple):
    """A column's name without its unit, for people; the unit, or ""; how many decimals its numbers have."""

    title: str
    unit: str
    digits: int

    @property
    def text(self) -> str:
        """Name and unit."""
        return f"{self.title} ({self.unit})" if self.unit else self.title


def heading(column: str) -> Heading:
    """How a column of ``metrics.csv`` is called."""
    found = _SUFFIX.search(column)
    unit = _UNITS[found[1]] if found else ""
    measure = _measure(column)
    title = _TITLES.get(measure) or measure.replace("_", " ").capitalize()
    if column.endswith(_WHOLE) and unit != "px":
        return Heading(title, unit, 0)
    return Heading(title, unit, {"": 3, "%": 1}.get(unit, 2))


def is_main(column: str) -> bool:
    """Whether a column is shown at once; the others on demand."""
    return place(column) < len(_MAIN)


def place(column: str) -> int:
    """Where a column stands: the main ones in their order, then all others."""
    measure = _measure(column)
    return _MAIN.index(measure) if measure in _MAIN else len(_MAIN)


def _measure(column: str) -> str:
    """Without its unit; ``volume_difference_percent`` is a ``volume_difference`` too."""
    return _SUFFIX.sub("", column)


def shown(value: float | None, digits: int) -> str:
    """A number for people; None and NaN are a dash."""
    if value is None or math.isnan(value):
        return _UNDEFINED
    if math.isinf(value):
        return _INFINITY if value > 0 else _MINUS + _INFINITY
    text = f"{value:.{digits}f}"
    return _MINUS + text[1:] if text.startswith("-") and float(text) else text.removeprefix("-")
