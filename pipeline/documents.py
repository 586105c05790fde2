"""Files of JSON, YAML and CSV that others wrote, read with a word about what is wrong with them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pipeline.errors import InputError

__all__ = ["read_csv", "read_json", "read_mapping", "read_text", "read_yaml"]

_MOST_BYTES = 2**28
_MOST_BYTES_OF_YAML = 2**20  # of which a mebibyte takes seconds
_MOST_NODES = 2**20
_DEEPEST, _ENDLESS = 64, "lists in lists without end"
_SHOWN = 100


def read_text(path: Path, *, cure: str | None = None, most_bytes: int = _MOST_BYTES) -> str:
    """Read a text in UTF-8, with or without a byte order mark; its line ends stay.

    Args:
        path: the file.
        cure: what the user can do where it cannot be read.
        most_bytes: of a larger file nothing is read.

    Raises:
        InputError: it cannot be read, is too large, or is no such text.
    """
    try:
        size = path.stat().st_size
        if size > most_bytes:
            expected = f"at most {most_bytes / 2**20:g} MiB"
            raise InputError("is too large", where=path, expected=expected, got=f"{size / 2**20:.0f} MiB", cure=cure)
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise InputError("cannot be read", where=path, got=error.strerror or error, cure=cure) from None
    except UnicodeDecodeError:
        raise InputError("is no text in UTF-8", where=path, cure=cure or "Save it in that encoding") from None


def read_json(path: Path, *, cure: str | None = None) -> Any:
    """Read a JSON file; for the arguments see :func:`read_text`.

    Raises:
        InputError: see :func:`read_text`; or it is no JSON.
    """
    content = _parsed(path, read_text(path, cure=cure), json.loads, "JSON", cure)
    _check_depth(content, path, "JSON", cure)
    return content


def read_mapping(path: Path, *, cure: str | None = None) -> dict[str, Any]:
    """Read a JSON file that holds a mapping; for the arguments see :func:`read_text`.

    Raises:
        InputError: see :func:`read_json`; or it holds something else.
    """
    content = read_json(path, cure=cure)
    if not isinstance(content, dict):
        raise InputError("is no mapping", where=path, expected="{...}", got=type(content).__name__, cure=cure)
    return content


def read_yaml(path: Path) -> Any:
    """Read a YAML file of plain values.

    Raises:
        InputError: see :func:`read_text`; or it is no YAML, or names Python's objects.
    """
    import yaml

    content = _parsed(path, read_text(path, most_bytes=_MOST_BYTES_OF_YAML), yaml.safe_load, "YAML", None)
    if _nodes(content, {}) > _MOST_NODES:
        raise InputError("is too large where its aliases are followed", where=path)
    _check_depth(content, path, "YAML", None)
    return content


def _nodes(content: Any, known: dict[int, int]) -> int:
    """How many values there are where each alias is written out; infinitely many where one contains itself."""
    if not isinstance(content, list | dict):
        return 1
    if id(content) not in known:
        known[id(content)] = _MOST_NODES + 1  # as long as it is not counted
        inner = content.values() if isinstance(content, dict) else content
        known[id(content)] = 1 + sum(_nodes(one, known) for one in inner)
    return known[id(content)]


def _parsed(path: Path, text: str, parse: Callable[[str], Any], form: str, cure: str | None) -> Any:
    try:
        return parse(text)
    except RecursionError:
        got = _ENDLESS
    except Exception as error:  # noqa: BLE001 - PyYAML raises more than its own, of keys that are lists or of dates
        got = " ".join(str(error).split())[:_SHOWN] or type(error).__name__
    raise InputError(f"is not valid {form}", where=path, got=got, cure=cure)


def _check_depth(content: Any, path: Path, form: str, cure: str | None) -> None:
    """Refuse what is nested deeper than any document is, so that whoever follows it needs not mind."""
    level = [content]
    for _ in range(_DEEPEST):
        nested = [one for one in level if isinstance(one, list | dict)]
        level = [inner for one in nested for inner in (one.values() if isinstance(one, dict) else one)]
        if not level:
            return
    raise InputError(f"is not valid {form}", where=path, got=_ENDLESS, cure=cure)


def read_csv(path: Path, *, needed: Sequence[str] = ()) -> list[dict[str, str]]:
    """Read a table of comma-separated values with a header; cells that a row lacks are empty.

    Args:
        path: the file.
        needed: columns that it must have.

    Raises:
        InputError: see :func:`read_text`; or it is no table, or a column is missing.
    """
    try:
        reader = csv.DictReader(io.StringIO(read_text(path), newline=""))
        columns, rows = list(reader.fieldnames or []), [{k: v or "" for k, v in row.items() if k} for row in reader]
    except csv.Error as error:
        raise InputError("cannot be read", where=path, expected="a CSV table", got=error) from None
    missing = [name for name in needed if name not in columns]
    if missing:
        got = ", ".join(columns)[:_SHOWN] or "an empty file"
        raise InputError(f"has no column {missing[0]}", where=path, got=got)
    return rows
