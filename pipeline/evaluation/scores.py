"""The Dice table of a set of cases."""

from __future__ import annotations

import csv
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.evaluation.bootstrap import bootstrap_interval
from pipeline.metrics import dice_per_label
from pipeline.writing import whole_file

__all__ = ["ScoreTable", "report_scores"]

logger = logging.getLogger(__name__)


class ScoreTable:
    """Dice per case and named label.

    A case without a prediction scores 0 for every label and is marked; see :func:`pipeline.metrics.dice_per_label`
    for labels that are absent.

    Args:
        labels: the names of the label values that are scored; keys may be strings, as JSON has them.
    """

    def __init__(self, labels: Mapping[str | int, str]) -> None:
        self.labels = {int(value): name for value, name in labels.items()}
        self.cases: dict[str, npt.NDArray[np.float64]] = {}
        self.patients: dict[str, str] = {}
        self.missing: dict[str, str] = {}
        self._summary: dict[str, dict[str, float]] | None = None

    def add(
        self, name: str, prediction: npt.ArrayLike, reference: npt.ArrayLike, *, patient: str | None = None
    ) -> None:
        """Score one case from its two label maps, which share one grid; without a patient it is its own."""
        self.cases[name] = dice_per_label(prediction, reference, list(self.labels))
        self.patients[name] = patient or name
        self._summary = None

    def add_missing(self, failures: Mapping[str, str], *, patients: Mapping[str, str] | None = None) -> None:
        """Score cases without a prediction: 0 each, with the reason."""
        for name, reason in failures.items():
            self.missing[name] = reason
            self.cases[name] = np.zeros(len(self.labels))
            self.patients[name] = (patients or {}).get(name, name)
        self._summary = None

    def summary(self) -> dict[str, dict[str, float]]:
        """What the cases say, per label and for the labels' mean.

        Returns:
            The mean over the cases with its 95 % bootstrap interval over patients (``low`` and ``high``, NaN for fewer
            than two), their standard deviation (n - 1), median and minimum.
        """
        if self._summary is None:  # the intervals take a while, and it is asked for more than once
            self._summary = self._summarise()
        return self._summary

    def _summarise(self) -> dict[str, dict[str, float]]:
        if not self.cases:
            return {}
        scores = np.stack(list(self.cases.values()))
        columns = dict(zip(self.labels.values(), scores.T, strict=True)) | {"mean": scores.mean(axis=1)}
        return {name: self._describe(values) for name, values in columns.items()}

    def _describe(self, values: npt.NDArray[np.float64]) -> dict[str, float]:
        patients = [self.patients[name] for name in self.cases]
        low, high = bootstrap_interval(lambda drawn: float(values[drawn].mean()), patients)
        return {
            "mean": float(values.mean()),
            "low": low,
            "high": high,
            "std": float(values.std(ddof=1)) if len(values) > 1 else 0.0,
            "median": float(np.median(values)),
            "min": float(values.min()),
        }

    def write(self, folder: str | Path, *, about: Mapping[str, Any] | None = None) -> list[Path]:
        """Write ``dice.csv`` and ``dice.json``.

        Args:
            folder: made when needed.
            about: facts for the JSON, such as the split.
        """
        root = Path(folder).expanduser()
        names = list(self.labels.values())
        rows = [
            {
                "case": case,
                "patient": self.patients[case],
                **dict(zip(names, map(float, dice), strict=True)),
                "mean": float(dice.mean()),
                "note": self.missing.get(case, ""),
            }
            for case, dice in sorted(self.cases.items())
        ]
        table, summary = root / "dice.csv", root / "dice.json"
        with whole_file(table) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, ["case", "patient", *names, "mean", "note"])
            writer.writeheader()
            writer.writerows(
                {key: f"{value:.6f}" if isinstance(value, float) else value for key, value in row.items()}
                for row in rows
            )
        counts = {"count": len(rows), "patients": len(set(self.patients.values()))}
        summary_rows = {
            name: {key: None if np.isnan(value) else value for key, value in row.items()}  # JSON knows no NaN
            for name, row in self.summary().items()
        }
        content = {"metric": "Dice", **(about or {}), **counts, "summary": summary_rows, "cases": rows}
        with whole_file(summary) as temporary:
            temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        return [table, summary]

    def text(self) -> str:
        """The summary as a table for people, one line per label."""
        width = max([len(name) for name in self.labels.values()] + [4])
        about = f"{len(self.cases)} cases of {len(set(self.patients.values()))} patients"
        lines = [f"{'Dice':<{width}}   mean     95 % interval     std  median     min   ({about})"]
        lines += [
            f"{name:<{width}} {row['mean']:.4f}  {row['low']:.4f} to {row['high']:.4f}  {row['std']:.4f}  "
            f"{row['median']:.4f}  {row['min']:.4f}"
            for name, row in self.summary().items()
        ]
        lines += [f"{name}: no prediction, counted as 0: {reason}" for name, reason in self.missing.items()]
        return "\n".join(lines)


def report_scores(
    *,
    table: ScoreTable,
    failures: Mapping[str, str],
    folder: str | Path,
    subset: str,
    patients: Mapping[str, str] | None = None,
) -> dict[str, dict[str, float]]:
    """End an evaluation: count failed cases as 0, write the table, log its summary, return it.

    Args:
        table: the scores of the cases that were predicted.
        failures: the cases that were not, with the reason.
        folder: where ``dice.csv`` and ``dice.json`` go.
        subset: the name of the evaluated part of the data.
        patients: the patient of each case.
    """
    table.add_missing(failures, patients=patients)
    files = table.write(folder, about={"subset": subset})
    logger.info("subset %s\n%s\nwrote %s", subset, table.text(), " and ".join(map(str, files)))
    return table.summary()
