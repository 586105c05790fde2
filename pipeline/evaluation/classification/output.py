"""The files and the text of a classification table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pipeline.errors import shown
from pipeline.evaluation.classification.summary import write_class_summary
from pipeline.evaluation.score_output import BOOTSTRAP
from pipeline.evaluation.tables import aligned, number, write_csv, write_json

if TYPE_CHECKING:
    from pipeline.evaluation.classification.scores import ClassScores

__all__ = ["classification_text", "write_classification"]

_NO_PREDICTION = "(no prediction)"
_CELLS = ("true_negative", "false_positive", "false_negative", "true_positive")
_CLASS_MEASURES = ("recall", "precision", "f1", "roc_auc")


def write_classification(table: ClassScores, root: Path, about: Mapping[str, Any]) -> list[Path]:
    """Write ``probabilities.csv`` and, where references are known, the other files of the table's ``write``."""
    files = [root / "probabilities.csv"]
    write_csv(files[0], _case_rows(table))
    judged = table.judged()
    if judged is None:
        return files
    confusion = judged.confusion()
    content = {
        "metric": "classification",
        **about,
        "counts": table.counts(),
        "bootstrap": BOOTSTRAP,
        "classes": table.classes,
        "multi_label": table.multi_label,
        "threshold": table.threshold if table.multi_label else None,
        "summary": table.summary(),
        "confusion": confusion.tolist(),
        "missing": table.missing(),
    }
    files += [root / "classification.json", root / "confusion.csv"]
    write_json(files[1], content)
    header, rows = _confusion_rows(table, confusion)
    write_csv(files[2], [header, *rows])
    return [*files, *write_class_summary(table, root, about)]


def classification_text(table: ClassScores) -> str:
    """Measures with their intervals, a line per class, and the confusion matrix, in aligned columns."""
    counts = table.counts()
    size = f"({counts['cases']} cases of {counts['patients']} patients)"
    if counts["with_reference"]:
        lines = [*_measure_lines(table, size), "", *_class_lines(table), "", *_confusion_lines(table)]
    else:
        lines = [f"Classification without references   {size}", *_prediction_lines(table)]
    unknown = counts["cases"] - counts["with_reference"]
    if 0 < unknown < counts["cases"]:
        lines.append(f"{unknown} cases without a reference are not counted")
    for name, reason in sorted(table.missing().items()):
        counted = "" if table.reference(name) is None else ", counted as wrong"
        lines.append(f"{shown(name)}: no prediction{counted}: {reason}")
    return "\n".join(lines)


def _measure_lines(table: ClassScores, size: str) -> list[str]:
    rows = [
        [name.replace("_", " "), number(row["value"]), f"{number(row['low'])} to {number(row['high'])}"]
        for name, row in table.summary().items()
        if name != "classes"
    ]
    first, *others = aligned([["Classification", "value", "95 % interval"], *rows])
    return [f"{first}   {size}", *others]


def _class_lines(table: ClassScores) -> list[str]:
    rows = [
        [name, *(number(row[measure]) for measure in _CLASS_MEASURES), f"{row['count']}"]
        for name, row in table.summary()["classes"].items()
    ]
    return aligned([["class", *(measure.replace("_", " ") for measure in _CLASS_MEASURES), "cases"], *rows])


def _confusion_lines(table: ClassScores) -> list[str]:
    judged = table.judged()
    if judged is None:
        return []
    header, rows = _confusion_rows(table, judged.confusion())
    if table.multi_label:
        header = [cell.replace("_", " ") for cell in header]
    elif not any(row[-1] for row in rows):
        header, rows = header[:-1], [row[:-1] for row in rows]
    lines = aligned([header, *([str(cell) for cell in row] for row in rows)])
    return lines if table.multi_label else ["rows: reference, columns: predicted", *lines]


def _prediction_lines(table: ClassScores) -> list[str]:
    counts = sum((table.decision(name).astype(int) for name in table.cases), np.zeros(len(table.classes), dtype=int))
    rows = ([name, f"{count}"] for name, count in zip(table.classes, counts, strict=True))
    return aligned([["predicted", "cases"], *rows])


def _case_rows(table: ClassScores) -> list[list[str]]:
    known_patient = any(case.patient is not None for case in table.cases.values())
    known_reference = bool(table.judged_names())
    header = ["case", *(["patient"] * known_patient), *(["reference"] * known_reference), "predicted"]
    rows = [[*header, *(f"p_{name}" for name in table.classes), "note"]]
    for name, case in sorted(table.cases.items()):
        without = "no reference" if known_reference and case.reference is None else ""
        rows.append(
            [
                name,
                *([case.patient or ""] * known_patient),
                *([table.reference(name) or ""] * known_reference),
                table.predicted(name),
                *(f"{value:.6f}" for value in case.probabilities),
                ": ".join(filter(None, [without, case.missing])),
            ]
        )
    return rows


def _confusion_rows(table: ClassScores, confusion: npt.NDArray[np.int64]) -> tuple[list[str], list[list[str | int]]]:
    cells = confusion.reshape(len(table.classes), -1).tolist()
    header = ["class", *_CELLS] if table.multi_label else ["reference", *table.classes, _NO_PREDICTION]
    return header, [[name, *row] for name, row in zip(table.classes, cells, strict=True)]
