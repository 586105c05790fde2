"""Tables on disk and in text."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from pipeline.writing import whole_file

__all__ = ["aligned", "number", "without_nan", "write_csv", "write_json", "written"]


@contextmanager
def written(path: Path) -> Iterator[TextIO]:
    """A file for a table, whole or absent; what is no text in a name is escaped.

    Raises:
        InputError: it cannot be written.
    """
    with (
        whole_file(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file,
    ):
        yield file


def write_csv(path: Path, rows: Iterable[Sequence[Any]]) -> Path:
    """Write rows, the header among them; floats keep nine digits, and say ``inf`` and ``nan``."""
    with written(path) as file:
        csv.writer(file).writerows([f"{v:.9g}" if isinstance(v, float) else v for v in row] for row in rows)
    return path


def write_json(path: Path, content: Mapping[str, Any]) -> Path:
    """Write JSON; it knows neither NaN nor infinity, which become null."""
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(without_nan(content), indent=1, allow_nan=False) + "\n", encoding="utf-8")
    return path


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of columns, the first to the left and the others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]


def number(value: float) -> str:
    """Four decimals; a dash for what is not defined."""
    return "-" if math.isnan(value) else f"{value:.4f}"


def without_nan(value: Any) -> Any:
    """The same with null for each number that is not finite."""
    if isinstance(value, Mapping):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
