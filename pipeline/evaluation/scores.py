"""The table of segmented cases."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from pipeline.errors import InputError
from pipeline.evaluation.bootstrap import mean_intervals
from pipeline.evaluation.columns import measure_columns, missing_value
from pipeline.evaluation.measure_table import MeasureTable
from pipeline.metrics import Measures, measure
from pipeline.metrics.surfaces import Definition

__all__ = ["Scores"]

logger = logging.getLogger(__name__)


_COLUMNS = {"case", "patient", "mean", "note"}


class Scores:
    """Every measure of :class:`pipeline.metrics.Measures` per case and named label, and the Dice among them.

    A case without a prediction scores 0 for every label, has infinite distances, and is marked. A case that cannot be
    scored, because its reference cannot be used, is named and counts nowhere.

    Args:
        labels: the names of the label values that are scored; keys may be strings, as JSON has them.
        tolerance_mm: the tolerance of the normalised surface Dice, one for all labels or one for each value, in mm; of
            pictures, which have no spacing, in pixels.
        definition: which surface the distances are of, see :func:`pipeline.metrics.measure`.

    Raises:
        InputError: two labels have one name, or one has that of a column of the tables.
    """

    def __init__(
        self,
        labels: Mapping[str | int, str] | Mapping[str, str] | Mapping[int, str],
        *,
        tolerance_mm: float | Mapping[str | int, float] | Mapping[str, float] | Mapping[int, float] = 1.0,
        definition: Definition = "voxel",
    ) -> None:
        self.labels = {int(value): name for value, name in labels.items()}
        if len(set(self.labels.values())) < len(self.labels):
            raise InputError("two labels have one name", got=", ".join(self.labels.values()))
        taken = _COLUMNS & {*self.labels.values()}
        if taken:
            raise InputError("a label has the name of a column of the tables", got=min(taken), cure="Rename the label")
        self.tolerance_mm = (
            {int(value): float(one) for value, one in tolerance_mm.items()}
            if isinstance(tolerance_mm, Mapping)
            else dict.fromkeys(self.labels, float(tolerance_mm))
        )
        self.definition = definition
        self.cases: dict[str, npt.NDArray[np.float64]] = {}
        self.patients: dict[str, str] = {}
        self.missing: dict[str, str] = {}
        self.unscored: dict[str, str] = {}
        self.notes: dict[str, str] = {}
        self._columns: dict[str, list[dict[str, float]]] = {}
        self._summary: dict[str, dict[str, float]] | None = None

    def add(
        self,
        name: str,
        prediction: npt.ArrayLike,
        reference: npt.ArrayLike,
        *,
        patient: str | None = None,
        spacing_mm: Sequence[float] | None = None,
        note: str = "",
    ) -> None:
        """Score one case from its two label maps.

        Args:
            name: the case; a second one of that name replaces the first.
            prediction: of shape (X, Y) or (X, Y, Z), whole numbers.
            reference: of the same shape, on the same grid.
            patient: cases of one patient are drawn together by the bootstrap; the case itself when None.
            spacing_mm: the distance of neighbouring voxels along each axis; None where it is not known, as of a
                picture: distances and areas are then in pixels.
            note: what is to be said of the case in the tables.

        Raises:
            InputError: see :func:`pipeline.metrics.measure`.
        """
        spacing = [1.0] * np.ndim(reference) if spacing_mm is None else spacing_mm
        tolerance = self.tolerance_mm
        found: dict[int, Measures] = {}
        if self.labels:
            found = measure(prediction, reference, labels=self.labels, spacing_mm=spacing, tolerance_mm=tolerance,
                            definition=self.definition)  # fmt: skip
        self.cases[name] = np.array([found[value].dice for value in self.labels])
        self._columns[name] = [measure_columns(found[value], pixels=spacing_mm is None) for value in self.labels]
        self.missing.pop(name, None)
        self._put(name, patient, note)

    def add_missing(self, failures: Mapping[str, str], *, patients: Mapping[str, str] | None = None) -> None:
        """Score cases without a prediction: 0 each, with the reason."""
        for name, reason in failures.items():
            self.missing[name] = reason
            self.cases[name] = np.zeros(len(self.labels))
            self._put(name, (patients or {}).get(name), reason)

    def add_unscored(self, reasons: Mapping[str, str]) -> None:
        """Name cases that cannot be scored because of their references, with the reason."""
        self.unscored.update(reasons)

    def _put(self, name: str, patient: str | None, note: str) -> None:
        self.patients[name], self.notes[name] = patient or name, note
        self._summary = None

    def measures(self) -> MeasureTable:
        """All measures of all scored cases, sorted by name."""
        names = sorted(self.cases)
        given = (row for rows in self._columns.values() for row in rows)
        columns = list(dict.fromkeys(column for row in given for column in row)) or ["dice"]

        def cell(name: str, k: int, column: str) -> float:
            if name in self.missing:
                return missing_value(column)
            return float(self._columns[name][k].get(column, np.nan))

        values = {
            column: np.array([[cell(name, k, column) for k in range(len(self.labels))] for name in names])
            for column in columns
        }
        patients = tuple(self.patients[name] for name in names)
        labels = tuple(self.labels.values())
        return MeasureTable(cases=tuple(names), patients=patients, labels=labels, values=values, notes=self.notes)

    def summary(self) -> dict[str, dict[str, float]]:
        """What the cases say of the Dice, per label and for the labels' mean.

        Returns:
            The mean over the cases with its 95 % bootstrap interval over patients (``low`` and ``high``, NaN for fewer
            than two), their standard deviation (n - 1), median and minimum.
        """
        if self._summary is None:  # the intervals take a while, and it is asked for more than once
            self._summary = self._summarise()
        return self._summary

    def _summarise(self) -> dict[str, dict[str, float]]:
        if not self.cases or not self.labels:
            return {}
        scores = np.stack(list(self.cases.values()))
        columns = dict(zip(self.labels.values(), scores.T, strict=True)) | {"mean": scores.mean(axis=1)}
        return {name: self._describe(values) for name, values in columns.items()}

    def _describe(self, values: npt.NDArray[np.float64]) -> dict[str, float]:
        patients = [self.patients[name] for name in self.cases]
        low, high = mean_intervals(values, patients)[:, 0].tolist()
        return {
            "mean": float(values.mean()),
            "low": low,
            "high": high,
            "std": float(values.std(ddof=1)) if len(values) > 1 else 0.0,
            "median": float(np.median(values)),
            "min": float(values.min()),
        }
