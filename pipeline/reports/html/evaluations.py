"""The end of an evaluation: its page, with the worst and the median cases to look at."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pipeline.evaluation.folders import FolderPairs
from pipeline.evaluation.pairing import LabelPairing
from pipeline.evaluation.score_table import ScoreTable
from pipeline.reports.html.gallery import CaseGallery, choose_cases, find_images, folder_cases
from pipeline.reports.html.learning import find_curves
from pipeline.reports.html.report import write_report

__all__ = ["report_evaluation", "report_folders"]

logger = logging.getLogger(__name__)


def report_evaluation(
    *,
    table: ScoreTable,
    gallery: CaseGallery,
    folder: str | Path,
    cases: Iterable[Mapping[str, Any]] = (),
    weights: str | Path | None = None,
    title: str = "Segmentation evaluation",
) -> Path | None:
    """Write the page of a scored bundle.

    Args:
        table: the scores, already written to ``folder``.
        gallery: the label maps of the scored cases.
        folder: with ``metrics.csv`` and ``summary.json``; gets ``report.html`` and ``plots``.
        cases: ``name`` and ``image`` (a file or folder, or several) of each case.
        weights: the file of the weights; the learning curves are looked for beside it, see
            :func:`pipeline.reports.html.find_curves`.
        title: of the page.

    Returns:
        The page; None where no case was scored.

    Raises:
        InputError: see :func:`pipeline.reports.html.write_report`.
    """
    if not table.cases or not table.labels:
        return None
    chosen = choose_cases(table.measures(), without=table.missing)
    images = {str(case["name"]): case["image"] for case in cases if case.get("name") in chosen}
    curves = None if weights is None else find_curves(weights)
    path = write_report(folder, cases=gallery.cases(chosen, images), curves=curves, title=title)
    logger.info("wrote %s", path)
    return path


def report_folders(
    *,
    table: ScoreTable,
    found: FolderPairs,
    folder: str | Path,
    images: Path | None = None,
    pairing: LabelPairing | None = None,
    title: str = "Segmentation evaluation",
) -> Path | None:
    """Write the page of two scored folders of label maps, which are read again for the cases that are shown.

    Args:
        table: the scores, already written to ``folder``.
        found: the folders.
        folder: with ``metrics.csv`` and ``summary.json``; gets ``report.html`` and ``plots``.
        images: a folder with the image of each case; without it, outlines are drawn on black.
        pairing: see :func:`pipeline.reports.html.folder_cases`.
        title: of the page.

    Returns:
        The page; None where no case was scored.

    Raises:
        InputError: there is no such folder of images; see also :func:`pipeline.reports.html.write_report`.
    """
    if not table.cases or not table.labels:
        return None
    chosen = choose_cases(table.measures(), without=table.missing)
    shown = folder_cases(found, chosen, None if images is None else find_images(images), pairing)
    path = write_report(folder, cases=shown, title=title)
    logger.info("wrote %s", path)
    return path
