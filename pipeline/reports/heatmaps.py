"""A picture beside itself under a map of what speaks for a class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from pipeline.errors import InputError
from pipeline.sources.viewing import viewable
from pipeline.writing import whole_file

__all__ = ["Explanation", "draw_explanation", "overlay"]

_COLORS = "inferno"
_OPACITY, _FADE = 0.72, 0.7  # of the largest value, and the power by which smaller ones fade
_DIMMED = 0.5
_RGB, _WHITE = 3, 255
_SMALLEST_SIDE = 384  # pixels; smaller pictures are enlarged
_SMALLEST_LETTER, _PIXELS_PER_LETTER = 15, 40
_STRIP_COLOR, _TEXT_COLOR, _PALE_TEXT, _TRACK_COLOR = (24, 24, 24), (236, 236, 236), (160, 160, 160), (70, 70, 70)
_BAR_LETTERS = 7  # length of the colour bar, in letters
_TEXT_LETTERS = 11  # least room of the caption before it


@dataclass(frozen=True)
class Explanation:
    """What a map is of.

    Attributes:
        label: the class.
        probability: its probability.
        predicted: the most probable class.
        predicted_probability: its probability.
    """

    label: str
    probability: float
    predicted: str
    predicted_probability: float


def draw_explanation(
    heat: npt.NDArray[np.float32],
    path: Path,
    *,
    picture: str | Path,
    explained: Explanation,
    seen: npt.NDArray[np.bool_] | None = None,
    series: str | None = None,
) -> None:
    """Draw a picture, beside it the picture under its map in colour, and below a caption and a colour bar.

    It is RGB, 8 bit. A picture whose longer side is below 384 pixels is enlarged by a whole factor: its pixels stay
    squares, the map is interpolated. Pictures of 8 bit are shown as they are, others between their 0.5 and 99.5
    percentiles. The colours are those of matplotlib's ``inferno``, more opaque the larger the value; 0 is transparent.

    Args:
        heat: shape (X, Y) = (width, height), the pixels of the picture as stored, values 0 to 1.
        path: the final path; an older file is replaced.
        picture: the picture, or a DICOM file or folder of one slice.
        explained: what the caption says.
        seen: shape (X, Y), what the network saw of the picture; the rest is dimmed under the map. None is all of it.
        series: the DICOM series to take.

    Raises:
        InputError: the picture cannot be read, is a volume or of another size, or the file cannot be written.
    """
    pixels, rows = viewable(picture, series=series), np.asarray(heat, dtype=np.float32).T
    if pixels.shape[:2] != rows.shape:
        raise InputError("picture and map differ in size", where=picture, expected=heat.shape, got=pixels.shape[1::-1])
    factor = max(1, -(-_SMALLEST_SIDE // max(rows.shape)))
    size = (rows.shape[1] * factor, rows.shape[0] * factor)
    plain, drawn = overlay(pixels, rows, size=size, seen=None if seen is None else seen.T)
    image = _with_caption(plain, drawn, explained)
    with whole_file(path) as temporary:
        image.save(temporary, format="PNG")


def overlay(
    pixels: npt.NDArray[np.uint8],
    heat: npt.NDArray[np.float32],
    *,
    size: tuple[int, int],
    seen: npt.NDArray[np.bool_] | None = None,
) -> tuple[Image.Image, Image.Image]:
    """A picture, and the same under a map in colour, as in :func:`draw_explanation`.

    Args:
        pixels: shape (height, width, 3).
        heat: shape (height, width), values 0 to 1.
        size: width and height of the result; a larger one repeats pixels, a smaller one averages them. The map is
            interpolated.
        seen: shape (height, width), what the network saw; the rest is dimmed under the map. None is all of it.
    """
    grown = size[0] >= pixels.shape[1]
    plain = Image.fromarray(pixels).resize(size, Image.Resampling.NEAREST if grown else Image.Resampling.LANCZOS)
    smooth = np.asarray(Image.fromarray(heat).resize(size, Image.Resampling.BILINEAR))
    below = np.asarray(plain)
    if seen is not None:
        dark = ~np.asarray(Image.fromarray(seen).resize(size, Image.Resampling.NEAREST))
        below = np.where(dark[..., np.newaxis], below * _DIMMED, below).astype(np.uint8)
        smooth = np.where(dark, np.float32(0), smooth)
    return plain, Image.fromarray(_heated(below, smooth))


def _heated(pixels: npt.NDArray[np.uint8], heat: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """Blend the colours of a map (height, width) over a picture (height, width, 3)."""
    from matplotlib import colormaps

    values = heat.clip(0, 1)
    colors = colormaps[_COLORS](values)[..., :_RGB] * _WHITE
    opacity = _OPACITY * values[..., np.newaxis] ** _FADE
    blended: npt.NDArray[np.uint8] = (pixels * (1 - opacity) + colors * opacity).round().astype(np.uint8)
    return blended


def _with_caption(plain: Image.Image, drawn: Image.Image, explained: Explanation) -> Image.Image:
    """Two pictures side by side over a strip with what the map is of, and the colours from little to much."""
    letter = max(_SMALLEST_LETTER, round(float(np.sqrt(plain.width * plain.height)) / _PIXELS_PER_LETTER))
    gap = max(4, letter // 3)
    both = 2 * plain.width + gap
    width = max(both, (_BAR_LETTERS + _TEXT_LETTERS + 10) * letter)
    line, padding = round(letter * 1.6), round(letter * 0.7)
    image = Image.new("RGB", (width, plain.height + 2 * line + 2 * padding), _STRIP_COLOR)
    left = (width - both) // 2
    image.paste(plain, (left, 0))
    image.paste(drawn, (left + plain.width + gap, 0))
    top = plain.height + padding
    bar = _draw_bar(image, right=width - letter, top=top, line=line, letter=letter)
    _draw_lines(image, _lines(explained), left=letter, right=bar - 2 * letter, top=top, line=line, letter=letter)
    return image


def _lines(explained: Explanation) -> Sequence[tuple[str, str]]:
    """The two lines of the caption, each a name that may be cut and a number that may not."""
    first = (explained.label, f"{explained.probability:.3f}")
    if explained.label == explained.predicted:
        return first, ("predicted class and its probability", "")
    return first, (f"predicted: {explained.predicted}", f"{explained.predicted_probability:.3f}")


def _draw_lines(
    image: Image.Image,
    lines: Sequence[tuple[str, str]],
    *,
    left: int,
    right: int,
    top: int,
    line: int,
    letter: int,
) -> None:
    draw = ImageDraw.Draw(image)
    for row, (name, number) in enumerate(lines):
        font = ImageFont.load_default(size=letter if row else round(letter * 1.15))
        color = _PALE_TEXT if row else _TEXT_COLOR
        room = right - left - font.getlength(f"   {number}")
        text = " ".join(name.split())
        while font.getlength(text) > room and len(text) > 1:
            text = f"{text.removesuffix('…')[:-1].rstrip()}…"
        draw.text(
            (left, top + row * line + line // 2), f"{text}   {number}".rstrip(), fill=color, font=font, anchor="lm"
        )


def _draw_bar(image: Image.Image, *, right: int, top: int, line: int, letter: int) -> int:
    """Draw the colours as they lie over mid-grey, with what they mean below; returns the left side."""
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(size=letter)
    meaning = "less to more evidence"
    length = max(_BAR_LETTERS * letter, round(font.getlength(meaning)))
    height = round(letter * 0.8)
    ramp = np.tile(np.linspace(0, 1, length, dtype=np.float32), (height, 1))
    colors = _heated(np.full((height, length, _RGB), _TRACK_COLOR, dtype=np.uint8), ramp)
    image.paste(Image.fromarray(colors), (right - length, top + (line - height) // 2))
    draw.text((right, top + line + line // 2), meaning, fill=_PALE_TEXT, font=font, anchor="rm")
    return right - length
