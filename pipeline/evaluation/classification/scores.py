"""The table of classified cases."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.errors import InputError
from pipeline.evaluation.bootstrap import bootstrap_interval
from pipeline.evaluation.classification.measures import JudgedCases

__all__ = ["ClassScores", "ClassifiedCase"]

_TOLERANCE = 1e-4  # half precision leaves a probability this far outside 0 to 1


@dataclass(frozen=True)
class ClassifiedCase:
    """One case of a table.

    Attributes:
        probabilities: of shape (K,).
        reference: whether it is of each class, bool of shape (K,), or None where that is not known.
        patient: whose case it is, or None where that is not known.
        missing: why there is no prediction, or None where there is one.
    """

    probabilities: npt.NDArray[np.float64]
    reference: npt.NDArray[np.bool_] | None
    patient: str | None
    missing: str | None = None


class ClassScores:
    """Probabilities per case and class, and what they say against the references.

    A case without a prediction has probability 0 for every class and counts as wrong: no class is predicted, which
    lowers accuracy and the recall of its class; it ranks below all others for its own class and above them for the
    rest, which lowers the ROC AUC of all. It is left out of the calibration error, which it would flatter. An
    undefined measure, such as the precision of a class that is never predicted, is NaN and no silent 0.

    Args:
        classes: the names of the class numbers 0 to K - 1; keys may be strings, as JSON has them.
        multi_label: whether a case has any number of classes instead of exactly one.
        threshold: the probability from which a class is predicted, with ``multi_label``.

    Raises:
        InputError: the class numbers, the names or the threshold cannot be used.
    """

    def __init__(self, classes: Mapping[str | int, str], *, multi_label: bool = False, threshold: float = 0.5) -> None:
        if not 0 < threshold < 1:
            raise InputError("threshold cannot be used", expected="above 0 and below 1", got=threshold)
        self.classes = _in_order(classes, least=1 if multi_label else 2)
        self.multi_label = multi_label
        self.threshold = threshold
        self.cases: dict[str, ClassifiedCase] = {}
        self._summary: dict[str, dict[str, Any]] | None = None

    def add(
        self,
        name: str,
        probabilities: npt.ArrayLike,
        reference: int | Sequence[int] | None = None,
        *,
        patient: str | None = None,
    ) -> None:
        """Add one case.

        Args:
            name: the case; a second one of that name replaces the first.
            probabilities: of shape (K,), 0 to 1. Where they are not finite, there is no prediction.
            reference: the class number, or with ``multi_label`` K zeros and ones; None where it is not known.
            patient: cases of one patient are drawn together by the bootstrap; the case itself when None.

        Raises:
            InputError: wrong shape, probabilities outside 0 to 1, or a reference that is no class.
        """
        values = np.asarray(probabilities, dtype=np.float64)
        if values.shape != (len(self.classes),):
            raise InputError(
                "wrong shape of probabilities", where=name, expected=(len(self.classes),), got=values.shape
            )
        if not np.isfinite(values).all():
            self._put(name, reference, patient, missing="the network's output is not finite")
            return
        if values.min() < -_TOLERANCE or values.max() > 1 + _TOLERANCE:
            got = f"{values.min():g} to {values.max():g}"
            cure = "Apply softmax or sigmoid before"
            raise InputError("not probabilities", where=name, expected="values from 0 to 1", got=got, cure=cure)
        self._put(name, reference, patient, probabilities=values.clip(0, 1))

    def add_missing(
        self,
        failures: Mapping[str, str],
        references: Mapping[str, int | Sequence[int]] | None = None,
        *,
        patients: Mapping[str, str] | None = None,
    ) -> None:
        """Add cases without a prediction, which count as wrong; without a reference they are only named.

        Args:
            failures: the reason for each case.
            references: as for :meth:`add`; may hold other cases too.
            patients: the patients of cases; may hold other cases too.
        """
        for name, reason in failures.items():
            self._put(name, (references or {}).get(name), (patients or {}).get(name), missing=reason)

    def decision(self, name: str) -> npt.NDArray[np.bool_]:
        """Whether each class is predicted, of shape (K,)."""
        case, size = self.cases[name], len(self.classes)
        if case.missing is not None:
            return np.zeros(size, dtype=bool)
        if self.multi_label:
            chosen: npt.NDArray[np.bool_] = case.probabilities >= self.threshold
            return chosen
        return _only(int(case.probabilities.argmax()), size)

    def predicted(self, name: str) -> str:
        """The predicted class; with ``multi_label`` all of them with ``; `` between; empty for none."""
        return self._names(self.decision(name))

    def reference(self, name: str) -> str | None:
        """The true class, or classes with ``; `` between; None where it is not known."""
        known = self.cases[name].reference
        return None if known is None else self._names(known)

    def right(self, name: str) -> bool | None:
        """Whether the prediction is right in every class; None where the reference is not known."""
        case = self.cases[name]
        if case.reference is None:
            return None
        return case.missing is None and bool((self.decision(name) == case.reference).all())

    def missing(self) -> dict[str, str]:
        """The cases without a prediction, and why."""
        return {name: case.missing for name, case in self.cases.items() if case.missing is not None}

    def judged_names(self) -> list[str]:
        """The cases with a reference, sorted."""
        return sorted(name for name, case in self.cases.items() if case.reference is not None)

    def judged(self) -> JudgedCases | None:
        """The cases with a reference as arrays, sorted by name; None where there are none."""
        names = self.judged_names()
        if not names:
            return None
        cases = [self.cases[name] for name in names]
        return JudgedCases(
            truth=np.stack([case.reference for case in cases if case.reference is not None]),
            decisions=np.stack([self.decision(name) for name in names]),
            probabilities=np.stack([case.probabilities for case in cases]),
            made=np.array([case.missing is None for case in cases]),
            multi_label=self.multi_label,
        )

    def counts(self) -> dict[str, int]:
        """The numbers of cases, of patients, of cases with a reference and of cases without a prediction."""
        return {
            "cases": len(self.cases),
            "patients": len(set(self._patients(self.cases))),
            "with_reference": len(self.judged_names()),
            "without_prediction": len(self.missing()),
        }

    def summary(self) -> dict[str, dict[str, Any]]:
        """The measures over the cases with a reference; empty where there are none.

        Returns:
            ``accuracy`` (with ``multi_label``: ``exact_match``), ``balanced_accuracy`` (mean recall of the classes;
            with ``multi_label`` the mean of (sensitivity + specificity) / 2), ``f1_macro``, ``roc_auc_macro`` (each
            class against the rest) and ``expected_calibration_error``, each with ``value``, ``low`` and ``high``: the
            95 % bootstrap interval over patients. ``classes`` has for each class ``recall``, ``precision``, ``f1``,
            ``roc_auc`` and ``count``. Undefined ones are NaN.
        """
        judged = self.judged()
        if judged is None:
            return {}
        if self._summary is None:
            patients = self._patients(self.judged_names())
            everything = np.arange(len(patients))
            self._summary = {}
            for measure, function in judged.measures().items():
                low, high = bootstrap_interval(function, patients)
                self._summary[measure] = {"value": function(everything), "low": low, "high": high}
            self._summary["classes"] = dict(zip(self.classes, judged.per_class(), strict=True))
        return self._summary

    def _put(
        self,
        name: str,
        reference: int | Sequence[int] | None,
        patient: str | None,
        *,
        probabilities: npt.NDArray[np.float64] | None = None,
        missing: str | None = None,
    ) -> None:
        values = np.zeros(len(self.classes)) if probabilities is None else probabilities
        known = None if reference is None else self._truth(name, reference)
        self.cases[name] = ClassifiedCase(values, known, patient or None, missing)
        self._summary = None

    def _truth(self, name: str, reference: int | Sequence[int]) -> npt.NDArray[np.bool_]:
        values, size = np.atleast_1d(np.asarray(reference)), len(self.classes)
        if self.multi_label:
            if values.shape != (size,) or not np.isin(values, (0, 1)).all():
                got = values.tolist()
                raise InputError("reference cannot be used", where=name, expected=f"{size} zeros and ones", got=got)
            return values.astype(bool)
        if values.shape != (1,) or values[0] not in range(size):
            expected = f"one class number from 0 to {size - 1}"
            raise InputError("reference cannot be used", where=name, expected=expected, got=values.tolist())
        return _only(int(values[0]), size)

    def _names(self, chosen: npt.NDArray[np.bool_]) -> str:
        return "; ".join(name for name, wanted in zip(self.classes, chosen, strict=True) if wanted)

    def _patients(self, names: Iterable[str]) -> list[str]:
        return [self.cases[name].patient or name for name in names]


def _only(number: int, size: int) -> npt.NDArray[np.bool_]:
    chosen: npt.NDArray[np.bool_] = np.arange(size) == number
    return chosen


def _in_order(classes: Mapping[str | int, str], *, least: int) -> tuple[str, ...]:
    """The names by their numbers, which must be 0 to K - 1."""
    named = {int(number): str(name) for number, name in classes.items()}
    if sorted(named) != list(range(len(classes))) or len(named) < least:
        expected = f"0, 1, ... in order, at least {least} of them"
        raise InputError("class numbers cannot be used", expected=expected, got=sorted(map(int, classes)))
    names = tuple(named[number] for number in range(len(named)))
    if len(set(names)) < len(names):
        raise InputError("two classes have one name", got=", ".join(names))
    return names
