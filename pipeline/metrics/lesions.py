"""Lesions, counted and matched by connected components."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.metrics.label_maps import IndexMap

__all__ = ["LesionCounts", "match_lesions"]

_CONNECTIVITY: dict[int, Literal[8, 26]] = {2: 8, 3: 26}
_TABLE_SIZE = 2**20  # pairs of components that are counted without sorting

_Counts = npt.NDArray[np.int64]


class LesionCounts(NamedTuple):
    """Counts per label, each of shape (labels,).

    Attributes:
        reference: lesions in the reference.
        prediction: lesions in the prediction.
        detected: lesions of the reference that a lesion of the prediction overlaps.
        false_positives: lesions of the prediction that overlap no lesion of the reference.
        dice: mean Dice over the lesions of the reference and the false positives; NaN where there is neither.
    """

    reference: _Counts
    prediction: _Counts
    detected: _Counts
    false_positives: _Counts
    dice: npt.NDArray[np.float64]


class _Pairs(NamedTuple):
    """Components of one label that share elements: their numbers in reference and prediction, and how many."""

    reference: _Counts
    prediction: _Counts
    shared: _Counts


def match_lesions(prediction: IndexMap, reference: IndexMap, count: int) -> LesionCounts:
    """Match the lesions of two maps, label by label.

    A lesion is a connected component of one label, joined over faces, edges and corners: 26-connectivity in 3D,
    8-connectivity in 2D. Two lesions of one label match where they share at least one voxel; a lesion may match
    several. The Dice of a lesion of the reference is that with the union of all lesions of the prediction that match
    it, 0 where none does; a false positive counts as a further lesion with Dice 0. This is the lesion-wise Dice of
    BraTS 2023, without its dilation of the reference.

    Args:
        prediction: of shape (X, Y) or (X, Y, Z), labels numbered from 1 to ``count``, 0 elsewhere.
        reference: of the same shape.
        count: the number of labels.

    Returns:
        Counts per label, in the order of their numbers.
    """
    in_reference, label_of_reference = _components(reference)
    in_prediction, label_of_prediction = _components(prediction)
    pairs, size_reference, size_prediction = _overlaps(
        in_reference, in_prediction, label_of_reference, label_of_prediction
    )
    matched_size = np.bincount(pairs.reference, size_prediction[pairs.prediction], minlength=len(size_reference))
    shared = np.bincount(pairs.reference, pairs.shared, minlength=len(size_reference))
    dice = 2 * shared / np.maximum(size_reference + matched_size, 1)
    hit = np.bincount(pairs.prediction, minlength=len(size_prediction)) > 0

    def per_label(labels: IndexMap, weights: npt.NDArray[np.generic] | None = None) -> npt.NDArray[np.float64]:
        return np.bincount(labels, weights, minlength=count + 1)[1:].astype(np.float64)

    lesions, found = per_label(label_of_reference), per_label(label_of_reference, shared > 0)
    predicted = per_label(label_of_prediction)
    wrong = predicted - per_label(label_of_prediction, hit)
    total = lesions + wrong
    mean = per_label(label_of_reference, dice) / np.where(total > 0, total, np.nan)
    return LesionCounts(_whole(lesions), _whole(predicted), _whole(found), _whole(wrong), mean)


def _whole(values: npt.NDArray[np.float64]) -> _Counts:
    return values.astype(np.int64)


def _components(values: IndexMap) -> tuple[IndexMap, IndexMap]:
    """The component of each element, from 1 (0 outside), and the label of each component, 0 first."""
    import cc3d

    numbers, count = cc3d.connected_components(values, connectivity=_CONNECTIVITY[values.ndim], return_N=True)
    labels = np.zeros(count + 1, dtype=values.dtype)
    labels[numbers.ravel()] = values.ravel()
    return numbers, labels


def _overlaps(
    reference: IndexMap, prediction: IndexMap, label_of_reference: IndexMap, label_of_prediction: IndexMap
) -> tuple[_Pairs, _Counts, _Counts]:
    """Pairs of components of one label that share elements, and the sizes of all components (0 for the outside)."""
    rows, columns = len(label_of_reference), len(label_of_prediction)
    codes = reference.ravel() * np.int64(columns) + prediction.ravel()
    if rows * columns <= max(_TABLE_SIZE, codes.size):
        counts = np.bincount(codes)
        codes = np.flatnonzero(counts)
        counts = counts[codes]
    else:
        codes, counts = np.unique(codes, return_counts=True)
    first, second = np.divmod(codes, columns)
    sizes = [
        np.bincount(which, counts, minlength=n).astype(np.int64) for which, n in ((first, rows), (second, columns))
    ]
    one_label = (label_of_reference[first] == label_of_prediction[second]) & (first > 0) & (second > 0)
    return _Pairs(first[one_label], second[one_label], counts[one_label]), sizes[0], sizes[1]
