"""No two files import each other, not even for the types alone: each can be read after those that it needs."""

from __future__ import annotations

import ast
from pathlib import Path

import pipeline

ROOT = Path(pipeline.__file__).parent


def _name(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imports() -> dict[str, set[str]]:
    files = {_name(path): path for path in ROOT.rglob("*.py")}
    found: dict[str, set[str]] = {}
    for name, path in files.items():
        wanted: set[str] = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                wanted |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                whole = {f"{node.module}.{alias.name}" for alias in node.names}
                wanted |= whole & files.keys() or {node.module}
        found[name] = (wanted & files.keys()) - {name}
    return found


def _reached(start: str, imports: dict[str, set[str]]) -> set[str]:
    seen: set[str] = set()
    todo = list(imports[start])
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            todo.extend(imports[name])
    return seen


def test_no_two_files_import_each_other() -> None:
    imports = _imports()
    assert len(imports) > 200
    assert [name for name in sorted(imports) if name in _reached(name, imports)] == []
