"""The end of an evaluation or an inference of a classifier."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.errors import shown
from pipeline.evaluation import ClassificationTable, provenance
from pipeline.reports.figures import Picture, draw_confusion, draw_contact_sheet
from pipeline.sources.given import given_path
from pipeline.sources.paths import first_of

__all__ = ["report_classification", "report_predictions"]

logger = logging.getLogger(__name__)

_MAX_ROWS = 20


def report_classification(
    *,
    table: ClassificationTable,
    failures: Mapping[str, str],
    folder: str | Path,
    subset: str,
    references: Mapping[str, int | Sequence[int]] | None = None,
    patients: Mapping[str, str] | None = None,
    cases: Sequence[Mapping[str, Any]] | None = None,
    bundle: str | Path | None = None,
    weights: str | Path | None = None,
    datalist: str | Path | None = None,
) -> dict[str, dict[str, Any]]:
    """End an evaluation: count failed cases as wrong, write and draw the table, log its summary, return it.

    Args:
        table: the cases that were predicted.
        failures: the cases that were not, with the reason.
        folder: where ``probabilities.csv``, ``classification.json``, ``confusion.csv`` and ``confusion.png`` go.
        subset: the name of the evaluated part of the data.
        references: the class of each case, as :meth:`ClassificationTable.add` takes it; without it failed cases are
            only named.
        patients: the patient of each case.
        cases: ``name`` and ``image`` (a file) of each case, to draw ``predictions.png``: the surest mistakes first.
        bundle: see :func:`pipeline.evaluation.provenance`.
        weights: likewise.
        datalist: likewise.
    """
    root = given_path(folder)
    table.add_missing(failures, references, patients=patients)
    made_by = provenance(bundle=bundle, weights=weights, datalist=datalist)
    files = table.write(root, about={"subset": subset, **made_by})
    judged = table.judged()
    if judged is not None:
        confusion = root / "confusion.png"
        title = f"{subset} ({len(judged.truth)} cases)"
        draw_confusion(judged.confusion(), table.classes, confusion, title, calibration=judged.calibration())
        files.append(confusion)
    pictures = _pictures(table, cases or [])
    pictures.sort(key=lambda picture: (picture.right is not False, -max(picture.probabilities.values())))
    sheet = root / "predictions.png"
    wrong = any(picture.right is False for picture in pictures)
    if draw_contact_sheet(pictures, sheet, title=f"{subset}: the surest mistakes first" if wrong else subset):
        files.append(sheet)
    logger.info("subset %s\n%s\nwrote %s", subset, table.text(), " and ".join(map(str, files)))
    return table.summary()


def report_predictions(
    *,
    table: ClassificationTable,
    failures: Mapping[str, str],
    folder: str | Path,
    cases: Sequence[Mapping[str, Any]],
) -> list[Path]:
    """End an inference: write ``probabilities.csv`` and ``predictions.png``, log the first predictions.

    Args:
        table: the cases that were predicted.
        failures: the cases that were not, with the reason.
        folder: where the files go.
        cases: ``name`` and ``image`` (a file, or several of which the first is drawn) of each case.

    Returns:
        The written files. There is no picture where no case is a picture that can be drawn, as with volumes.
    """
    root = given_path(folder)
    table.add_missing(failures)
    files = table.write(root)
    sheet = root / "predictions.png"
    if draw_contact_sheet(_pictures(table, cases), sheet):
        files.append(sheet)
    logger.info("%s\nwrote %s", _prediction_text(table), " and ".join(map(str, files)))
    return files


def _pictures(table: ClassificationTable, cases: Sequence[Mapping[str, Any]]) -> list[Picture]:
    pictures = []
    for case in cases:
        name, image = case["name"], case["image"]
        known = table.cases.get(name)
        if known is None or known.missing is not None:
            continue
        pictures.append(
            Picture(
                name=name,
                file=first_of(image)[0],
                probabilities=dict(zip(table.classes, known.probabilities.tolist(), strict=True)),
                predicted=tuple(k for k, chosen in zip(table.classes, table.decision(name), strict=True) if chosen),
                reference=table.reference(name),
                right=table.right(name),
            )
        )
    return pictures


def _prediction_text(table: ClassificationTable) -> str:
    rows = []
    for name, case in sorted(table.cases.items()):
        if case.missing is not None:
            rows.append((shown(name), f"no prediction: {case.missing}", ""))
            continue
        chosen = table.decision(name)
        values = case.probabilities[chosen] if chosen.any() else case.probabilities.max(keepdims=True)
        rows.append((shown(name), table.predicted(name) or "none", "; ".join(f"{value:.3f}" for value in values)))
    told = [("case", "predicted", "probability"), *rows[:_MAX_ROWS]]
    widths = [max(len(row[column]) for row in told) for column in (0, 1)]
    lines = [f"{name:<{widths[0]}}  {chosen:<{widths[1]}}  {value}".rstrip() for name, chosen, value in told]
    if len(rows) > _MAX_ROWS:
        lines.append(f"and {len(rows) - _MAX_ROWS} more")
    return "\n".join(lines)
