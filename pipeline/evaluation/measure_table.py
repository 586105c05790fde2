"""Every measure of every case and label: in arrays, in ``metrics.csv``, and what they say together."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.documents import read_csv
from pipeline.errors import InputError
from pipeline.evaluation.bootstrap import mean_intervals
from pipeline.evaluation.provenance import FACTS, fact_columns
from pipeline.evaluation.tables import write_csv
from pipeline.sources.given import given_path

__all__ = ["METRICS_FILE", "MeasureTable", "read_measures"]

METRICS_FILE = "metrics.csv"
_KEYS = ("case", "patient", "label")

_Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class MeasureTable:
    """The measures of N cases and K labels.

    Attributes:
        cases: the names of the cases, each once.
        patients: the patient of each case.
        labels: the names of the labels.
        values: for each column of ``metrics.csv`` an array of shape (N, K). Distances are infinite where one map lacks
            the label, and NaN where both do, see :class:`pipeline.metrics.Measures`.
        notes: what is to be said of a case, such as why there is no prediction.
    """

    cases: tuple[str, ...]
    patients: tuple[str, ...]
    labels: tuple[str, ...]
    values: Mapping[str, _Floats]
    notes: Mapping[str, str] = field(default_factory=dict)

    def of(self, chosen: npt.NDArray[np.bool_] | npt.NDArray[np.int64]) -> MeasureTable:
        """The same of some cases, given by their indices or a mask of shape (N,)."""
        places = np.arange(len(self.cases))[chosen]
        return MeasureTable(
            cases=tuple(self.cases[k] for k in places),
            patients=tuple(self.patients[k] for k in places),
            labels=self.labels,
            values={name: value[places] for name, value in self.values.items()},
            notes=self.notes,
        )

    def summary(self) -> dict[str, dict[str, dict[str, float]]]:
        """What the cases say, by label and column.

        Returns:
            ``mean`` with its 95 % BCa bootstrap interval over patients (``low``, ``high``), ``std`` (n - 1) and
            ``median`` of the cases where the measure is finite; their number ``finite``, and those of the cases where
            it is ``infinite`` (one map lacks the label) or ``undefined`` (both do, or nothing is known of it).
        """
        columns = [name for name in self.values if not name.startswith("tolerance")]
        if not columns or not self.cases:
            return {}
        stacked = np.stack([self.values[name] for name in columns], axis=-1)  # (N, K, columns)
        rows = _described(stacked.reshape(len(self.cases), -1), self.patients)
        return {
            label: {name: rows[k * len(columns) + c] for c, name in enumerate(columns)}
            for k, label in enumerate(self.labels)
        }

    def write(self, folder: Path, about: Mapping[str, Any] | None = None) -> Path:
        """Write ``metrics.csv``, one row per case and label; see :func:`read_measures`.

        Args:
            folder: made when needed.
            about: what was scored, see :func:`pipeline.evaluation.provenance`; its facts stand in each row.
        """
        facts = {"patients": len(set(self.patients)), **fact_columns(about or {})}
        rows = [
            [
                *(case, self.patients[n], label),
                *(float(v[n, k]) for v in self.values.values()),
                *(self.notes.get(case, ""), *facts.values()),
            ]
            for n, case in enumerate(self.cases)
            for k, label in enumerate(self.labels)
        ]
        return write_csv(folder / METRICS_FILE, [[*_KEYS, *self.values, "note", *facts], *rows])


def read_measures(folder: str | Path) -> MeasureTable:
    """The measures that an evaluation has written into a folder.

    Args:
        folder: with ``metrics.csv``, or that file.

    Raises:
        InputError: there is no such file, a number is none, or a case lacks a label or has one twice.
    """
    path = given_path(folder)
    path = path / METRICS_FILE if path.is_dir() else path
    if not path.is_file():
        cure = "Give the output folder of medbundle evaluate"
        raise InputError("no such file", where=path, cure=cure)
    rows = read_csv(path, needed=_KEYS)
    columns = [name for name in (rows[0] if rows else {}) if name not in (*_KEYS, "note", "patients", *FACTS)]
    by_key = {(row["case"], row["label"]): row for row in rows}
    cases, labels = (list(dict.fromkeys(row[key] for row in rows)) for key in ("case", "label"))
    if not rows or len(by_key) != len(rows) or len(rows) != len(cases) * len(labels):
        got = f"{len(rows)} rows of {len(cases)} cases and {len(labels)} labels"
        raise InputError("is not complete", where=path, expected="one row for each case and label", got=got)
    try:
        values = {
            name: np.array([[float(by_key[case, label][name] or "nan") for label in labels] for case in cases])
            for name in columns
        }
    except ValueError as error:
        raise InputError("has a cell that is no number", where=path, got=error) from None
    first = {case: by_key[case, labels[0]] for case in cases}
    return MeasureTable(
        cases=tuple(cases),
        patients=tuple(first[case]["patient"] or case for case in cases),
        labels=tuple(labels),
        values=values,
        notes={case: row["note"] for case, row in first.items() if row.get("note")},
    )


def _described(values: _Floats, patients: tuple[str, ...]) -> list[dict[str, Any]]:
    """A row of statistics for each column of an array of shape (N, columns)."""
    finite, infinite = np.isfinite(values), np.isinf(values)
    known, count = np.where(finite, values, np.nan), finite.sum(axis=0)
    low, high = mean_intervals(known, patients)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of columns without a finite value
        mean, median, std = (f(known, axis=0) for f in (np.nanmean, np.nanmedian, np.nanstd))
    return [
        {
            "mean": float(mean[c]),
            "low": float(low[c]),
            "high": float(high[c]),
            "std": float(std[c] * np.sqrt(n / (n - 1))) if n > 1 else float("nan"),
            "median": float(median[c]),
            "finite": int(n),
            "infinite": int(infinite[:, c].sum()),
            "undefined": int(len(values) - n - infinite[:, c].sum()),
        }
        for c, n in enumerate(count)
    ]
