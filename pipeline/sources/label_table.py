"""What label values mean: the labels of a plan, and their tables in JSON and CSV files."""

from __future__ import annotations

import csv
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipeline.dicom import Segment
from pipeline.errors import InputError, one_line
from pipeline.sources.given import given_path
from pipeline.sources.kinds import strip_suffix
from pipeline.writing import whole_file

__all__ = ["Code", "Label", "Section", "label_names", "read_label_table", "segment_arguments", "table_beside",
           "table_segments", "write_label_table"]  # fmt: skip

_log = logging.getLogger(__name__)

_Byte = Annotated[int, Field(ge=0, le=255)]
Color = tuple[_Byte, _Byte, _Byte]


class Section(BaseModel):
    """A part of a plan: unknown fields are refused, and nothing is changed later."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Code(Section):
    """A coded concept (DICOM PS3.3 section 8).

    Attributes:
        value: the code, such as 10200004.
        scheme: who defines it, as DICOM abbreviates it; SNOMED CT's SCT by default.
        meaning: the concept in words, such as Liver.
    """

    value: str
    scheme: str = "SCT"
    meaning: str


class Label(Section):
    """One foreground class of a segmentation, or one class of a classification.

    Attributes:
        value: the value in label maps (1 to 255; 0 is background), or the class index of a classification.
        name: what tables, masks and reports call it.
        category: SNOMED CT segmented property category (DICOM PS3.16 CID 7150).
        type: SNOMED CT segmented property type.
        modifier: which part or side of the type, such as Anterior or Left.
        color: recommended display colour, sRGB 0 to 255.
        mask_colors: the colours, sRGB 0 to 255, that mean this label in colour masks; black is background.
        source_names: the names that this label goes by in the DICOM RTSTRUCT (ROI names) and SEG files (segment labels
            or codes) of a 3D data set, in any case of letters; all that a file has are joined. Absent, it is ``name``.
            One label of a plan must have them for such files to be read.
        tolerance_mm: the tolerance of the normalised surface Dice in evaluations; of pictures, in pixels.
    """

    value: Annotated[int, Field(ge=0, le=255)]
    name: Annotated[str, Field(min_length=1)]
    category: Code | None = None
    type: Code | None = None
    modifier: Code | None = None
    color: Color | None = None
    mask_colors: tuple[Color, ...] = ()
    source_names: tuple[Annotated[str, Field(pattern=r"\S")], ...] = ()
    tolerance_mm: Annotated[float, Field(ge=0)] = 1.0


class _WideLabel(Label):
    value: Annotated[int, Field(ge=0)]


# DICOM PS3.16 CID 7150, for labels to which the plan gives no code.
_ANATOMICAL_STRUCTURE = Code(value="91723000", meaning="Anatomical Structure")

_EXPECTED = (
    '[{"value": 1, "name": "Liver"}, ...], {"labels": [...]}, {"1": "Liver", ...}, {"Liver": 1, ...}, '
    "or CSV with value,name"
)
_BACKGROUND = "background"
_MOST_DIGITS = 18  # of a number of 64 bits
_UNREADABLE = (OSError, ValueError, RecursionError, csv.Error)


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


def table_segments(table: Sequence[Label]) -> tuple[Segment, ...]:
    """What DICOM says of labels."""
    return tuple(Segment(**{key: _tuple(value) for key, value in segment_arguments(one).items()}) for one in table)


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def label_names(table: Sequence[Label], where: Path) -> dict[int, str]:
    """What the label values are called, where each must have a name of its own.

    Raises:
        InputError: two values have one name.
    """
    names = {label.value: label.name for label in table}
    if len(set(names.values())) < len(names):
        got = ", ".join(f"{value} {name}" for value, name in names.items())
        raise InputError("needs labels with different values and names", where=where, got=got)
    return names


def read_label_table(path: Path, *, any_value: bool = False) -> tuple[Label, ...]:
    """Read a table of labels, without its background, which is 0.

    Args:
        path: JSON: a list of labels in the terms of a plan's ``labels``; a mapping of values to names or, as in
            nnU-Net's ``dataset.json``, of names to values; or one of these under the key ``labels``, as in the
            ``dataset.json`` of the Medical Segmentation Decathlon. Or CSV with the columns ``value`` and ``name``.
        any_value: whether values may be above 255.

    Raises:
        InputError: the file is missing or says something else; names the entry.
    """
    path = given_path(path)
    text = _text(path)
    written_as_json = path.suffix.lower() == ".json" or text.lstrip()[:1] in tuple('[{"')
    entries = (_json_entries if written_as_json else _csv_entries)(text, path)
    model = _WideLabel if any_value else Label
    labels = tuple(_label(entry, f"labels.{place}", path, model) for place, entry in enumerate(entries))
    for label in labels:
        if label.value == 0 and label.name.casefold() != _BACKGROUND:
            _log.warning("%s: 0 is background: its label '%s' is left out", path, label.name)
    labels = tuple(label for label in labels if label.value)
    _check_values(labels, path)
    return labels


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError("no such table of labels", where=path) from None
    except _UNREADABLE as error:
        raise InputError("is no table of labels", where=path, expected=_EXPECTED, got=one_line(error)) from None


def _json_entries(text: str, path: Path) -> list[Any]:
    try:
        content = json.loads(text)
    except _UNREADABLE as error:
        raise InputError("is not valid JSON", where=path, got=one_line(error)) from None
    if isinstance(content, dict) and isinstance(content.get("labels"), dict | list):
        content = content["labels"]
    if not isinstance(content, dict | list):
        raise InputError("is no table of labels", where=path, expected=_EXPECTED, got=type(content).__name__)
    return content if isinstance(content, list) else [_named(key, value, path) for key, value in content.items()]


def _csv_entries(text: str, path: Path) -> list[Any]:
    try:
        rows = list(csv.DictReader(text.splitlines()))
        return [{"value": _number(row["value"]), "name": (row["name"] or "").strip()} for row in rows]
    except KeyError as error:
        raise InputError("is no table of labels", where=path, expected=_EXPECTED, got=f"no column {error}") from None
    except _UNREADABLE as error:
        raise InputError("is no table of labels", where=path, expected=_EXPECTED, got=one_line(error)) from None


def table_beside(path: Path) -> Path:
    """Where the table of a label map stands that ``medbundle convert`` writes: ``NAME_labels.json`` beside it."""
    return path.with_name(f"{strip_suffix(path.name)}_labels.json")


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
    named_by_value = isinstance(value, str) and isinstance(_number(key), int)
    number, name = (_number(key), value) if named_by_value else (_number(value), key)
    if not isinstance(number, int) or isinstance(number, bool) or not isinstance(name, str):
        raise InputError(f"'{key[:80]}' is no label", where=path, expected="a value and a name", got=repr(value)[:80])
    return {"value": number, "name": name}


def _number(value: object) -> object:
    """A text of a few digits as the number that it is; all else as it is."""
    digits = value.strip() if isinstance(value, str) else ""
    return int(digits) if digits.isdecimal() and len(digits) <= _MOST_DIGITS else value


def _label(entry: object, field: str, path: Path, model: type[Label]) -> Label:
    try:
        return model.model_validate(entry)
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
    if len(set(values)) < len(values):
        raise InputError("labels must have values of their own, from 1 on", where=path, got=values)
