"""The file that says which case was in which part."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pipeline.writing import whole_file

__all__ = ["write_datalist"]


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
