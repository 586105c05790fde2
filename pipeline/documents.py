"""JSON and CSV files that others wrote, read with a word about what is wrong with them."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.errors import InputError

__all__ = ["read_csv", "read_json", "read_mapping"]

_MOST_BYTES = 2**28
_SHOWN = 60


def read_json(path: Path) -> Any:
    """Read a JSON file in UTF-8, with or without a byte order mark.

    Raises:
        InputError: it cannot be read, is too large, or is no JSON.
    """
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise InputError("is too large to be a document", where=path, expected=f"at most {_MOST_BYTES >> 20} MiB")
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InputError("cannot be read", where=path, got=error.strerror or error) from None
    except RecursionError:
        raise InputError("is not valid JSON", where=path, got="lists in lists without end") from None
    except ValueError as error:
        raise InputError("is not valid JSON", where=path, got=" ".join(str(error).split())[:_SHOWN]) from None


def read_mapping(path: Path) -> dict[str, Any]:
    """Read a JSON file that holds a mapping.

    Raises:
        InputError: see :func:`read_json`; or it holds something else.
    """
    content = read_json(path)
    if not isinstance(content, dict):
        raise InputError("is no mapping", where=path, expected="{...}", got=type(content).__name__)
    return content


def read_csv(path: Path, *, needed: Sequence[str] = ()) -> list[dict[str, str]]:
    """Read a table with a header.

    Args:
        path: comma-separated, UTF-8 with or without a byte order mark.
        needed: columns that it must have.

    Raises:
        InputError: it cannot be read, or a column is missing.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns, rows = list(reader.fieldnames or []), [{k: v or "" for k, v in row.items() if k} for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error, AttributeError) as error:
        raise InputError("cannot be read", where=path, expected="a CSV table", got=error) from None
    missing = [name for name in needed if name not in columns]
    if missing:
        raise InputError(f"has no column {missing[0]}", where=path, got=", ".join(columns) or "an empty file")
    return rows
