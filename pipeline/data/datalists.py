"""The file that says which case was in which part."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pipeline.documents import read_mapping
from pipeline.errors import InputError
from pipeline.writing import whole_file

__all__ = ["read_datalist", "write_datalist"]

_EXPECTED = '{"name": "a case", "image": "a path", ..., "fold": 0}'
_MOST_DIGITS, _SHOWN = 6, 60


def read_datalist(path: Path) -> dict[str, Any]:
    """Read what :func:`write_datalist` wrote, perhaps edited: folds are whole numbers, and names are texts.

    Returns:
        The content; the entries of ``test`` and ``training`` have a ``name``, and those of ``training`` a ``fold``.

    Raises:
        InputError: it cannot be read, or is no datalist; names the entry.
    """
    content = read_mapping(path)
    fold = content.get("fold")
    if fold is not None and fold != "all":
        if not _is_number(fold):
            raise InputError("fold is no fold", where=path, expected="a number or all", got=repr(fold)[:_SHOWN])
        content["fold"] = int(fold)
    names = set[str]()
    for part in ("test", "training"):
        if not isinstance(content.get(part), list):
            got = type(content.get(part)).__name__
            raise InputError("is not a datalist", where=path, expected=f"a list {part}", got=got)
        for number, entry in enumerate(content[part], start=1):
            wrong = _wrong(entry, names, folded=part == "training")
            if wrong:
                raise InputError(f"is not a datalist: entry {number} of {part} {wrong}", where=path, expected=_EXPECTED)
            names.add(entry["name"])
            _set_fold(entry, folded=part == "training")
    return content


def _wrong(entry: Any, known: set[str], *, folded: bool) -> str | None:
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        return "has no name"
    if entry["name"] in known:
        return "names a case again"
    odd = [key for key in ("patient", "content") if not isinstance(entry.get(key), str | None)]
    if odd:
        return f"has a {odd[0]} that is no text"
    return "has no fold" if folded and not _is_number(entry.get("fold")) else None


def _set_fold(entry: dict[str, Any], *, folded: bool) -> None:
    fold = entry.pop("fold", None)
    if folded:
        entry["fold"] = int(fold)


def _is_number(value: Any) -> bool:
    """Whether it is a whole number, or its digits."""
    if isinstance(value, str):
        return value.isdecimal() and len(value) <= _MOST_DIGITS
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def write_datalist(path: Path, content: dict[str, Any]) -> None:
    """Write a datalist, see :class:`pipeline.data.DataSplit`, whole or not at all.

    Raises:
        InputError: the file cannot be written.
    """
    with whole_file(path) as temporary:
        temporary.write_text(_one_line_each(content), encoding="utf-8")


def _one_line_each(content: dict[str, Any]) -> str:
    """JSON with a line per case, which people can read and version control can compare."""
    fields = []
    for key, value in content.items():
        listed = isinstance(value, list) and len(value) > 0
        text = "[\n  " + ",\n  ".join(map(json.dumps, value)) + "\n ]" if listed else json.dumps(value)
        fields.append(f" {json.dumps(key)}: {text}")
    return "{\n" + ",\n".join(fields) + "\n}\n"
