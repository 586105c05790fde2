"""Compare evaluations of the same cases."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.documents import read_mapping
from pipeline.errors import InputError
from pipeline.evaluation.comparison import Comparison, compare_tables
from pipeline.evaluation.measure_table import read_measures
from pipeline.evaluation.score_output import SUMMARY_FILE
from pipeline.sources.given import given_path

__all__ = ["compare"]

_ABOUT = ("subset", "medbundle", "bundle", "bundle_version", "weights_sha256", "datalist", "split_seed", "fold",
          "predictions", "references", "tolerance", "surface")  # fmt: skip

logger = logging.getLogger(__name__)


def compare(results: Sequence[Path], *, output: Path, measures: Sequence[str] | None = None) -> Comparison:
    """Compare the results of ``medbundle evaluate`` case by case: differences, tests, and a ranking.

    Args:
        results: two or more folders with ``metrics.csv``; the first is what the others are compared with first.
        output: gets ``comparison.csv``, ``comparison.json``, ``comparison.txt`` and ``ranking.csv``.
        measures: the columns of ``metrics.csv`` to compare; all that have a better side when absent.

    Returns:
        The comparison.

    Raises:
        InputError: see :func:`pipeline.evaluation.comparison.compare_tables`; or surfaces or tolerances differ.
    """
    folders = [given_path(folder) for folder in results]
    names = _names(folders)
    about = {name: _about(folder) for name, folder in zip(names, folders, strict=True)}
    for key in ("tolerance", "surface"):
        different = [name for name in names if about[name].get(key) != about[names[0]].get(key)]
        if different and all(about[name].get(key) is not None for name in (names[0], different[0])):
            got, expected = about[different[0]][key], about[names[0]][key]
            raise InputError(
                f"was scored with another {key} than {names[0]}", where=different[0], expected=expected, got=got
            )
    tables = {name: read_measures(folder) for name, folder in zip(names, folders, strict=True)}
    comparison = compare_tables(tables, measures=measures)
    files = comparison.write(given_path(output), about=about)
    logger.info("%s\nwrote %s", comparison.text(about=about), " and ".join(map(str, files)))
    return comparison


def _names(folders: Sequence[Path]) -> list[str]:
    """The folders' own names where those differ, else their paths."""
    names = [folder.resolve().name for folder in folders]
    if len(set(names)) == len(names):
        return names
    paths = [str(folder) for folder in folders]
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise InputError("one result is given twice", got=", ".join(paths))
    return paths


def _about(folder: Path) -> dict[str, Any]:
    """What the evaluation says of itself; nothing where only its table was kept."""
    file = (folder if folder.is_dir() else folder.parent) / SUMMARY_FILE
    content = read_mapping(file) if file.exists() else {}
    return {key: content[key] for key in _ABOUT if key in content}
