"""Label maps of pictures: a PNG whose pixel values are the labels, and one to look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pipeline.dicom import Segment
from pipeline.errors import InputError
from pipeline.sources.viewing import viewable
from pipeline.writing import whole_file

__all__ = ["label_colors", "write_index_png", "write_overlay_png"]

Color = tuple[int, int, int]

# Okabe & Ito 2008, "Color Universal Design": told apart by colour-blind readers too.
_DEFAULT_COLORS: tuple[Color, ...] = (
    (230, 159, 0),  # orange
    (86, 180, 233),  # sky blue
    (0, 158, 115),  # bluish green
    (240, 228, 66),  # yellow
    (0, 114, 178),  # blue
    (213, 94, 0),  # vermilion
    (204, 121, 167),  # reddish purple
)
_OPACITY = 0.4
_SMALLEST_SIDE = 384  # pixels; smaller pictures are enlarged
_PIXELS_PER_OUTLINE = 400
_PIXELS_PER_LETTER = 36
_SMALLEST_LETTER = 15
_STRIP_COLOR = (24, 24, 24)
_TEXT_COLOR = (236, 236, 236)


def label_colors(segments: Sequence[Segment]) -> dict[int, Color]:
    """The display colour of each label value, sRGB: the segment's own, else Okabe and Ito's seven in turn."""
    return {
        segment.value: segment.color or _DEFAULT_COLORS[place % len(_DEFAULT_COLORS)]
        for place, segment in enumerate(segments)
    }


def write_index_png(labels: np.ndarray, path: Path, colors: Mapping[int, Color]) -> None:
    """Write a label map as PNG with a palette, 8 bit: each pixel's value is its label.

    Args:
        labels: shape (X, Y) = (width, height), values 0 to 255.
        path: the final path; an older file is replaced.
        colors: sRGB of each label value; 0 and all other entries of the palette are black.

    Raises:
        InputError: a label has no colour, or the file cannot be written.
    """
    _check_described(labels, colors, path)
    palette = np.zeros((256, 3), np.uint8)
    for value, color in colors.items():
        palette[value] = color
    image = Image.frombytes("P", labels.shape, labels.T.astype(np.uint8).tobytes())
    image.putpalette(palette.tobytes())
    with whole_file(path) as temporary:
        image.save(temporary, format="PNG", bits=8)  # not fewer, however few the labels


def write_overlay_png(
    labels: np.ndarray, path: Path, *, picture: str | Path, colors: Mapping[int, Color], names: Mapping[int, str]
) -> None:
    """Write a picture with its labels in colour, outlined, and the names of those that occur in a strip below it.

    It is RGB, 8 bit. A picture whose longer side is below 384 pixels is enlarged by a whole factor without
    interpolation. Pictures of 8 bit are shown as they are, those of more between their 0.5 and 99.5 percentiles.

    Args:
        labels: shape (X, Y) = (width, height), the pixels of the picture as stored, values 0 to 255.
        path: the final path; an older file is replaced.
        picture: the file that was segmented.
        colors: sRGB of each label value but 0.
        names: what each label value but 0 means.

    Raises:
        InputError: the picture cannot be read or is of another size, a label is not described, or the file cannot be
            written.
    """
    _check_described(labels, colors, path)
    pixels, rows = viewable(picture), labels.T
    if pixels.shape[:2] != rows.shape:
        raise InputError(
            "picture and mask differ in size", where=picture, expected=labels.shape, got=pixels.shape[1::-1]
        )
    factor = -(-_SMALLEST_SIDE // max(rows.shape))
    if factor > 1:
        pixels, rows = (array.repeat(factor, axis=0).repeat(factor, axis=1) for array in (pixels, rows))
    size = float(np.sqrt(rows.size))
    drawn = Image.fromarray(_colored(pixels, rows, colors, outline=max(2, round(size / _PIXELS_PER_OUTLINE))))
    entries = [(colors[value], names[value]) for value in np.unique(rows).tolist() if value]
    image = _with_legend(drawn, entries, letter=max(_SMALLEST_LETTER, round(size / _PIXELS_PER_LETTER)))
    with whole_file(path) as temporary:
        image.save(temporary, format="PNG")


def _check_described(labels: np.ndarray, colors: Mapping[int, Color], path: Path) -> None:
    unknown = sorted(set(np.unique(labels).tolist()) - {0, *colors})
    if unknown:
        raise InputError(
            "labels that no segment describes", where=path, got=unknown, expected=f"0 or one of {sorted(colors)}"
        )


def _colored(pixels: np.ndarray, rows: np.ndarray, colors: Mapping[int, Color], *, outline: int) -> np.ndarray:
    """Blend colours over a picture, shape (height, width, 3), and draw the outline of each label inside of it."""
    table = np.zeros((256, 3))
    for value, color in colors.items():
        table[value] = color
    found = rows > 0
    result: np.ndarray = pixels.copy()
    result[found] = (pixels[found] * (1 - _OPACITY) + table[rows[found]] * _OPACITY).round()
    edge = _outline(rows, outline)
    result[edge] = table[rows[edge]]
    return result


def _outline(rows: np.ndarray, width: int) -> np.ndarray:
    """The pixels of a label within ``width`` pixels of another label; the border of the picture is none."""
    core = rows.copy()  # 0 where the outline is
    for step in range(width):
        around = np.pad(core, 1, mode="edge")
        # A cross and a square in turn come close to a disc.
        moves = [(0, 1), (1, 0), (1, 2), (2, 1), *([(0, 0), (0, 2), (2, 0), (2, 2)] if step % 2 else [])]
        for down, right in moves:
            core[around[down : down + rows.shape[0], right : right + rows.shape[1]] != rows] = 0
    return np.asarray((rows > 0) & (core == 0))


def _with_legend(picture: Image.Image, entries: Sequence[tuple[Color, str]], *, letter: int) -> Image.Image:
    """Put a picture over a strip with a swatch and a name for each entry; a narrow picture gets margins."""
    font = ImageFont.load_default(size=letter)
    named: list[tuple[Color | None, str]] = [(color, " ".join(name.split())) for color, name in entries]
    named = named or [(None, "nothing found")]
    indent = round(letter * 1.5) if entries else 0  # of a name, behind its swatch
    widths = [indent + round(font.getlength(name)) + 1 for _, name in named]
    width = max(picture.width, max(widths) + 2 * letter)
    places = _flow(widths, width - letter, margin=letter, gap=round(letter * 1.4))
    line, padding = round(letter * 1.7), round(letter * 0.6)
    height = picture.height + (places[-1][1] + 1) * line + 2 * padding
    image = Image.new("RGB", (width, height), _STRIP_COLOR)
    image.paste(picture, ((width - picture.width) // 2, 0))
    draw = ImageDraw.Draw(image)
    for (color, name), (left, row) in zip(named, places, strict=True):
        middle = picture.height + padding + row * line + line // 2
        if color is not None:
            above = middle - letter // 2
            draw.rounded_rectangle((left, above, left + letter - 1, above + letter - 1), radius=letter // 5, fill=color)
        draw.text((left + indent, middle), name, fill=_TEXT_COLOR, font=font, anchor="lm")
    return image


def _flow(widths: Sequence[int], right: int, *, margin: int, gap: int) -> list[tuple[int, int]]:
    """Set items in rows from left to right; the left side and the row of each."""
    places, left, row = [], margin, 0
    for width in widths:
        if left > margin and left + width > right:
            left, row = margin, row + 1
        places.append((left, row))
        left += width + gap
    return places
