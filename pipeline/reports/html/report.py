"""One page that shows an evaluation: to be opened from disk, sent on, and printed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import InputError
from pipeline.evaluation.columns import about_column
from pipeline.evaluation.measure_table import METRICS_FILE, MeasureTable, read_measures
from pipeline.evaluation.score_output import SUMMARY_FILE
from pipeline.reports.html.gallery import case_scores
from pipeline.reports.html.learning import learning_plots
from pipeline.reports.html.methods import methods_text
from pipeline.reports.html.page import facts_of, read_summary, write_page, write_plots
from pipeline.reports.html.plots import Strip, strip_plot
from pipeline.reports.html.tables import case_table, groups_table, label_cards, summary_table
from pipeline.reports.html.volumes import ViewedCase, pack_case
from pipeline.reports.html.wording import heading, place
from pipeline.sources.given import given_path

__all__ = ["write_report"]

_VOLUME_BYTES = 12_000_000  # of all viewed cases together, of base64
_MAX_CASE_BYTES = 1_500_000
_ABSENT: dict[str, Any] = {
    "subset": None,
    "cases": 0,
    "patients": 0,
    **{key: {} for key in ("labels", "definitions", "conventions", "missing", "unscored", "notes", "tolerance")},
}


def write_report(
    folder: str | Path,
    *,
    cases: Iterable[ViewedCase] = (),
    curves: str | Path | None = None,
    title: str = "Segmentation evaluation",
    methods: str | None = None,
) -> Path:
    """Write ``report.html`` and ``plots/*.svg`` beside the tables of an evaluation.

    The page needs nothing but itself: no network, no other file. It names cases as ``metrics.csv`` does, and no
    patient.

    Args:
        folder: with ``metrics.csv`` and ``summary.json``; ``groups.json`` is taken too where it is there.
        cases: for the slice viewer, asked for one by one; see :func:`pipeline.reports.html.choose_cases`.
        curves: ``training.csv`` of the training, or None.
        title: of the page.
        methods: the text for a methods section; made from ``summary.json`` when None.

    Returns:
        The page.

    Raises:
        InputError: a table is missing or cannot be read, or a file cannot be written.
    """
    root = given_path(folder)
    measures, summary = read_measures(root), {**_ABSENT, **read_summary(root / SUMMARY_FILE)}
    if "dice" not in measures.values:
        raise InputError("has no column dice", where=root / METRICS_FILE)
    plots, learning = _distributions(measures, summary), learning_plots(curves)
    write_plots(root / "plots", {**plots, **learning})
    viewed, volumes = _viewed(cases, measures, summary)
    return write_page(
        root,
        "segmentation.html.j2",
        scripts=("page.js", "slices.js"),
        title=title,
        summary=summary,
        plots=list(plots.values()),
        learning=list(learning.values()),
        viewed=viewed,
        volumes=volumes,
        groups=groups_table(root / "groups.json"),
        methods=methods_text(summary) if methods is None else methods,
        **_tables(measures, summary, viewed),
    )


def _tables(measures: MeasureTable, summary: Mapping[str, Any], viewed: list[dict[str, Any]]) -> dict[str, Any]:
    table = case_table(measures, summary, {case["name"]: n for n, case in enumerate(viewed)})
    definitions = [
        (heading(name).text, about_column(name).definition or words, about_column(name).better)
        for name, words in summary["definitions"].items()
    ]
    data = {
        "views": table.views,
        "columns": table.columns,
        "first": next(n for n, column in enumerate(table.columns) if column["name"] == "dice"),
        "cells": table.cells,
        "cases": viewed,
        "rows": list(measures.cases),
        "labels": list(measures.labels),
    }
    return {
        "facts": facts_of(summary),
        "cards": label_cards(summary),
        "summary_table": summary_table(summary),
        "table": table,
        "definitions": definitions,
        "definitions_of": "Definition of each column of metrics.csv",
        "data": data,
    }


def _distributions(measures: MeasureTable, summary: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Title and plot of each measure with a direction and of the sizes' differences, the main ones first."""
    columns = [name for name in measures.values if about_column(name).better and not name.startswith("tolerance")]
    columns.sort(key=place)
    found = {}
    for column in columns:
        called = heading(column)
        strips = []
        for k, label in enumerate(measures.labels):
            row = summary["summary"].get(label, {}).get(column, {})
            ends = (row.get("mean"), row.get("low"), row.get("high"))
            strips.append(Strip(label, measures.values[column][:, k], *ends))
        bounded = not called.unit and called.digits > 0
        svg = strip_plot(column, called.text, strips, digits=called.digits, bounded=bounded)
        found[column] = (called.text, svg)
    return found


def _viewed(
    cases: Iterable[ViewedCase], measures: MeasureTable, summary: Mapping[str, Any]
) -> tuple[list[dict[str, Any]], list[str]]:
    """What the page says of each viewed case, and its voxels."""
    labels = [int(value) for value in summary.get("labels", {})]
    scores = case_scores(measures)
    rank = {measures.cases[n]: place for place, n in enumerate(np.argsort(scores, kind="stable"), start=1)}
    row_of = {name: n for n, name in enumerate(measures.cases)}
    facts: list[dict[str, Any]] = []
    volumes: list[str] = []
    left = _VOLUME_BYTES
    for case in cases:
        if case.name not in row_of:
            raise InputError("is no evaluated case", where=case.name)
        packed = pack_case(case, labels, max_bytes=min(_MAX_CASE_BYTES, max(left // 4, 50_000)))
        left -= len(packed.voxels)
        volumes.append(packed.voxels)
        row = row_of[case.name]
        facts.append({"name": case.name, "kind": case.kind, "row": row, "rank": rank[case.name],
                      "score": round(float(scores[row]), 6), **packed.facts})  # fmt: skip
    return facts, volumes
