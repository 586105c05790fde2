"""The end of a classification's evaluation: its page, with the most confident mistakes to look at."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.evaluation.classification.curves import ClassCurves, class_bins, class_curves, positive_classes
from pipeline.evaluation.classification.summary import CLASS_DEFINITIONS
from pipeline.evaluation.classification.table import ClassificationTable
from pipeline.evaluation.score_output import SUMMARY_FILE
from pipeline.metrics.calibration import CalibrationBins
from pipeline.reports.html.classification.methods import class_methods_text
from pipeline.reports.html.classification.mistakes import Decision, MapDrawer, choose_decisions
from pipeline.reports.html.classification.plots import calibration_plot, confusion_plot, recall_plot, roc_plot
from pipeline.reports.html.classification.tables import (
    KINDS,
    class_case_table,
    class_heading,
    class_table,
    confusion,
    confusion_rows,
    overall_cards,
)
from pipeline.reports.html.learning import find_curves, learning_plots
from pipeline.reports.html.page import facts_of, read_summary, write_page, write_plots
from pipeline.reports.html.wording import shown
from pipeline.sources.given import given_path

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ["report_classes"]

logger = logging.getLogger(__name__)

_OF_REFERENCE = 2  # the column of the probability of the reference
_Plots = dict[str, tuple[str, str]]
_Measures = Mapping[str, Mapping[str, float]]


def report_classes(
    *,
    table: ClassificationTable,
    folder: str | Path,
    cases: Iterable[Mapping[str, Any]] = (),
    network: nn.Module | None = None,
    preprocessing: Callable[..., Any] | None = None,
    device: torch.device | str = "cpu",
    weights: str | Path | None = None,
    title: str = "Classification evaluation",
) -> Path | None:
    """Write the page of a scored classification.

    Args:
        table: all cases, already written to ``folder``.
        folder: with ``summary.json``; gets ``report.html`` and ``plots``.
        cases: ``name`` and ``image`` (a file or folder, or several) of each case, and what the preprocessing wants.
        network: with its weights, for Grad-CAM maps; None shows mistakes without.
        preprocessing: of one case, invertible.
        device: of the network.
        weights: the file of the weights; the learning curves are looked for beside it, see
            :func:`pipeline.reports.html.find_curves`.
        title: of the page.

    Returns:
        The page; None where no case has a reference.

    Raises:
        InputError: ``summary.json`` cannot be read, or a file cannot be written.
    """
    if not table.judged_names():
        return None
    root = given_path(folder)
    summary = read_summary(root / SUMMARY_FILE)
    learning = learning_plots(None if weights is None else find_curves(weights))
    plots = _drawn(table, _numbers(summary["summary"]["classes"]))
    matrix = confusion(table)
    drawn = {} if matrix is None else {"confusion": ("Confusion matrix", confusion_plot(matrix))}
    write_plots(
        root / "plots", {key: plot for group in (*plots.values(), drawn, learning) for key, plot in group.items()}
    )
    pictures = _pictures(table, cases, MapDrawer(network=network, preprocessing=preprocessing, device=device))
    path = write_page(
        root,
        "classification.html.j2",
        scripts=("page.js",),
        title=title,
        pictures=pictures,
        matrix=matrix,
        matrix_rows=[] if matrix is None else confusion_rows(matrix),
        learning=list(learning.values()),
        **{group: list(found.values()) for group, found in plots.items()},
        **_results(table, summary),
        **_words(summary, maps=any(one["drawn"].mapped for one in pictures)),
        **_cases(table, pictures),
    )
    logger.info("wrote %s", path)
    return path


def _results(table: ClassificationTable, summary: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers of the summary, and how many cases were judged and wrong."""
    judged, measures = len(table.judged_names()), _numbers(summary["summary"]["classes"])
    overall = _numbers(summary["summary"]["overall"])
    if len(measures) == 1:  # the positive class says more than the mean with its opposite
        of_class = next(iter(measures.values()))
        means = {"f1_macro": "f1", "roc_auc_macro": "roc_auc"}
        overall = {
            means.get(name, name): of_class[means[name]] if name in means else row for name, row in overall.items()
        }
    return {
        "summary": summary,
        "judged": judged,
        "mistakes": sum(table.right(name) is False and case.missing is None for name, case in table.cases.items()),
        "binary": len(measures) == 1,
        "cards": overall_cards(overall),
        "classes": class_table(measures, summary["classes"], judged),
        "without_curve": _without_curve(table, summary["classes"]),
    }


