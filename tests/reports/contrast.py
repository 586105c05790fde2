"""Contrast of a page's texts with what is behind them, by WCAG 2.2."""

from __future__ import annotations

import re

import numpy as np
from reports.chromium import Chromium

GROUND = "getComputedStyle(document.body).backgroundColor"
_TEXTS = """[...document.querySelectorAll(`h1, h2, h3, p, a, th, td, td span, td b, button, label, summary, dt, dd,
  .kind, .score, .prose, figcaption, caption, .unit, .better, text`)].filter(
  e => !e.closest('.screen') && e.getClientRects().length).map(e => {
  const seen = [];
  for (let n = e; n; n = n.parentElement) {
    const ground = getComputedStyle(n).backgroundColor;
    if (!ground.endsWith(', 0)')) { seen.push(ground); break; }
  }
  const style = getComputedStyle(e);
  return [e.tagName + '.' + e.getAttribute('class'), e.tagName === 'text' ? style.fill : style.color, seen[0]];
})"""


def luminance(colour: str) -> float:
    """Relative luminance of ``rgb(r, g, b)`` and of ``color(srgb r g b)``."""
    numbers = re.findall(r"[\d.]+(?:e-?\d+)?", colour)[:3]
    values = np.array([float(n) for n in numbers]) / (1 if colour.startswith("color") else 255)
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def text_contrasts(page: Chromium) -> list[tuple[tuple[str, str, str], float]]:
    """Of each visible text its element, ink and ground, and the ratio of these; what is folded is opened first."""
    page.js("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    page.frame()
    found = []
    for name, ink, ground in page.js(_TEXTS):
        light, dark = sorted((luminance(ink), luminance(ground)), reverse=True)
        found.append(((name, ink, ground), (light + 0.05) / (dark + 0.05)))
    return found
