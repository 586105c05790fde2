"""Tolerances of the normalised surface Dice as they are written on the command line."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from pipeline.errors import InputError

__all__ = ["read_tolerances"]

_EXPECTED = "a number of mm, or NAME=MM for every label"


def read_tolerances(given: Sequence[str], labels: Mapping[int, str]) -> dict[int, float]:
    """The tolerance of each label.

    Args:
        given: one number for all labels, or ``NAME=MM`` for each; both where the number is for the labels not named.
            A label's value may stand for its name.
        labels: names by label values.

    Returns:
        Numbers of mm (of pictures: pixels), 0 or more, by label values.

    Raises:
        InputError: one is no such number, names no label or one twice, or a label has none.
    """
    found = _of_names(given, labels)
    rest = [_number(text, text) for text in given if "=" not in text]
    if len(rest) > 1:
        raise InputError("tolerances cannot be used", expected=_EXPECTED, got=" ".join(given))
    if rest:
        return dict.fromkeys(labels, rest[0]) | found
    missing = [name for value, name in labels.items() if value not in found]
    if missing:
        raise InputError("tolerance is not given for every label", expected=_EXPECTED, got=f"none for {missing[0]}")
    return {value: found[value] for value in labels}


def _of_names(given: Sequence[str], labels: Mapping[int, str]) -> dict[int, float]:
    values = {name: value for value, name in labels.items()} | {str(value): value for value in labels}
    found: dict[int, float] = {}
    for text in given:
        name, equals, number = text.rpartition("=")
        if not equals:
            continue
        if name not in values:
            raise InputError(f"no label {name}", where=f"tolerance {text}", expected=", ".join(labels.values()))
        if found.setdefault(values[name], _number(number, text)) != _number(number, text):
            raise InputError(f"two tolerances of {name}", where=f"tolerance {text}", expected=_EXPECTED)
    return found


def _number(text: str, given: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise InputError("tolerance cannot be used", expected=_EXPECTED, got=given)
    return value
