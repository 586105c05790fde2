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
        self.missing: dict[str, str] = {}

    def add(self, name: str, prediction: npt.ArrayLike, reference: npt.ArrayLike) -> None:
        """Score one case from its two label maps, which share one grid."""
        self.cases[name] = dice_per_label(prediction, reference, list(self.labels))

    def add_missing(self, failures: Mapping[str, str]) -> None:
        """Score cases without a prediction: 0 each, with the reason."""
        for name, reason in failures.items():
            self.missing[name] = reason
            self.cases[name] = np.zeros(len(self.labels))

    def summary(self) -> dict[str, dict[str, float]]:
        """Mean, standard deviation (n - 1) and median over the cases, per label and for the labels' mean."""
        if not self.cases:
            return {}
        scores = np.stack(list(self.cases.values()))
        columns = dict(zip(self.labels.values(), scores.T, strict=True)) | {"mean": scores.mean(axis=1)}
        return {
            name: {
                "mean": float(values.mean()),
                "std": float(values.std(ddof=1)) if len(values) > 1 else 0.0,
                "median": float(np.median(values)),
                "min": float(values.min()),
            }
            for name, values in columns.items()
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
            {"case": case, **dict(zip(names, map(float, dice), strict=True)), "mean": float(dice.mean()),
             "note": self.missing.get(case, "")}
            for case, dice in sorted(self.cases.items())
        ]  # fmt: skip
        table, summary = root / "dice.csv", root / "dice.json"
        with whole_file(table) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, ["case", *names, "mean", "note"])
            writer.writeheader()
            writer.writerows(
                {key: f"{value:.6f}" if isinstance(value, float) else value for key, value in row.items()}
                for row in rows
            )
        content = {"metric": "Dice", **(about or {}), "count": len(rows), "summary": self.summary(), "cases": rows}
        with whole_file(summary) as temporary:
            temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        return [table, summary]

    def text(self) -> str:
        """The summary as a table for people, one line per label."""
        width = max([len(name) for name in self.labels.values()] + [4])
        lines = [f"{'Dice':<{width}}   mean     std  median     min   ({len(self.cases)} cases)"]
        lines += [
            f"{name:<{width}} {row['mean']:.4f}  {row['std']:.4f}  {row['median']:.4f}  {row['min']:.4f}"
            for name, row in self.summary().items()
        ]
        lines += [f"{name}: no prediction, counted as 0: {reason}" for name, reason in self.missing.items()]
        return "\n".join(lines)


def report_scores(
    *, table: ScoreTable, failures: Mapping[str, str], folder: str | Path, subset: str
) -> dict[str, dict[str, float]]:
    """End an evaluation: count failed cases as 0, write the table, log its summary, return it.

    Args:
        table: the scores of the cases that were predicted.
        failures: the cases that were not, with the reason.
        folder: where ``dice.csv`` and ``dice.json`` go.
        subset: the name of the evaluated part of the data.
    """
    table.add_missing(failures)
    files = table.write(folder, about={"subset": subset})
    logger.info("subset %s\n%s\nwrote %s", subset, table.text(), " and ".join(map(str, files)))
    return table.summary()
