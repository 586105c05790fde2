"""The tables of a report, ready for its template."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.documents import read_mapping
from pipeline.evaluation.columns import about_column
from pipeline.evaluation.measure_table import MeasureTable
from pipeline.reports.html.gallery import case_scores
from pipeline.reports.html.wording import Heading, heading, is_main, place, shown

__all__ = ["CaseTable", "Cell", "case_table", "groups_table", "label_cards", "summary_table"]

_MAX_CARDS = 6
_ALL = "Mean of all labels"


class Cell(NamedTuple):
    """A statistic: as in ``summary.json``, and for people."""

    value: float | None
    text: str


class CaseTable(NamedTuple):
    """The cases by one label at a time.

    Attributes:
        columns: for each column its name, words, digits, direction (1 where higher is better) and whether it is
            shown at once, and whether it holds words instead of numbers.
        views: what the table can show: the mean of the labels, where there are several, and each label.
        cells: numbers by view, row and column; "inf" and None for what is infinite and undefined; or words.
        rows: the first view, worst case first: the row's number, the case, its note, the number of its viewer or None,
            whether it has no prediction, its kind for the filter or "", the anchor of its picture or "", and the texts
            of its cells.
    """

    columns: list[dict[str, Any]]
    views: list[str]
    cells: list[list[list[float | str | None]]]
    rows: list[dict[str, Any]]


def label_cards(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Dice of each of the first labels: words, and where mean and interval lie in percent of a bar."""
    cards = []
    for label, measures in list(summary["summary"].items())[:_MAX_CARDS]:
        row = measures.get("dice")
        if row is None or row["mean"] is None:
            continue
        low, high = (row[end] if row[end] is not None else row["mean"] for end in ("low", "high"))
        cards.append(
            {
                "label": label,
                "unit": "Dice",
                "mean": _cell(row, "mean", 3),
                "low": _cell(row, "low", 3),
                "high": _cell(row, "high", 3),
                "median": _cell(row, "median", 3),
                "start": round(100 * low, 2),
                "width": round(100 * (high - low), 2),
                "place": round(100 * row["mean"], 2),
            }
        )
    return cards


def summary_table(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every statistic of every label and measure, the main measures first."""
    rows = []
    for label, measures in summary["summary"].items():
        for column in sorted(measures, key=place):
            called, row = heading(column), measures[column]
            digits = max(called.digits, 1)
            rows.append(
                {
                    "label": label,
                    "measure": called.text,
                    "column": column,
                    "main": is_main(column),
                    "better": about_column(column).better,
                    **{name: _cell(row, name, digits) for name in ("mean", "low", "high", "std", "median")},
                    **{name: row[name] for name in ("finite", "infinite", "undefined")},
                }
            )
    return rows


def groups_table(path: Path) -> dict[str, Any] | None:
    """Dice by group, from ``groups.json``; None where there is no such file."""
    try:
        content = read_mapping(path)
        rows = [
            {
                "group": group,
                "label": label,
                "cases": part["cases"],
                "patients": part["patients"],
                **{name: _cell(measures["dice"], name, 3) for name in ("mean", "low", "high", "median")},
            }
            for group, part in content["groups"].items()
            for label, measures in part["summary"].items()
        ]
    except (ValueError, KeyError, AttributeError, TypeError):
        return None
    return {"by": content.get("by", "group"), "rows": rows}


def case_table(measures: MeasureTable, summary: Mapping[str, Any], viewers: Mapping[str, int]) -> CaseTable:
    """The table of cases.

    Args:
        measures: of all cases.
        summary: the content of ``summary.json``; names the cases without a prediction.
        viewers: the number of the viewer of each case that has one.
    """
    names = _shown_measures(measures)
    called = list(map(heading, names))
    stacked = np.stack([measures.values[name] for name in names], axis=-1)  # (cases, labels, columns)
    labels = list(measures.labels)
    views = labels if len(labels) == 1 else [_ALL, *labels]
    values = list(np.moveaxis(stacked, 1, 0))
    if len(labels) > 1:
        values.insert(0, _label_means(stacked))
    missing = summary.get("missing") or {}
    order = np.argsort(case_scores(measures), kind="stable").tolist()
    headings = _digits(called, views)
    rows = [
        {
            "row": n,
            "name": measures.cases[n],
            "note": measures.notes.get(measures.cases[n], ""),
            "viewer": viewers.get(measures.cases[n]),
            "missing": measures.cases[n] in missing,
            "kind": "",
            "figure": "",
            "cells": _shown_cells(values[0][n], headings),
        }
        for n in order
    ]
    columns = [_column(name, one) for name, one in zip(names, headings, strict=True)]
    cells = [[list(map(_plain, row)) for row in view.tolist()] for view in values]
    return CaseTable(columns, views, cells, rows)


def _shown_measures(measures: MeasureTable) -> list[str]:
    return sorted((name for name in measures.values if not name.startswith("tolerance")), key=place)


def _shown_cells(values: npt.NDArray[np.float64], headings: list[Heading]) -> list[str]:
    return [shown(float(value), one.digits) for value, one in zip(values, headings, strict=True)]


def _column(name: str, one: Heading) -> dict[str, Any]:
    return {
        "name": name,
        "title": one.title,
        "unit": one.unit,
        "digits": one.digits,
        "better": about_column(name).better,
        "definition": about_column(name).definition,
        "main": is_main(name),
        "words": False,
    }


def _digits(called: list[Heading], views: list[str]) -> list[Heading]:
    """With a decimal for means of counts."""
    return called if len(views) == 1 else [one if one.digits else one._replace(digits=1) for one in called]


def _label_means(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Mean over the labels for which a measure is defined, infinite where one is; NaN where none is defined."""
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore", divide="ignore"):
        means: npt.NDArray[np.float64] = np.where(known, values, 0).sum(axis=1) / known.sum(axis=1)
    return means


def _plain(value: float) -> float | str | None:
    if math.isnan(value):
        return None
    return float(f"{value:.5g}") if math.isfinite(value) else "inf"


def _cell(row: Mapping[str, Any], name: str, digits: int) -> Cell:
    value = row.get(name)
    return Cell(value, shown(value, digits))
