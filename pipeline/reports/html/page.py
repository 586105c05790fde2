"""What every page of an evaluation has in common: its file, its code, and the facts at its head."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

import pipeline
from pipeline.documents import read_mapping
from pipeline.errors import InputError
from pipeline.reports.html.drawing import standalone
from pipeline.writing import whole_file

__all__ = ["REPORT_FILE", "facts_of", "read_summary", "write_page", "write_plots"]

REPORT_FILE = "report.html"

_TEMPLATES = Path(__file__).with_name("templates")
_STYLES = ("page.css", "plots.css")
_FACTS = {
    "subset": "Subset",
    "bundle": "Bundle",
    "bundle_version": "Bundle version",
    "weights": "Weights",
    "weights_sha256": "SHA-256 of the weights",
    "datalist": "Datalist",
    "predictions": "Predictions",
    "references": "References",
    "medbundle": "medbundle version",
}
_SHOWN = 80
_FILES = ("weights", "datalist", "predictions", "references")  # named without the folders that lead there


class _Bootstrap(BaseModel):
    level: float
    method: str
    resamples: int
    drawn: str
    seed: int


class _Summary(BaseModel):
    """The shape of what both kinds of ``summary.json`` have in common."""

    summary: dict[str, dict[str, dict[str, Any]]]
    definitions: dict[str, str] = {}
    labels: dict[str, str] = {}
    tolerance: dict[str, float] | None = None
    bootstrap: _Bootstrap | None = None


def write_page(folder: Path, template: str, *, scripts: Sequence[str], **content: Any) -> Path:
    """Fill a template and write ``report.html``.

    Args:
        folder: where it goes.
        template: its file, an extension of ``page.html.j2``.
        scripts: files that are joined to the one script of the page.
        content: what the template asks for.

    Returns:
        The page.

    Raises:
        InputError: it cannot be written.
    """
    page = _template(template).render(**content, **_code(scripts))
    path = folder / REPORT_FILE
    with whole_file(path) as temporary:
        temporary.write_text(page, encoding="utf-8", errors="backslashreplace", newline="\n")
    return path


def write_plots(folder: Path, plots: Mapping[str, tuple[str, str]]) -> None:
    """Write each plot as an SVG file.

    Args:
        folder: made when needed.
        plots: title and ``svg`` element by the name of the file.

    Raises:
        InputError: a file cannot be written.
    """
    for key, (title, svg) in plots.items():
        with whole_file(folder / f"{key}.svg") as temporary:
            temporary.write_text(standalone(svg, title), encoding="utf-8", errors="backslashreplace")


def read_summary(path: Path) -> dict[str, Any]:
    """The content of ``summary.json``.

    Raises:
        InputError: there is no such file, or it is no summary.
    """
    content = read_mapping(path, cure="Give the output folder of medbundle evaluate")
    try:
        _Summary.model_validate(content)
    except ValidationError as error:
        problem = error.errors()[0]
        at = ".".join(map(str, problem["loc"]))[:_SHOWN]
        raise InputError("is no summary of an evaluation", where=path, got=f"{at}: {problem['msg']}") from None
    return content


def facts_of(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What was evaluated, in words and values; files without the folders that lead there."""
    drawn = summary.get("bootstrap") or {}
    facts = [
        (words, Path(str(summary[key])).name if key in _FILES else str(summary[key]))
        for key, words in _FACTS.items()
        if summary.get(key)
    ]
    if drawn:
        level = f"{100 * float(drawn['level']):g} % {drawn['method']}"
        facts.append(("Intervals", f"{level}, {drawn['resamples']} draws of {drawn['drawn']}, seed {drawn['seed']}"))
    if summary.get("surface"):
        facts.append(("Surface", str(summary["surface"])))
    return facts


def _code(scripts: Sequence[str]) -> dict[str, str]:
    """Style, script, the hash by which the page's policy knows the script as its own, and our version."""
    script = "\n".join(_text(name) for name in scripts)
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest())
    return {
        "style": "".join(_text(name) for name in _STYLES),
        "script": script,
        "script_hash": digest.decode("ascii"),
        "version": pipeline.__version__,
    }


def _template(name: str) -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)


def _text(name: str) -> str:
    return (_TEMPLATES / name).read_text(encoding="utf-8")
