"""The scores of an evaluation, as a table that is written and shown."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.evaluation.provenance import about_text, provenance
from pipeline.evaluation.score_output import score_text, write_scores
from pipeline.evaluation.scores import Scores
from pipeline.sources.given import given_path

__all__ = ["ScoreTable", "report_scores"]

logger = logging.getLogger(__name__)


class ScoreTable(Scores):
    """Scores with a way to files and to people."""

    def write(self, folder: str | Path, *, about: Mapping[str, Any] | None = None) -> list[Path]:
        """Write ``dice.csv``, ``dice.json``, ``metrics.csv`` and ``summary.json``.

        Args:
            folder: made when needed.
            about: facts for the JSON files, such as the split and those of :func:`pipeline.evaluation.provenance`.
        """
        return write_scores(self, given_path(folder), about or {})

    def text(self) -> str:
        """The summary as a table for people: Dice, one line per label, and some of the other measures."""
        return score_text(self)


def report_scores(
    *,
    table: ScoreTable,
    failures: Mapping[str, str],
    folder: str | Path,
    subset: str,
    patients: Mapping[str, str] | None = None,
    bundle: str | Path | None = None,
    weights: str | Path | None = None,
    datalist: str | Path | None = None,
) -> dict[str, dict[str, float]]:
    """End an evaluation: count failed cases as 0, write the tables, log their summary, return that of the Dice.

    Args:
        table: the scores of the cases that were predicted.
        failures: the cases that were not, with the reason.
        folder: where ``dice.csv``, ``dice.json``, ``metrics.csv`` and ``summary.json`` go.
        subset: the name of the evaluated part of the data.
        patients: the patient of each case.
        bundle: see :func:`pipeline.evaluation.provenance`.
        weights: likewise.
        datalist: likewise.
    """
    table.add_missing(failures, patients=patients)
    about = {"subset": subset, **provenance(bundle=bundle, weights=weights, datalist=datalist)}
    files = table.write(folder, about=about)
    logger.info("%s\n%s\nwrote %s", about_text(about), table.text(), " and ".join(map(str, files)))
    return table.summary()
