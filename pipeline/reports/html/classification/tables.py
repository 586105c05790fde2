"""The tables of a classification's report, ready for its template."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.evaluation.classification.summary import CLASS_DEFINITIONS
from pipeline.evaluation.classification.table import ClassificationTable, ClassifiedCase
from pipeline.reports.html.classification.plots import Confusion, percent
from pipeline.reports.html.tables import CaseTable, Cell
from pipeline.reports.html.wording import shown

__all__ = ["KINDS", "class_case_table", "class_heading", "class_table", "confusion", "confusion_rows", "overall_cards"]

KINDS = ("mistakes", "right", "no prediction", "no reference")
_TITLES = {
    "roc_auc": "ROC AUC",
    "roc_auc_macro": "Mean ROC AUC",
    "f1": "F1",
    "f1_macro": "Mean F1",
    "brier": "Brier score",
    "precision": "Precision (PPV)",
    "negative_predictive_value": "NPV",
    "expected_calibration_error": "Calibration error",
    "calibration_error": "Calibration error of a class",
}
_LOWER = ("brier", "expected_calibration_error", "calibration_error")
_MAIN_CLASSES = 8  # of which the probabilities are shown at once
_DIGITS = 3


def class_heading(measure: str) -> tuple[str, int]:
    """How a measure is called, and 1 where higher is better, -1 where lower is."""
    title = _TITLES.get(measure) or measure.replace("_", " ").capitalize()
    return title, -1 if measure in _LOWER else 1


def overall_cards(overall: Mapping[str, Mapping[str, float]]) -> list[dict[str, Any]]:
    """The measures of the whole: words, and where value and interval lie in percent of a bar."""
    cards = []
    for measure, row in overall.items():
        value, low, high = (float(row[key]) for key in ("value", "low", "high"))
        if math.isnan(value):
            continue
        a, b = (min(value if math.isnan(end) else end, 1.0) for end in (low, high))
        cards.append(
            {
                "label": class_heading(measure)[0],
                "better": class_heading(measure)[1],
                "unit": "",
                "mean": _cell(value),
                "low": _cell(low),
                "high": _cell(high),
                "median": None,
                "start": round(100 * a, 2),
                "width": round(100 * (b - a), 2),
                "place": round(100 * min(value, 1.0), 2),
            }
        )
    return cards


def class_table(
    classes: Mapping[str, Mapping[str, Mapping[str, float]]], counts: Mapping[str, int], cases: int
) -> dict[str, Any]:
    """The measures of each class against the rest.

    Args:
        classes: from :func:`pipeline.evaluation.classification.summary.class_measures`.
        counts: the number of the cases of each class.
        cases: the number of all.
    """
    measures = list(next(iter(classes.values()), {}))
    rows = [
        {
            "name": name,
            "positives": counts[name],
            "negatives": cases - counts[name],
            "cells": [
                {"measure": measure, **{key: _cell(float(row[measure][key])) for key in ("value", "low", "high")}}
                for measure in measures
            ],
        }
        for name, row in classes.items()
    ]
    heads = [(class_heading(name), CLASS_DEFINITIONS[name]) for name in measures]
    return {"heads": heads, "rows": rows}


def confusion(table: ClassificationTable) -> Confusion | None:
    """The confusion matrix with shares of the rows; with several classes per case a row for each class.

    There the row has the cases that are of the class, found or missed, and those that are not, left out or claimed;
    shares are of these halves. A column without a class is there where cases have no prediction.
    """
    judged = table.judged()
    if judged is None:
        return None
    counts = judged.confusion()
    size = len(table.classes)
    if table.multi_label:
        cells = counts[:, [1, 1, 0, 0], [1, 0, 0, 1]]
        halves = cells.reshape(size, 2, 2)
        shares = (halves / _nonzero(halves.sum(axis=2, keepdims=True))).reshape(size, 4)
        right = np.tile([True, False, True, False], (size, 1))
        columns = ("present: found", "present: missed", "absent: left out", "absent: claimed")
        return Confusion(table.classes, columns, cells, right, shares)
    names = table.classes if not counts[:, -1].any() else (*table.classes, "no prediction")
    cells = counts[:, : len(names)]
    right = np.eye(size, len(names), dtype=bool)
    return Confusion(table.classes, names, cells, right, cells / _nonzero(counts.sum(axis=1, keepdims=True)))


def confusion_rows(matrix: Confusion) -> list[dict[str, Any]]:
    """The rows of a confusion matrix: a name, and for each cell its count, share, shading and whether it is right."""
    return [
        {
            "name": name,
            "cells": [
                {
                    "count": int(matrix.counts[i, j]),
                    "share": percent(float(matrix.shares[i, j])),
                    "shade": round(float(np.nan_to_num(matrix.shares[i, j])), 3),
                    "right": bool(matrix.right[i, j]),
                }
                for j in range(len(matrix.columns))
            ],
        }
        for i, name in enumerate(matrix.rows)
    ]


def class_case_table(table: ClassificationTable, figures: Mapping[str, str]) -> CaseTable:
    """The table of cases, those first to whose reference the least probability was given.

    Args:
        table: all cases.
        figures: the anchor of the picture of each case that has one.
    """
    names = sorted(table.cases)
    judged = [_of_truth(table, table.cases[name]) for name in names]
    cells = [_case_cells(table, name, value) for name, value in zip(names, judged, strict=True)]
    order = sorted(range(len(names)), key=lambda n: (judged[n] is None, judged[n] or 0.0, n))
    rows = []
    for n in order:
        case = table.cases[names[n]]
        words = [cell if isinstance(cell, str) else shown(cell, _DIGITS) for cell in cells[n]]
        rows.append(
            {
                "row": n,
                "name": names[n],
                "note": "" if case.missing is None else f"no prediction: {case.missing}",
                "viewer": None,
                "missing": case.missing is not None,
                "kind": _kind(table, names[n]),
                "figure": figures.get(names[n], ""),
                "cells": words,
            }
        )
    return CaseTable(_columns(table), [""], [cells], rows)


def _case_cells(table: ClassificationTable, name: str, of_truth: float | None) -> list[float | str | None]:
    case = table.cases[name]
    made = case.missing is None
    return [
        table.reference(name) or ("" if case.reference is None else "none"),
        table.predicted(name) or ("none" if made else ""),
        _plain(of_truth),
        *(_plain(p if made else None) for p in case.probabilities.tolist()),
    ]


def _columns(table: ClassificationTable) -> list[dict[str, Any]]:
    least = "the least over the classes of the probability given to the truth" if table.multi_label else ""
    said = [
        ("reference", "Reference", "", True),
        ("predicted", "Predicted", "", True),
        ("of_reference", "P(reference)", least or "probability of the reference class", False),
        *((f"p_{name}", f"P({name})", f"probability of {name}", False) for name in table.classes),
    ]
    shown_at_once = 3 + (len(table.classes) if len(table.classes) <= _MAIN_CLASSES else 0)
    return [
        {
            "name": name,
            "title": title,
            "unit": "",
            "digits": _DIGITS,
            "better": int(name == "of_reference"),
            "definition": definition,
            "main": n < shown_at_once,
            "words": words,
        }
        for n, (name, title, definition, words) in enumerate(said)
    ]


def _kind(table: ClassificationTable, name: str) -> str:
    case = table.cases[name]
    if case.missing is not None:
        return KINDS[2]
    return {True: KINDS[1], False: KINDS[0], None: KINDS[3]}[table.right(name)]


def _of_truth(table: ClassificationTable, case: ClassifiedCase) -> float | None:
    """The probability that was given to what is true; with several classes that of the worst; 0 where none was."""
    if case.reference is None:
        return None
    if case.missing is not None:
        return 0.0
    if not table.multi_label:
        return float(case.probabilities[case.reference][0])
    return float(np.where(case.reference, case.probabilities, 1 - case.probabilities).min())


def _nonzero(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    return np.where(counts > 0, counts, np.nan)


def _plain(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.5g}")


def _cell(value: float) -> Cell:
    return Cell(None if math.isnan(value) else value, shown(value, _DIGITS))
