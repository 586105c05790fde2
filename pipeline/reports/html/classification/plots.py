"""Plots of a classification as SVG: ROC, precision-recall, calibration, and the confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.evaluation.classification.curves import Band, ClassCurves
from pipeline.metrics.calibration import CalibrationBins, wilson_interval
from pipeline.reports.html.drawing import Scale, plot_element, shortened, tick_mark
from pipeline.reports.html.wording import shown

__all__ = ["Confusion", "calibration_plot", "confusion_plot", "percent", "recall_plot", "roc_plot"]

_LEFT, _RIGHT, _TOP, _BOTTOM = 46.0, 408.0, 10.0, 336.0
_HEIGHT = 410.0
_TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)
_ACROSS, _UP = Scale(0, 1, _LEFT, _RIGHT), Scale(0, 1, _BOTTOM, _TOP)
_LEGEND_Y, _LEGEND_STEP = 398.0, 104.0
_CELL_HEIGHT, _NAME_WIDTH, _CELLS_RIGHT = 46.0, 116.0, 412.0
_READ_AT = (0.1, 0.2, 0.5, 0.9)  # where the description reads a curve

_Floats = npt.NDArray[np.float64]


class Confusion(NamedTuple):
    """A confusion matrix for people.

    Attributes:
        rows: the names of the references.
        columns: the names of the predictions.
        counts: of shape (rows, columns).
        right: which of the cells are right decisions, of the same shape.
        shares: in parts of the row, of the same shape; NaN where that is empty.
    """

    rows: Sequence[str]
    columns: Sequence[str]
    counts: npt.NDArray[np.int64]
    right: npt.NDArray[np.bool_]
    shares: _Floats


def roc_plot(key: str, curves: ClassCurves) -> str:
    """The ROC curve of a class with its band, the line of chance, and the decisions as a point.

    Args:
        key: makes identifiers unique.
        curves: whose ``roc`` is known.

    Returns:
        An ``svg`` element without style, see :func:`pipeline.reports.html.drawing.standalone`.
    """
    x, y = curves.roc if curves.roc is not None else (np.empty(0), np.empty(0))
    false, recall, _ = curves.decided
    said = ", ".join(f"{shown(_roc_at(x, y, at), 2)} at {at:g}" for at in _READ_AT)
    description = (
        f"{curves.name} against the rest: {curves.positives} positive and {curves.negatives} negative cases. "
        f"Sensitivity at a false positive rate: {said}. The decisions have sensitivity {shown(recall, 3)} and false "
        f"positive rate {shown(false, 3)}. Chance is the diagonal."
    )
    parts = [*_frame("1 - specificity", "sensitivity"), *_shade(curves.roc_band), _chance(0, 1), _line(x, y)]
    parts += [*_point(false, recall), *_legend(band=curves.roc_band is not None, point="decisions")]
    return plot_element(f"plot-{key}", f"ROC curve: {curves.name}", description, _HEIGHT, parts)


def recall_plot(key: str, curves: ClassCurves) -> str:
    """The precision-recall curve of a class with its band, the share of the class as chance, and the decisions.

    Args:
        key: makes identifiers unique.
        curves: whose ``recall`` is known.
    """
    recall, precision = curves.recall if curves.recall is not None else (np.empty(0), np.empty(0))
    chance = curves.positives / max(curves.positives + curves.negatives, 1)
    _, decided, exact = curves.decided
    readings = ((at, precision[np.searchsorted(recall, at - 1e-12)]) for at in _READ_AT if recall.size)
    said = ", ".join(f"{shown(float(value), 2)} at {at:g}" for at, value in readings)
    description = (
        f"{curves.name} against the rest: {curves.positives} positive and {curves.negatives} negative cases. "
        f"Precision at a recall: {said}. The decisions have recall {shown(decided, 3)} and precision "
        f"{shown(exact, 3)}. Chance is {shown(chance, 3)}, the share of the class."
    )
    end = int(np.searchsorted(recall, 1.0)) + 1  # lower thresholds only lose precision
    recall, precision = recall[:end], precision[:end]
    steps = np.column_stack([np.append(0.0, recall)[:-1], recall]).ravel()  # the precision of the higher recall
    parts = [*_frame("recall (sensitivity)", "precision"), *_shade(curves.recall_band), _chance(chance, chance)]
    parts += [_line(steps, np.repeat(precision, 2)), *_point(decided, exact)]
    parts += _legend(band=curves.recall_band is not None, point="decisions")
    return plot_element(f"plot-{key}", f"Precision-recall curve: {curves.name}", description, _HEIGHT, parts)


def calibration_plot(key: str, name: str, bins: CalibrationBins) -> str:
    """A reliability diagram with Wilson intervals.

    Args:
        key: makes identifiers unique.
        name: what the probability is of.
        bins: of equal count.
    """
    low, high = wilson_interval(bins.hits, bins.counts)
    parts = [*_frame("mean predicted probability", "observed frequency"), _chance(0, 1)]
    said = []
    for x, y, a, b, n in zip(bins.means, bins.shares, low, high, bins.counts, strict=True):
        at, ends = _ACROSS(x), (_UP(a), _UP(b))
        parts.append(f'<path class="interval" d="M{at - 4:.1f} {ends[0]:.1f}h8m-4 0V{ends[1]:.1f}m-4 0h8"/>')
        said.append(f"{shown(x, 2)}: {shown(y, 2)} ({shown(a, 2)} to {shown(b, 2)}, {n} cases)")
    parts.append(_line(bins.means, bins.shares))
    parts += [f'<circle class="bin" cx="{_ACROSS(x):.1f}" cy="{_UP(y):.1f}" r="4.5"/>'
              for x, y in zip(bins.means, bins.shares, strict=True)]  # fmt: skip
    parts += _legend(band=False, point="", interval=True)
    description = f"Observed frequency by mean predicted probability. {'; '.join(said) or 'No cases'}."
    return plot_element(f"plot-{key}", f"Calibration: {name}", description, _HEIGHT, parts)


def confusion_plot(matrix: Confusion) -> str:
    """A confusion matrix with counts and shares of the rows; right decisions have a frame."""
    count = len(matrix.columns)
    width = (_CELLS_RIGHT - _NAME_WIDTH) / count
    letters = max(3, int(width / 7))
    parts = [
        tick_mark("middle", _NAME_WIDTH + width * (j + 0.5), 22, shortened(name, letters))
        for j, name in enumerate(matrix.columns)
    ]
    for i, name in enumerate(matrix.rows):
        top = 30 + _CELL_HEIGHT * i
        parts.append(f'<text text-anchor="end" x="{_NAME_WIDTH - 8:g}" y="{top + 27:g}">'
                     f"{escape(shortened(name, 15))}</text>")  # fmt: skip
        for j in range(count):
            left, share = _NAME_WIDTH + width * j, matrix.shares[i, j]
            look = "cell right" if matrix.right[i, j] else "cell"
            parts.append(
                f'<rect class="{look}" x="{left + 1:.1f}" y="{top + 1:g}" width="{width - 2:.1f}" '
                f'height="{_CELL_HEIGHT - 2:g}" rx="3" fill-opacity="{0.04 + 0.4 * np.nan_to_num(share):.2f}"/>'
                f'<text text-anchor="middle" x="{left + width / 2:.1f}" y="{top + 21:g}">{matrix.counts[i, j]}</text>'
            )
            parts.append(tick_mark("middle", left + width / 2, top + 37, percent(share)))
    height = 36 + _CELL_HEIGHT * len(matrix.rows)
    cells = ((matrix.rows[i], matrix.columns[j]) for i, j in np.ndindex(matrix.counts.shape))
    said = "; ".join(f"{row} as {column} {n}" for (row, column), n in zip(cells, matrix.counts.ravel(), strict=True))
    return plot_element("plot-confusion", "Confusion matrix", f"Rows: reference. {said}.", height, parts)


def percent(share: float) -> str:
    """A share in percent; a dash where it is not defined."""
    return shown(100 * share, 0) + ("" if np.isnan(share) else " %")


def _frame(x_title: str, y_title: str) -> list[str]:
    lines = [f'<path class="grid" d="M{_ACROSS(t):.1f} {_TOP:g}V{_BOTTOM:g}M{_LEFT:g} {_UP(t):.1f}H{_RIGHT:g}"/>'
             for t in _TICKS]  # fmt: skip
    lines += [tick_mark("middle", _ACROSS(t), _BOTTOM + 17, f"{t:g}") for t in _TICKS]
    lines += [tick_mark("end", _LEFT - 6, _UP(t) + 4, f"{t:g}") for t in _TICKS]
    middle = (_TOP + _BOTTOM) / 2
    lines.append(tick_mark("middle", (_LEFT + _RIGHT) / 2, _BOTTOM + 36, x_title))
    turned = f'<text class="tick" text-anchor="middle" transform="translate(11 {middle:g}) rotate(-90)">'
    return [*lines, f"{turned}{escape(y_title)}</text>"]


def _shade(band: Band | None) -> list[str]:
    if band is None:
        return []
    there = [f"{_ACROSS(x):.1f} {_UP(y):.1f}" for x, y in zip(band.x, band.high, strict=True)]
    back = [f"{_ACROSS(x):.1f} {_UP(y):.1f}" for x, y in zip(band.x[::-1], band.low[::-1], strict=True)]
    return [f'<path class="band" d="M{"L".join([*there, *back])}z"/>']


def _chance(first: float, last: float) -> str:
    return f'<path class="chance" d="M{_LEFT:g} {_UP(first):.1f}L{_RIGHT:g} {_UP(last):.1f}"/>'


def _line(x: _Floats, y: _Floats) -> str:
    points = " ".join(f"{_ACROSS(a):.1f},{_UP(b):.1f}" for a, b in zip(x, y, strict=True))
    return f'<polyline class="curve c0" points="{points}"/>'


def _point(x: float, y: float) -> list[str]:
    if np.isnan(x) or np.isnan(y):
        return []
    return [f'<circle class="decided" cx="{_ACROSS(x):.1f}" cy="{_UP(y):.1f}" r="5"/>']


def _legend(*, band: bool, point: str, interval: bool = False) -> list[str]:
    y, entries = _LEGEND_Y, []
    if band:
        entries.append(('<rect class="band" x="{0}" y="{1}" width="18" height="10"/>', "95 % band"))
    if interval:
        entries.append(('<path class="interval" d="M{0} {2}h18m0 -4v8m-18 -8v8"/>', "95 % interval"))
    entries.append(('<path class="chance" d="M{0} {2}h18"/>', "perfect" if interval else "chance"))
    if point:
        entries.append(('<circle class="decided" cx="{3}" cy="{2}" r="5"/>', point))
    parts = []
    for n, (mark, words) in enumerate(entries):
        x = _LEFT + _LEGEND_STEP * n * (1.2 if interval else 1)
        parts.append(mark.format(f"{x:g}", f"{y - 9:g}", f"{y - 4:g}", f"{x + 9:g}"))
        parts.append(f'<text class="tick" x="{x + 25:g}" y="{y:g}">{escape(words)}</text>')
    return parts


def _roc_at(x: _Floats, y: _Floats, at: float) -> float:
    """The highest sensitivity at a false positive rate, on the line between the corners."""
    k = int(np.searchsorted(x, at, side="right")) - 1
    if k < 0:
        return float("nan")
    if k + 1 == len(x) or x[k] == at:
        return float(y[k])
    return float(y[k] + (at - x[k]) / (x[k + 1] - x[k]) * (y[k + 1] - y[k]))