def _without_curve(table: ClassificationTable, counts: Mapping[str, int]) -> list[tuple[str, str]]:
    """The classes that lack a curve, and why."""
    total, found = len(table.judged_names()), []
    for name in (table.classes[k] for k in positive_classes(table)):
        if not counts[name]:
            found.append((name, "no case is of this class, so it has no curves"))
        elif counts[name] == total:
            found.append((name, "every case is of this class, so it has no ROC curve"))
    return found


def _drawn(table: ClassificationTable, measures: Mapping[str, _Measures]) -> dict[str, _Plots]:
    """ROC, precision-recall and calibration plots, each by the name of its file."""
    curves = class_curves(table)
    roc, recall = _curve_plots(curves, measures)
    calibration = _calibration_plots(class_bins(table), measures)
    return {"roc": roc, "recall": recall, "calibration": calibration}


def _numbers(content: Any) -> Any:
    """The same with NaN for null."""
    if isinstance(content, Mapping):
        return {key: _numbers(item) for key, item in content.items()}
    return math.nan if content is None else content


def _curve_plots(curves: list[ClassCurves], measures: Mapping[str, _Measures]) -> tuple[_Plots, _Plots]:
    """The ROC and the precision-recall curves of the classes that have them."""
    roc: _Plots = {}
    recall: _Plots = {}
    for n, one in enumerate(curves):
        found = measures[one.name]
        if one.roc is not None:
            title = f"{one.name}: AUC {_with_interval(found['roc_auc'])}"
            roc[f"roc_{n}"] = (title, roc_plot(f"roc-{n}", one))
        if one.recall is not None:
            title = f"{one.name}: AP {_with_interval(found['average_precision'])}"
            recall[f"precision_recall_{n}"] = (title, recall_plot(f"pr-{n}", one))
    return roc, recall


def _calibration_plots(bins: Mapping[str, CalibrationBins], measures: Mapping[str, _Measures]) -> _Plots:
    plots: _Plots = {}
    for n, (name, one) in enumerate(bins.items()):
        if not one.counts.size:
            continue
        words = f"{name or 'Confidence in the decision'}: error {shown(one.error, 3)}"
        words += f", Brier {_with_interval(measures[name]['brier'])}" if name else ""
        key = f"calibration_{n - 1}" if name else "calibration"
        plots[key] = (words, calibration_plot(key, name or "confidence in the decision", one))
    return plots


def _with_interval(row: Mapping[str, float]) -> str:
    value, low, high = (shown(row[key], 3) for key in ("value", "low", "high"))
    return value if math.isnan(row["low"]) else f"{value} ({low} to {high})"


def _pictures(table: ClassificationTable, cases: Iterable[Mapping[str, Any]], draw: MapDrawer) -> list[dict[str, Any]]:
    """What the page says of each decision that is looked at, with its picture; those without one are left out."""
    known = {str(case["name"]): case for case in cases}
    found: list[dict[str, Any]] = []
    for decision in choose_decisions(table):
        drawn = draw(known[decision.name], decision.number) if decision.name in known else None
        if drawn is not None:
            facts = _facts(table, decision)
            found.append({"anchor": f"picture-{len(found)}", "drawn": drawn, **facts})
    return found


def _facts(table: ClassificationTable, decision: Decision) -> dict[str, Any]:
    p = table.cases[decision.name].probabilities.tolist()
    several = table.multi_label
    reference = table.reference(decision.name) or "none"
    return {
        "name": decision.name,
        "reference": reference,
        "of_reference": None if several else p[table.classes.index(reference)],
        "predicted": table.predicted(decision.name) or "none",
        "of_predicted": None if several else p[decision.number],
        "mapped_class": table.classes[decision.number],
        "of_mapped": p[decision.number],
    }


def _words(summary: Mapping[str, Any], *, maps: bool) -> dict[str, Any]:
    named = [
        (class_heading(name)[0], CLASS_DEFINITIONS.get(name, words), class_heading(name)[1])
        for name, words in summary["definitions"].items()
    ]
    return {
        "facts": facts_of(summary),
        "maps": maps,
        "methods": class_methods_text(summary, maps=maps),
        "definitions": named,
        "definitions_of": "Definition of each measure of summary.json",
    }


def _cases(table: ClassificationTable, pictures: list[dict[str, Any]]) -> dict[str, Any]:
    found = class_case_table(table, {one["name"]: one["anchor"] for one in pictures})
    kinds = {row["kind"] for row in found.rows}
    data = {
        "views": found.views,
        "columns": found.columns,
        "first": _OF_REFERENCE,
        "cells": found.cells,
        "rows": sorted(table.cases),
    }
    return {"table": found, "data": data, "kinds": [kind for kind in KINDS if kind in kinds]}
