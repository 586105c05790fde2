"""What label values mean, as a JSON file beside a label map."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pipeline.dicom import Segment
from pipeline.errors import InputError
from pipeline.planning.plan import Code, Label
from pipeline.writing import whole_file

__all__ = ["read_label_table", "segment_arguments", "write_label_table"]

# DICOM PS3.16 CID 7150, for labels to which the plan gives no code.
_ANATOMICAL_STRUCTURE = Code(value="91723000", meaning="Anatomical Structure")

_EXPECTED = '[{"value": 1, "name": "Liver"}, ...], {"labels": [...]} or {"1": "Liver", ...}'
_BACKGROUND = "background"


def segment_arguments(label: Label) -> dict[str, Any]:
    """Return the arguments of :class:`pipeline.dicom.Segment` for a plan's label, as JSON has them."""

    def code(concept: Code | None) -> list[str]:
        concept = concept or _ANATOMICAL_STRUCTURE
        return [concept.value, concept.scheme, concept.meaning]

    return {
        "value": label.value,
        "name": label.name,
        "category": code(label.category),
        "property_type": code(label.type),
        "modifier": None if label.modifier is None else code(label.modifier),
        "color": label.color if label.color is None else list(label.color),
    }


def read_label_table(path: Path) -> tuple[Label, ...]:
    """Read a table of labels, without its background.

    Args:
        path: JSON: a list of labels in the terms of a plan's ``labels``; a mapping of values to names or, as in
            nnU-Net's ``dataset.json``, of names to values; or one of these under the key ``labels``, as in the
            ``dataset.json`` of the Medical Segmentation Decathlon.

    Raises:
        InputError: the file is missing or says something else; names the entry.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError("no such table of labels", where=path) from None
    except (OSError, ValueError) as error:
        raise InputError("is not valid JSON", where=path, got=error) from None
    if isinstance(content, dict) and isinstance(content.get("labels"), dict | list):
        content = content["labels"]
    if not isinstance(content, dict | list):
        raise InputError("is no table of labels", where=path, expected=_EXPECTED, got=type(content).__name__)
    entries = content if isinstance(content, list) else [_named(key, value, path) for key, value in content.items()]
    labels = tuple(_label(entry, f"labels.{place}", path) for place, entry in enumerate(entries))
    labels = tuple(label for label in labels if label.value or label.name.casefold() != _BACKGROUND)
    _check_values(labels, path)
    return labels


def write_label_table(segments: Sequence[Segment], path: Path) -> Path:
    """Write segments as a table that :func:`read_label_table` reads; the file appears whole or not at all.

    Raises:
        InputError: the file cannot be written.
    """

    def code(concept: tuple[str, str, str]) -> dict[str, str]:
        return dict(zip(("value", "scheme", "meaning"), concept, strict=True))

    labels = [
        {"value": segment.value, "name": segment.name, "category": code(segment.category),
         "type": code(segment.property_type)}
        | ({} if segment.modifier is None else {"modifier": code(segment.modifier)})
        | ({} if segment.color is None else {"color": list(segment.color)})
        for segment in segments
    ]  # fmt: skip
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps({"labels": labels}, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def _named(key: str, value: object, path: Path) -> Mapping[str, object]:
    """Return an entry of a mapping as a label's fields: one of the two is the value, the other the name."""
    number, name = (key, value) if key.strip().isdigit() else (value, key)
    if isinstance(number, str) and number.strip().isdigit():
        number = int(number)
    if not isinstance(number, int) or isinstance(number, bool) or not isinstance(name, str):
        raise InputError(f"'{key}' is no label", where=path, expected="a value and a name", got=repr(value))
    return {"value": number, "name": name}


def _label(entry: object, field: str, path: Path) -> Label:
    try:
        return Label.model_validate(entry)
    except ValidationError as error:
        problem = error.errors()[0]
        at = ".".join(map(str, (field, *problem["loc"])))
        message = "unknown field" if problem["type"] == "extra_forbidden" else str(problem["msg"])
        got = None if problem["type"] == "missing" else repr(problem["input"])[:80]
        raise InputError(f"{at}: {message}", where=path, got=got) from None


def _check_values(labels: Sequence[Label], path: Path) -> None:
    values = [label.value for label in labels]
    if not values:
        raise InputError("names no label", where=path, expected=_EXPECTED)
    if 0 in values or len(set(values)) < len(values):
        raise InputError("labels must have values of their own, from 1 on", where=path, got=values)
