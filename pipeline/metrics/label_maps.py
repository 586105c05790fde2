"""Label maps brought to small numbers and to the part that matters, once for all measures."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.errors import InputError

__all__ = ["IndexMap", "checked_labels", "checked_spacing", "index_maps"]

IndexMap = npt.NDArray[np.unsignedinteger[Any]]

_NARROW = 2  # bytes: every value of such an integer has a place in a look-up table
_MAX_LABELS = 65535
_DIMENSIONS = (2, 3)


def index_maps(prediction: npt.ArrayLike, reference: npt.ArrayLike, labels: Sequence[int]) -> tuple[IndexMap, IndexMap]:
    """Number the wanted labels from 1, make everything else 0, and crop both maps to what is left of either.

    Args:
        prediction: label map of shape (X, Y) or (X, Y, Z), of integers, or of floats that are whole numbers.
        reference: label map of the same shape.
        labels: the label values that are wanted, each once; 0 may be one of them.

    Returns:
        Prediction and reference, C-contiguous, of the smallest unsigned type, k + 1 where the map is ``labels[k]``.
        Where neither map holds any of the labels, a single background element is left.

    Raises:
        InputError: the shapes differ or are not 2D or 3D, a map is empty, or its values are not whole numbers.
    """
    p, r = _whole_numbers(prediction, "prediction"), _whole_numbers(reference, "reference")
    if p.shape != r.shape:
        raise InputError("prediction and reference differ in shape", expected=r.shape, got=p.shape)
    if r.ndim not in _DIMENSIONS or not r.size:
        raise InputError("label maps cannot be measured", expected="2 or 3 dimensions, none of size 0", got=r.shape)
    numbered_p, numbered_r = _numbered(p, labels), _numbered(r, labels)
    box = _bounding_box(numbered_p | numbered_r)
    return np.ascontiguousarray(numbered_p[box]), np.ascontiguousarray(numbered_r[box])


def checked_labels(labels: Iterable[int]) -> list[int]:
    """The label values as plain integers.

    Raises:
        InputError: there is none, one is not an integer, or one is given twice.
    """
    given = list(labels)
    try:
        values = [operator.index(label) for label in given]
    except TypeError:
        raise InputError("labels cannot be used", expected="integers", got=given) from None
    if not values or len(set(values)) < len(values) or len(values) > _MAX_LABELS:
        raise InputError("labels cannot be used", expected="at least one, and each once", got=values)
    return values


def checked_spacing(spacing_mm: Sequence[float], dimensions: int) -> tuple[float, ...]:
    """The spacing as plain numbers.

    Raises:
        InputError: it is not one finite number above 0 for each axis.
    """
    values = np.asarray(spacing_mm, dtype=np.float64)
    if values.shape != (dimensions,) or not (np.isfinite(values).all() and (values > 0).all()):
        expected = f"{dimensions} numbers above 0"
        raise InputError("spacing cannot be used", expected=expected, got=values.tolist())
    return tuple(values.tolist())


def _whole_numbers(values: npt.ArrayLike, what: str) -> npt.NDArray[np.integer[Any]]:
    array = np.asarray(values)
    if array.dtype == np.bool_:
        return array.view(np.uint8)
    if np.issubdtype(array.dtype, np.integer):
        return array.astype(array.dtype.newbyteorder("="), copy=False)
    if not np.issubdtype(array.dtype, np.floating):
        raise InputError("label map cannot be measured", where=what, expected="integers", got=array.dtype)
    with np.errstate(invalid="ignore"):
        whole = array.astype(np.int32)
    if not np.array_equal(whole, array):
        different = array[whole != array].flat[0]
        raise InputError("label map cannot be measured", where=what, expected="whole numbers", got=different)
    return whole


def _numbered(values: npt.NDArray[np.integer[Any]], labels: Sequence[int]) -> IndexMap:
    kind = np.min_scalar_type(len(labels))
    narrow = _narrowed(values)
    if narrow is None:
        order = np.argsort(labels)
        ranked = np.asarray(labels)[order]
        place = np.searchsorted(ranked, values).clip(max=len(labels) - 1)
        found: IndexMap = np.where(ranked[place] == values, (order + 1).astype(kind)[place], kind.type(0))
        return found
    size, limits = 256**narrow.itemsize, np.iinfo(narrow.dtype)
    table = np.zeros(size, dtype=kind)
    for number, label in enumerate(labels, start=1):
        if limits.min <= label <= limits.max:
            table[label % size] = number  # negative values are the upper half, seen as unsigned
    numbered: IndexMap = table[narrow.view(f"u{narrow.itemsize}")]
    return numbered


def _narrowed(values: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.integer[Any]] | None:
    """The values in at most two bytes; None where they do not fit."""
    if values.itemsize <= _NARROW:
        return values
    low, high = int(values.min()), int(values.max())
    for kind in (np.uint8, np.uint16, np.int16):
        if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
            return values.astype(kind)
    return None


def _bounding_box(values: IndexMap) -> tuple[slice, ...]:
    """The smallest box that holds every value but 0; one element where there is none."""
    box = []
    for axis in range(values.ndim):
        filled = np.flatnonzero(values.any(axis=tuple(other for other in range(values.ndim) if other != axis)))
        box.append(slice(int(filled[0]), int(filled[-1]) + 1) if filled.size else slice(0, 1))
    return tuple(box)
