"""Read a plan, and say which field is wrong."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from pipeline.documents import read_yaml
from pipeline.errors import InputError
from pipeline.planning.channels import Channel
from pipeline.planning.normalization import NORMALIZATIONS
from pipeline.planning.plan import Plan, Preprocessing
from pipeline.sources.label_table import Code, Label

__all__ = ["load_plan"]


def load_plan(path: Path) -> Plan:
    """Read and validate a plan.

    Args:
        path: a YAML file, usually ``bundles/<name>/plan.yaml``.

    Raises:
        InputError: the file is missing, is not YAML, or a field is missing, unknown or out of range; names the field.
    """
    if not path.exists():
        raise InputError("no such plan", where=path, cure="Give a bundle's folder that holds a plan.yaml")
    raw = read_yaml(path)
    if not isinstance(raw, dict):
        raise InputError("is not a plan", where=path, expected="a mapping of fields", got=type(raw).__name__)
    try:
        return Plan.model_validate(raw)
    except ValidationError as error:
        problems = "; ".join(_describe(problem) for problem in error.errors())
        raise InputError(problems, where=path) from None


def _describe(problem: Any) -> str:
    """One problem of pydantic's list as ``field: what (got value)``, with the nearest name for an unknown field."""
    location = [str(part) for part in problem["loc"]]
    field = ".".join(location)
    if problem["type"] == "extra_forbidden":
        known = _fields_at(location[:-1])
        near = difflib.get_close_matches(location[-1], known, n=1)
        return f"{field}: unknown field" + (f", did you mean {near[0]}?" if near else f" (known: {', '.join(known)})")
    message = str(problem["msg"]).removeprefix("Value error, ")
    if problem["type"] == "missing" or not field:
        return f"{field}: {message}".removeprefix(": ")
    return f"{field}: {message} (got {problem['input']!r})"


def _fields_at(location: list[str]) -> list[str]:
    model: Any = Plan
    for part in location:
        if part.isdigit() or part in NORMALIZATIONS:
            model = NORMALIZATIONS.get(part, model)
            continue
        sections = {
            "labels": Label,
            "category": Code,
            "type": Code,
            "modifier": Code,
            "normalization": Preprocessing,
            "channels": Channel,
        }
        annotation = model.model_fields[part].annotation if part in model.model_fields else None
        nested = isinstance(annotation, type) and issubclass(annotation, BaseModel)
        model = annotation if nested else sections.get(part, model)
    return list(model.model_fields)
