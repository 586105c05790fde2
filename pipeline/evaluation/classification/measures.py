"""The measures of a set of classified cases."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from pipeline.metrics import confusion_matrix, expected_calibration_error, roc_auc_of_ranks

__all__ = ["JudgedCases"]

_Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class JudgedCases:
    """Cases with a reference, N of them, and K classes.

    Attributes:
        truth: whether the case is of the class, bool of shape (N, K); one class per row unless ``multi_label``.
        decisions: whether the class was predicted, bool of shape (N, K); none in a case without a prediction.
        probabilities: float of shape (N, K); 0 in a case without a prediction.
        made: whether there is a prediction, bool of shape (N,).
        multi_label: whether a case has any number of classes instead of one.
    """

    truth: npt.NDArray[np.bool_]
    decisions: npt.NDArray[np.bool_]
    probabilities: npt.NDArray[np.float64]
    made: npt.NDArray[np.bool_]
    multi_label: bool

    def measures(self) -> Mapping[str, Callable[[_Indices], float]]:
        """The measures of the whole set, each a function of the indices of the cases that count (with repetition).

        Means over classes are unweighted, over the classes for which the measure is defined.
        """
        return {
            "exact_match" if self.multi_label else "accuracy": lambda cases: float(self._right[cases].mean()),
            "balanced_accuracy": lambda cases: _mean(self._balanced(cases)),
            "f1_macro": lambda cases: _mean(self._f1(cases)),
            "roc_auc_macro": lambda cases: _mean(self._roc_auc(cases)),
            "expected_calibration_error": lambda cases: expected_calibration_error(*self.calibration(cases)),
        }

    def per_class(self) -> list[dict[str, float]]:
        """For each class recall, precision, F1, ROC AUC against the rest, and the number of cases that are of it."""
        everything = np.arange(len(self.truth))
        hits, actual, called, _ = self._counts(everything)
        columns = {
            "recall": _ratio(hits, actual),
            "precision": _ratio(hits, called),
            "f1": self._f1(everything),
            "roc_auc": self._roc_auc(everything),
        }
        return [
            {**{name: float(values[k]) for name, values in columns.items()}, "count": int(actual[k])}
            for k in range(self.truth.shape[1])
        ]

    def confusion(self) -> npt.NDArray[np.int64]:
        """Counts of the cases.

        Returns:
            One class per case: of shape (K, K + 1), reference by predicted class, the last column for no prediction.
            Several: of shape (K, 2, 2), for each class absent or present in the reference by not predicted or
            predicted.
        """
        classes = self.truth.shape[1]
        if self.multi_label:
            pairs = zip(self.truth.T, self.decisions.T, strict=True)
            return np.stack([confusion_matrix(truth, decided, 2) for truth, decided in pairs])
        decided = np.where(self.decisions.any(axis=1), self.decisions.argmax(axis=1), classes)
        return confusion_matrix(self.truth.argmax(axis=1), decided, classes + 1)[:classes]

    def calibration(self, cases: _Indices | None = None) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
        """Confidence in each decision that was made and whether it is right.

        That is one decision per case, or one per case and class where a case may have several: there the confidence
        in an absent class is 1 - its probability. Cases without a prediction have no confidence and are left out.
        """
        confidence, correct = self._confidence
        chosen = np.arange(len(self.made)) if cases is None else cases
        chosen = chosen[self.made[chosen]]
        return confidence[chosen].ravel(), correct[chosen].ravel()

    @cached_property
    def scores(self) -> npt.NDArray[np.float64]:
        """What cases are ranked by, of shape (N, K): their probabilities.

        A case without a prediction ranks as the worst that it could be: as -1 below all where it is of the class, and
        as 2 above all where it is not.
        """
        return np.where(self.made[:, np.newaxis], self.probabilities, np.where(self.truth, -1.0, 2.0))

    @cached_property
    def _right(self) -> npt.NDArray[np.bool_]:
        right: npt.NDArray[np.bool_] = (self.truth == self.decisions).all(axis=1) & self.made
        return right

    @cached_property
    def _confidence(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
        if self.multi_label:
            confidence = np.where(self.decisions, self.probabilities, 1 - self.probabilities)
            return confidence, self.truth == self.decisions
        return self.probabilities.max(axis=1), self._right

    @cached_property
    def _ranks(self) -> list[npt.NDArray[np.int64]]:
        return [np.unique(column, return_inverse=True)[1] for column in self.scores.T]

    @cached_property
    def _countable(self) -> npt.NDArray[np.float64]:
        return np.hstack([self.truth & self.decisions, self.truth, self.decisions]).astype(float)

    def _counts(self, cases: _Indices) -> tuple[npt.NDArray[np.float64], ...]:
        """Per class the number of hits, of cases that are of it, of cases called so, and the number of all cases."""
        times = np.bincount(cases, minlength=len(self.truth)).astype(float)
        hits, actual, called = np.split(times @ self._countable, 3)
        return hits, actual, called, np.full_like(hits, len(cases))

    def _f1(self, cases: _Indices) -> npt.NDArray[np.float64]:
        hits, actual, called, _ = self._counts(cases)
        return _ratio(2 * hits, actual + called)

    def _balanced(self, cases: _Indices) -> npt.NDArray[np.float64]:
        hits, actual, called, total = self._counts(cases)
        if not self.multi_label:
            return _ratio(hits, actual)
        return (_ratio(hits, actual) + _ratio(total - actual - called + hits, total - actual)) / 2

    def _roc_auc(self, cases: _Indices) -> npt.NDArray[np.float64]:
        return np.array(
            [roc_auc_of_ranks(rank[cases], truth[cases]) for rank, truth in zip(self._ranks, self.truth.T, strict=True)]
        )


def _ratio(part: npt.NDArray[np.float64], whole: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return part / np.where(whole > 0, whole, np.nan)


def _mean(values: npt.NDArray[np.float64]) -> float:
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else float("nan")
