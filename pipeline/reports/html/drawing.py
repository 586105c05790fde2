"""What all plots are drawn with: SVG in the colours of the page or of paper."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple

from pipeline.reports.html.wording import shown

__all__ = ["Scale", "plot_element", "shortened", "standalone", "tick_mark", "tick_text"]

_STYLE = Path(__file__).with_name("templates") / "plots.css"
_VARIABLE = re.compile(r"var\([^,]+, ([^)]+)\)")
_WIDTH, _MARGIN = 420.0, 8.0


class Scale(NamedTuple):
    """From values between ``low`` and ``high`` to places between ``start`` and ``end``."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Where a value lies."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def tick_mark(anchor: str, x: float, y: float, text: str) -> str:
    """A number or word at an axis."""
    return f'<text class="tick" text-anchor="{anchor}" x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'


def tick_text(tick: float, ticks: Sequence[float]) -> str:
    """A tick with as many decimals as its neighbours need."""
    step = ticks[1] - ticks[0]
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    if abs(step * 10**digits - round(step * 10**digits)) > 1e-6:  # noqa: PLR2004 - steps of 2.5
        digits += 1
    return shown(tick, digits)


def shortened(text: str, length: int) -> str:
    """A text of at most so many letters."""
    return text if len(text) <= length else text[: length - 1] + "…"


def plot_element(key: str, title: str, description: str, height: float, parts: Sequence[str]) -> str:
    """An ``svg`` element with a title and a description for screen readers."""
    return (
        f'<svg class="plot" role="img" aria-labelledby="{key}-t {key}-d" viewBox="0 0 {_WIDTH:g} {height:g}">'
        f'<title id="{key}-t">{escape(title)}</title><desc id="{key}-d">{escape(description)}</desc>'
        f"{''.join(parts)}</svg>"
    )


def standalone(svg: str, title: str) -> str:
    """A plot as a file of its own, with its style and its title."""
    start = svg.index(">") + 1
    view = svg[svg.index("viewBox=") :].split('"')[1].split()
    height = float(view[3]) + 26
    opening = svg[:start].replace(f'viewBox="{" ".join(view)}"', f'viewBox="0 -26 {view[2]} {height:g}"')
    opening = opening.replace(
        "<svg ", f'<svg xmlns="http://www.w3.org/2000/svg" width="{view[2]}" height="{height:g}" '
    )
    ground = f'<rect class="ground" x="0" y="-26" width="{view[2]}" height="{height:g}"/>'
    head = f'<text class="title" x="{_MARGIN:g}" y="-8">{escape(title)}</text>'
    plain = _VARIABLE.sub(r"\1", _STYLE.read_text(encoding="utf-8"))  # not every drawing program knows variables
    style = f"<style>{plain}</style>"
    return f"{opening}{style}{ground}{head}{svg[start:]}\n"
