"""Plots as SVG: distributions of a measure and learning curves, in the colours of the page or of paper."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.reports.html.drawing import Scale, plot_element, shortened, tick_mark, tick_text
from pipeline.reports.html.wording import shown

__all__ = ["Curve", "Strip", "curve_plot", "strip_plot"]

_ROUNDING, _LARGEST = 1e-9, 1e100
_LEFT, _RIGHT = 8.0, 412.0
_ROW, _HEAD, _FOOT = 74.0, 8.0, 30.0
_GUTTER = 46.0  # to the right, for what is infinite
_SPREAD = 11.0  # of the points, up and down
_BINS = 40
_GOLDEN = 0.6180339887498949
_CURVE_HEIGHT, _CURVE_LEFT = 250.0, 48.0
_COLORS = 7  # curves before colours come again, dashed

_Floats = npt.NDArray[np.float64]


class Strip(NamedTuple):
    """One row of a distribution plot: a label, its values, and the mean with its interval."""

    label: str
    values: _Floats
    mean: float | None
    low: float | None
    high: float | None


class Curve(NamedTuple):
    """A line of a learning curve; of shape (n,) each."""

    name: str
    x: _Floats
    y: _Floats


def strip_plot(key: str, title: str, strips: Sequence[Strip], *, digits: int, bounded: bool = False) -> str:
    """Every case as a point, with a box of quartiles, and the mean with its interval below, a row per label.

    Args:
        key: makes identifiers unique.
        title: with the unit.
        strips: the rows; infinite values are counted at the right, undefined ones in the row's text.
        digits: decimals.
        bounded: whether the measure lies within 0 and 1.

    Returns:
        An ``svg`` element without style, see :func:`pipeline.reports.html.drawing.standalone`.
    """
    known = [strip.values[_drawable(strip.values)] for strip in strips]
    right = _RIGHT - (_GUTTER if any(np.isinf(strip.values).any() for strip in strips) else 0)
    ticks = _ticks(np.concatenate([*known, _ends(strips)]), bounded=bounded, whole=digits == 0)
    scale = Scale(ticks[0], ticks[-1], _LEFT + 6, right - 6)
    height = _HEAD + _ROW * len(strips) + _FOOT
    bottom = height - _FOOT
    parts = [f'<line class="grid" x1="{scale(t):.1f}" x2="{scale(t):.1f}" y1="4" y2="{bottom:g}"/>' for t in ticks]
    parts += [
        tick_mark(_anchor(k, len(ticks)), scale(t), bottom + 17, tick_text(t, ticks)) for k, t in enumerate(ticks)
    ]
    for k, (strip, values) in enumerate(zip(strips, known, strict=True)):
        parts += _row(strip, values, scale, _HEAD + _ROW * k, digits)
    said = "; ".join(_in_words(strip, values, digits) for strip, values in zip(strips, known, strict=True))
    return plot_element(f"plot-{key}", title, f"Distribution over cases. {said}.", height, parts)


def curve_plot(key: str, title: str, curves: Sequence[Curve], *, x_title: str = "epoch") -> str:
    """Lines over epochs, with a legend.

    Args:
        key: makes identifiers unique.
        title: what is drawn.
        curves: the lines; values that are not finite are left out.
        x_title: the unit of x.
    """
    rows = math.ceil(len(curves) / 2) if len(curves) > 1 else 0
    height = _CURVE_HEIGHT + 16 * rows
    bottom = _CURVE_HEIGHT - 36
    kept = [_finite(curve) for curve in curves]
    x_ticks, last = _epochs(np.concatenate([curve.x for curve in kept]))
    y_ticks = _ticks(np.concatenate([curve.y for curve in kept]))
    across = Scale(x_ticks[0], last, _CURVE_LEFT, _RIGHT - 8)
    up = Scale(y_ticks[0], y_ticks[-1], bottom, 12)
    parts = _axes(x_ticks, y_ticks, across, up)
    parts.append(tick_mark("end", _RIGHT - 8, bottom + 32, x_title))
    for n, curve in enumerate(kept):
        parts += _line(curve, n, across, up, legend=rows > 0)
    ends = [f"{curve.name} ends at {curve.y[-1]:.4g}" for curve in kept if curve.y.size]
    return plot_element(f"plot-{key}", title, f"Lines over the {x_title}. {'; '.join(ends)}.", height, parts)


def _epochs(x: _Floats) -> tuple[list[float], float]:
    """The ticks of x, and where its axis ends: with the last value."""
    ticks = _ticks(x)
    last = float(x.max()) if x.size else ticks[-1]
    kept = [tick for tick in ticks if tick <= last]
    return kept, last if last > kept[0] else kept[0] + 1


def _axes(x_ticks: list[float], y_ticks: list[float], across: Scale, up: Scale) -> list[str]:
    parts = [tick_mark("end", _CURVE_LEFT - 6, up(t) + 4, tick_text(t, y_ticks)) for t in y_ticks]
    parts += [tick_mark("middle", across(t), _CURVE_HEIGHT - 19, tick_text(t, x_ticks)) for t in x_ticks]
    ends = f'x1="{_CURVE_LEFT:g}" x2="{_RIGHT - 8:g}"'
    return parts + [f'<line class="grid" {ends} y1="{up(t):.1f}" y2="{up(t):.1f}"/>' for t in y_ticks]


def _finite(curve: Curve) -> Curve:
    kept = _drawable(curve.x) & _drawable(curve.y)
    return curve._replace(x=curve.x[kept], y=curve.y[kept])


def _line(curve: Curve, n: int, across: Scale, up: Scale, *, legend: bool) -> list[str]:
    look = f"curve c{n % _COLORS}" + (" again" if n >= _COLORS else "")
    points = " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in zip(curve.x, curve.y, strict=True))
    return [f'<polyline class="{look}" points="{points}"/>', *(_legend(curve.name, look, n) if legend else [])]


def _value(y: float, text: str) -> str:
    return f'<text class="value" text-anchor="end" x="{_RIGHT:g}" y="{y:g}">{text}</text>'


def _legend(name: str, look: str, n: int) -> list[str]:
    x, y = 10 + 205 * (n % 2), _CURVE_HEIGHT + 4 + 16 * (n // 2)
    return [
        f'<line class="{look}" x1="{x}" x2="{x + 18}" y1="{y - 4:g}" y2="{y - 4:g}"/>',
        f'<text x="{x + 24}" y="{y:g}">{escape(shortened(name, 26))}</text>',
    ]


def _row(strip: Strip, values: _Floats, scale: Scale, top: float, digits: int) -> list[str]:
    middle, below = top + 38, top + 60
    interval = "" if strip.low is None else f" ({shown(strip.low, digits)} to {shown(strip.high, digits)})"
    parts = [
        f'<text class="label" x="{_LEFT:g}" y="{top + 15:g}">{escape(shortened(strip.label, 30))}</text>',
        _value(top + 15, f"{shown(strip.mean, digits)}{interval}"),
    ]
    infinite = int(np.isinf(strip.values).sum())
    if infinite:
        parts.append(_value(middle + 5, f"{infinite} × ∞"))  # noqa: RUF001 - the sign of multiplication
    if not values.size:
        return parts
    first, median, third = (scale(q) for q in np.percentile(values, [25, 50, 75]))
    width = max(third - first, 1.0)
    parts.append(f'<rect class="box" x="{first:.1f}" y="{middle - 14:g}" width="{width:.1f}" height="28" rx="3"/>')
    places = zip(values, _offsets(values, scale), strict=True)
    points = "".join(f"M{scale(v):.1f} {middle + d:.1f}h0" for v, d in places)
    parts.append(f'<path class="points" d="{points}"/>')
    parts.append(f'<path class="median" d="M{median:.1f} {middle - 14:g}v28"/>')
    if strip.mean is not None:
        x = scale(strip.mean)
        if strip.low is not None and strip.high is not None:
            a, b = scale(strip.low), scale(strip.high)
            parts.append(f'<path class="interval" d="M{a:.1f} {below - 4:g}v8M{a:.1f} {below:g}H{b:.1f}m0 -4v8"/>')
        parts.append(f'<path class="mean" d="M{x - 5:.1f} {below:g}l5 -5 5 5 -5 5z"/>')
    return parts


def _offsets(values: _Floats, scale: Scale) -> _Floats:
    """Up and down, the wider the more points are near; the same for the same values."""
    places = np.array([scale(v) for v in values])
    bins = np.clip(((places - scale.start) / (scale.end - scale.start) * _BINS).astype(int), 0, _BINS - 1)
    counts = np.bincount(bins, minlength=_BINS)
    share = np.minimum(counts[bins] / 6, 1.0)
    order = np.empty(len(values))
    order[np.argsort(values, kind="stable")] = np.arange(len(values))
    offsets: _Floats = ((order * _GOLDEN) % 1 - 0.5) * 2 * _SPREAD * share
    return offsets


def _drawable(values: _Floats) -> npt.NDArray[np.bool_]:
    """Which values have a place on an axis: finite ones, and small enough for their differences."""
    with np.errstate(invalid="ignore"):
        return np.asarray(np.abs(values) < _LARGEST)


def _ends(strips: Sequence[Strip]) -> _Floats:
    ends = np.array([v for strip in strips for v in (strip.mean, strip.low, strip.high) if v is not None], dtype=float)
    return ends[_drawable(ends)]


def _ticks(values: _Floats, *, bounded: bool = False, whole: bool = False) -> list[float]:
    """About five round numbers around the values."""
    low, high = _span(values, bounded=bounded, whole=whole)
    rough = max((high - low) / 4, 1.0 if whole else 0.0)
    power = 10.0 ** math.floor(math.log10(rough))
    step = power * next(m for m in (1, 2, 2.5, 5, 10) if m * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    ticks = [n * step for n in range(first, last + 1)]
    return ticks if len(ticks) > 1 else [low, high]


def _span(values: _Floats, *, bounded: bool, whole: bool) -> tuple[float, float]:
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 1.0)
    bounded = bounded and low >= 0 and high <= 1
    largest = max(abs(low), abs(high))
    if not high - low > _ROUNDING * max(largest, 1e-3):  # equal, but for the rounding of a mean
        pad = 0.05 if bounded else max(largest * 0.1, 0.5)
        low, high = (low, high + max(1, round(largest * _ROUNDING))) if whole else (low - pad, high + pad)
    return (max(low, 0.0), min(high, 1.0)) if bounded else (low, high)


def _anchor(k: int, count: int) -> str:
    return "start" if k == 0 else "end" if k == count - 1 else "middle"


def _in_words(strip: Strip, values: _Floats, digits: int) -> str:
    infinite, undefined = int(np.isinf(strip.values).sum()), int(np.isnan(strip.values).sum())
    text = f"{strip.label}: {values.size} finite values, mean {shown(strip.mean, digits)}"
    if values.size:
        low, high = shown(float(values.min()), digits), shown(float(values.max()), digits)
        text += f", from {low} to {high}"
    return text + (f", {infinite} infinite" if infinite else "") + (f", {undefined} undefined" if undefined else "")
