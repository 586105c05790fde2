"""Masks of pictures as label maps: grey values, 0 and 255, or colours."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from monai.config import KeysCollection
from monai.transforms import MapTransform
from monai.utils import convert_to_dst_type

from pipeline.errors import InputError
from pipeline.sources.kinds import promised_kind
from pipeline.sources.label_values import snapped
from pipeline.transforms.checks import source_of

__all__ = ["DecodeMaskd"]

_BLACK = (0, 0, 0)
_RGB = 3
_WHITE = 255
_MANY = 8  # so many unknown values come from blending, not from a forgotten label
_LARGEST_SAMPLE = 0xFFFF
_SAVE_AS_PNG = "Save masks as PNG and scale them without smoothing: JPEG and smoothing blend the labels"


class DecodeMaskd(MapTransform):  # type: ignore[misc]
    """Turn masks as they are stored into label maps of the plan's values.

    With a colour table, an array of three channels is mapped by it. An array of one channel holds the values
    themselves; where the plan has one foreground label, 1, it may also hold 0 and 255. Three equal channels are one,
    unless the table has a grey.

    Args:
        keys: channel-first masks, shape (1, X, Y[, Z]), or (3, X, Y) of colours. They become (1, X, Y[, Z]), of the
            same type and with the same metadata.
        values: every value of a label map, background included.
        colors: the RGB colours of each value, 0 to 255; black is background unless another label claims it. The keys
            may be strings, as JSON has them.

    Raises:
        InputError: the colour table contradicts itself, or a mask has a value or colour that no label has; names the
            file and counts the pixels.
    """

    def __init__(
        self,
        keys: KeysCollection,
        *,
        values: Sequence[int],
        colors: Mapping[str | int, Sequence[Sequence[int]]] | None = None,
    ) -> None:
        super().__init__(keys)
        self.values = tuple(values)
        self.colors = None if colors is None else _color_table(colors, self.values)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return the data with label maps."""
        out = dict(data)
        for key in self.key_iterator(data):
            mask, source = data[key], source_of(data[key])
            if mask.shape[0] == _RGB and self.colors is not None and not self.has_grey and _is_grey(mask):
                labels = self._by_value(np.asarray(mask)[:1], source)
            elif mask.shape[0] == _RGB and self.colors is not None:
                labels = _by_color(np.asarray(mask), self.colors, source)
            elif mask.shape[0] == 1:
                labels = self._by_value(np.asarray(mask), source)
            else:
                expected = "1 channel" if self.colors is None else "1 channel, or 3 of colours"
                raise InputError("is no mask", where=source, expected=expected, got=f"{mask.shape[0]} channels")
            out[key] = convert_to_dst_type(labels, mask)[0]
        return out

    @property
    def has_grey(self) -> bool:
        """Whether a grey other than black has a meaning of its own."""
        return any(len(set(color)) == 1 for color in (self.colors or {}) if color != _BLACK)

    def _by_value(self, mask: np.ndarray, source: str) -> np.ndarray:
        mask = snapped(mask)
        if np.isin(mask, self.values).all():
            return mask
        binary = set(self.values) == {0, 1}
        if binary and np.isin(mask, (0, _WHITE)).all():
            white: np.ndarray = mask == _WHITE
            return white
        found, counts = np.unique(mask, return_counts=True)
        unknown = ~np.isin(found, (*self.values, _WHITE) if binary else self.values)
        if not unknown.any():  # 1 and 255 in one mask
            unknown = found == _WHITE
        commonest = np.argmax(np.where(unknown, counts, 0))
        raise InputError(
            f"mask value {found[commonest]:g} ({_pixels(counts[commonest])}){_others(unknown.sum(), 'value')} "
            "is not in the plan",
            where=source,
            expected=f"only {', '.join(map(str, self.values))}{f', or 0 and {_WHITE}' if binary else ''}",
            cure=_cure(source, unknown.sum(), "Correct the mask or name the value in the plan"),
        )


def _is_grey(mask: Any) -> bool:
    red, green, blue = np.asarray(mask)
    return bool((red == green).all() and (green == blue).all())


def _color_table(
    colors: Mapping[str | int, Sequence[Sequence[int]]], values: Sequence[int]
) -> dict[tuple[int, ...], int]:
    """The label value of each colour."""
    table: dict[tuple[int, ...], int] = {}
    for value, shades in colors.items():
        if int(value) not in values:
            raise InputError(f"label {value} has colours but is not in the plan", expected=f"one of {list(values)}")
        for shade in shades:
            color = tuple(shade)
            if len(color) != _RGB or not all(isinstance(part, int) and 0 <= part <= _WHITE for part in color):
                raise InputError(f"label {value} has a wrong colour", expected="three numbers 0 to 255", got=color)
            if table.setdefault(color, int(value)) != int(value):
                raise InputError(f"labels {table[color]} and {value} share the colour {color}")
    table.setdefault(_BLACK, 0)
    return table


def _by_color(mask: np.ndarray, table: Mapping[tuple[int, ...], int], source: str) -> np.ndarray:
    """Map colours (3, X, Y) to label values (1, X, Y)."""
    if not ((mask >= 0) & (mask <= _LARGEST_SAMPLE) & (mask == np.floor(mask))).all():  # nor NaN
        raise InputError("its colours are not whole numbers", where=source, cure="Save it as 8-bit RGB")
    packed = _packed(mask.astype(np.int64))
    labels = np.zeros(packed.shape, dtype=np.int64)
    known = np.zeros(packed.shape, dtype=bool)
    for color, value in table.items():
        hit = packed == _packed(color)
        labels[hit] = value
        known |= hit
    if not known.all():
        found, counts = np.unique(packed[~known], return_counts=True)
        commonest = int(found[np.argmax(counts)])
        color = (commonest >> 32, commonest >> 16 & _LARGEST_SAMPLE, commonest & _LARGEST_SAMPLE)
        raise InputError(
            f"colour {color} ({_pixels(counts.max())}){_others(found.size, 'colour')} is no label's",
            where=source,
            expected="; ".join(f"{shade} for {value}" for shade, value in table.items()),
            cure=_cure(source, found.size, "Correct the mask or name the colour in the plan's labels (mask_colors)"),
        )
    return labels[np.newaxis]


def _packed(color: Any) -> Any:
    """Three channels, or one colour, as one number of 16 bits each."""
    red, green, blue = color
    return (red << 32) | (green << 16) | blue


def _pixels(count: int) -> str:
    return f"{count} pixel" if count == 1 else f"{count} pixels"


def _others(count: int, word: str) -> str:
    others = int(count) - 1
    return "" if others == 0 else f", with {others} other unknown {word}{'s' if others > 1 else ''},"


def _cure(source: str, unknown: int, otherwise: str) -> str:
    blended = promised_kind(Path(source).name) == "JPEG" or unknown >= _MANY
    return _SAVE_AS_PNG if blended else otherwise
