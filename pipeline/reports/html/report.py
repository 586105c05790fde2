"""One page that shows an evaluation: to be opened from disk, sent on, and printed."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

import pipeline
from pipeline.errors import InputError
from pipeline.evaluation.columns import about_column
from pipeline.evaluation.measure_table import METRICS_FILE, MeasureTable, read_measures
from pipeline.evaluation.score_output import SUMMARY_FILE
from pipeline.evaluation.tables import read_csv
from pipeline.reports.html.gallery import case_scores
from pipeline.reports.html.methods import methods_text
from pipeline.reports.html.plots import Curve, Strip, curve_plot, standalone, strip_plot
from pipeline.reports.html.tables import case_table, groups_table, label_cards, summary_table
from pipeline.reports.html.volumes import ViewedCase, pack_case
from pipeline.reports.html.wording import heading, place
from pipeline.writing import whole_file

__all__ = ["REPORT_FILE", "write_report"]

REPORT_FILE = "report.html"

_TEMPLATES = Path(__file__).with_name("templates")
_VOLUME_BYTES = 12_000_000  # of all viewed cases together, of base64
_MAX_CASE_BYTES = 1_500_000
_FACTS = {
    "subset": "Subset",
    "bundle": "Bundle",
    "bundle_version": "Bundle version",
    "weights": "Weights",
    "weights_sha256": "SHA-256 of the weights",
    "datalist": "Datalist",
    "predictions": "Predictions",
    "references": "References",
    "medpipe": "medpipe version",
}
_FILES = ("weights", "datalist", "predictions", "references")  # named without the folders that lead there
_ABSENT: dict[str, Any] = {
    "subset": None,
    "cases": 0,
    "patients": 0,
    **{key: {} for key in ("labels", "definitions", "conventions", "missing", "unscored", "notes", "tolerance")},
}
_LOSS, _RATE = "training_loss", "learning_rate"
_LEARNING = "learning_"


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
    root = Path(folder).expanduser()
    measures, summary = read_measures(root), _read_json(root / SUMMARY_FILE)
    if "dice" not in measures.values:
        raise InputError("has no column dice", where=root / METRICS_FILE)
    plots = {**_distributions(measures, summary), **_curves(curves)}
    _write_plots(root / "plots", plots)
    viewed, volumes = _viewed(cases, measures, summary)
    page = _template().render(
        title=title,
        summary=summary,
        plots=[plot for key, plot in plots.items() if not key.startswith(_LEARNING)],
        learning=[plot for key, plot in plots.items() if key.startswith(_LEARNING)],
        viewed=viewed,
        volumes=volumes,
        groups=groups_table(root / "groups.json"),
        methods=methods_text(summary) if methods is None else methods,
        **_tables(measures, summary, viewed),
        **_code(),
    )
    path = root / REPORT_FILE
    with whole_file(path) as temporary:
        temporary.write_text(page, encoding="utf-8", newline="\n")
    return path


def _write_plots(folder: Path, plots: Mapping[str, tuple[str, str]]) -> None:
    for key, (title, svg) in plots.items():
        with whole_file(folder / f"{key}.svg") as temporary:
            temporary.write_text(standalone(svg, title), encoding="utf-8")


def _tables(measures: MeasureTable, summary: Mapping[str, Any], viewed: list[dict[str, Any]]) -> dict[str, Any]:
    table = case_table(measures, summary, {case["name"]: n for n, case in enumerate(viewed)})
    definitions = [
        (heading(name).text, about_column(name).definition or words, about_column(name).better)
        for name, words in summary["definitions"].items()
    ]
    data = {
        "views": table.views,
        "columns": table.columns,
        "cells": table.cells,
        "cases": viewed,
        "rows": list(measures.cases),
        "labels": list(measures.labels),
    }
    return {
        "facts": _facts(summary),
        "cards": label_cards(summary),
        "summary_table": summary_table(summary),
        "table": table,
        "definitions": definitions,
        "data": data,
    }


def _code() -> dict[str, str]:
    """Style, script, the hash by which the page's policy knows the script as its own, and our version."""
    script = _text("report.js")
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest())
    return {
        "style": _text("report.css") + _text("plots.css"),
        "script": script,
        "script_hash": digest.decode("ascii"),
        "version": pipeline.__version__,
    }


def _template() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2")


def _text(name: str) -> str:
    return (_TEMPLATES / name).read_text(encoding="utf-8")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        cure = "Give the output folder of medpipe evaluate"
        raise InputError("cannot be read", where=path, got=error, cure=cure) from None
    if not isinstance(content, dict) or "summary" not in content:
        raise InputError("is no summary of an evaluation", where=path)
    return {**_ABSENT, **content}


def _facts(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    drawn = summary.get("bootstrap") or {}
    facts = [
        (words, Path(str(summary[key])).name if key in _FILES else str(summary[key]))
        for key, words in _FACTS.items()
        if summary.get(key)
    ]
    if drawn:
        level = f"{100 * float(drawn['level']):g} % {drawn['method']}"
        facts.append(("Intervals", f"{level}, {drawn['resamples']} draws of {drawn['drawn']}, seed {drawn['seed']}"))
    if summary.get("surface"):
        facts.append(("Surface", str(summary["surface"])))
    return facts


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


def _curves(path: str | Path | None) -> dict[str, tuple[str, str]]:
    """Loss and validation over the epochs of ``training.csv``."""
    if path is None:
        return {}
    rows = read_csv(Path(path).expanduser(), needed=["epoch", _LOSS])
    columns = list(rows[0]) if rows else []

    def curve(name: str, column: str) -> Curve:
        kept = [row for row in rows if row[column]]
        return Curve(name, *(np.array([float(row[key]) for row in kept]) for key in ("epoch", column)))

    try:
        curves = {name: curve(name, name) for name in columns[columns.index(_RATE) + 1 :] if name != "epoch"}
    except ValueError as error:
        raise InputError("is no table of a training", where=path, got=error) from None
    found = {}
    if _LOSS in curves and len(curves[_LOSS].x) > 1:
        found[f"{_LEARNING}loss"] = ("Training loss", curve_plot("loss", "Training loss", [curves[_LOSS]]))
    scores = [one for name, one in curves.items() if name != _LOSS and len(one.x) > 1]
    if scores:
        metric = scores[0].name.removeprefix("val_mean_").removeprefix("val_")
        named = [
            Curve("mean" if n == 0 else one.name.removeprefix(f"{metric}_"), one.x, one.y)
            for n, one in enumerate(scores)
        ]
        title = f"Validation {heading(metric).title}"
        found[f"{_LEARNING}validation"] = (title, curve_plot("validation", title, named))
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
