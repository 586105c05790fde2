"""Draw ``docs/rooms.svg`` from the imports of the code: ``python docs/draw_rooms.py``."""

from __future__ import annotations

import ast
import re
from html import escape
from pathlib import Path

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "rooms.svg"

_ROW, _COLUMN, _MARGIN, _TOP = 34, 62, 450, 24
_BOX = 26  # the height of a room's box
_INK, _SOFT, _LINE, _FILL = "#1f2933", "#5f6c7b", "#3e7cb1", "#e8f0f8"
_FONT = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif"


def rooms() -> list[str]:
    """The rooms from top to bottom, as import-linter has them."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    layers = re.search(r'containers = \["pipeline"\].*?layers = \[(.*?)\]', text, re.DOTALL)
    names = re.findall(r"\w+", layers.group(1)) if layers else []
    return [name for name in names if _files(name)]


def arrows() -> set[tuple[str, str]]:
    """Which room imports which, inside functions too."""
    found, names = set(), rooms()
    for room in names:
        for file in _files(room):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                found |= {(room, other) for other in _imported(node) if other in names and other != room}
    return found


def _files(room: str) -> list[Path]:
    package = ROOT / "pipeline"
    return sorted((package / room).rglob("*.py")) or list(package.glob(f"{room}.py"))


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module is not None:
        names = [f"{node.module}.{alias.name}" for alias in node.names]
    else:
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
    return [name.split(".")[1] for name in names if name.startswith("pipeline.")]


def _about(room: str) -> str:
    """The first line of its docstring."""
    text = (ROOT / "pipeline" / room / "__init__.py", ROOT / "pipeline" / f"{room}.py")
    file = next(one for one in text if one.is_file())
    line = (ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or "").partition("\n")[0]
    return line.replace("`", "")


def draw() -> str:
    """The picture as SVG: a room's line runs right from its box, and ends in dots above the rooms that it imports."""
    names, drawn = rooms(), arrows()
    width, height = _MARGIN + _COLUMN * len(names) + 90, _TOP + _ROW * len(names) + 40
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="{_FONT}" font-size="12">',
        "<title>The rooms of pipeline, and which imports which</title>",
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    places = {name: (_MARGIN + _COLUMN * index, _TOP + _ROW * index) for index, name in enumerate(names)}
    for name, (x, y) in places.items():
        users = [places[user][1] for user, used in drawn if used == name]
        used = [places[other][0] for user, other in drawn if user == name]
        if users:
            lines.append(_stroke(x + _COLUMN / 2, min(users) + _BOX / 2, x + _COLUMN / 2, y))
        if used:
            lines.append(_stroke(x + _COLUMN / 2, y + _BOX / 2, max(used) + _COLUMN / 2, y + _BOX / 2))
    for user, used in sorted(drawn):
        lines.append(
            f'<circle cx="{places[used][0] + _COLUMN / 2}" cy="{places[user][1] + _BOX / 2}" r="4.5" fill="{_LINE}"/>'
        )
    for name, (x, y) in places.items():
        middle = y + _BOX / 2 + 4
        box = 20 + 8 * len(name)
        center = x + _COLUMN / 2
        left = center - box / 2
        lines += [
            f'<rect x="{left}" y="{y}" width="{box}" height="{_BOX}" rx="6" fill="{_FILL}" stroke="{_LINE}"/>',
            f'<text x="{center}" y="{middle}" text-anchor="middle" font-weight="600" fill="{_INK}">{name}</text>',
            f'<text x="12" y="{middle}" fill="{_SOFT}" font-size="11">{escape(_about(name))}</text>',
        ]
    end = height - 14
    legend = "A line runs right from each room; a dot on it stands above a room that it imports, which lies below."
    lines += [f'<text x="12" y="{end}" fill="{_INK}">{legend}</text>', "</svg>"]
    return "\n".join(lines) + "\n"


def _stroke(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<path d="M{x1} {y1}L{x2} {y2}" stroke="{_LINE}" stroke-opacity="0.45" stroke-width="1.5"/>'


if __name__ == "__main__":
    PICTURE.write_text(draw(), encoding="utf-8")
