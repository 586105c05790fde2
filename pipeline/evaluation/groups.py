"""Scores by scanner, site, sex or whatever else a table knows of the cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.documents import read_csv, read_mapping
from pipeline.errors import InputError
from pipeline.evaluation.measure_table import MeasureTable
from pipeline.evaluation.provenance import fact_columns
from pipeline.evaluation.score_output import BOOTSTRAP, GROUP_FILES
from pipeline.evaluation.tables import aligned, number, write_csv, write_json
from pipeline.sources.given import given_path

__all__ = ["Groups", "group_text", "read_groups", "write_groups"]

_UNKNOWN = "(unknown)"
_KEYS = ("case", "name", "patient")
_STATISTICS = ("mean", "low", "high", "std", "median", "finite", "infinite", "undefined")


@dataclass(frozen=True, kw_only=True)
class Groups:
    """The group of each case.

    Attributes:
        column: what the groups are by, such as ``scanner``.
        of_case: the group by the case's name.
        of_patient: the group by the patient, for cases that ``of_case`` lacks.
        patients: the patient of each case, where the table tells.
    """

    column: str
    of_case: Mapping[str, str] = field(default_factory=dict)
    of_patient: Mapping[str, str] = field(default_factory=dict)
    patients: Mapping[str, str] = field(default_factory=dict)

    def parts(self, table: MeasureTable) -> dict[str, MeasureTable]:
        """The cases of each group, by its name; those of no known group come last, as ``(unknown)``.

        Raises:
            InputError: no case has a group.
        """
        pairs = zip(table.cases, table.patients, strict=True)
        found = np.array([self.of_case.get(case) or self.of_patient.get(who) or _UNKNOWN for case, who in pairs])
        names = sorted(set(found.tolist()), key=lambda name: (name == _UNKNOWN, name))
        if names == [_UNKNOWN]:
            raise InputError(f"no evaluated case has a {self.column}", cure="Name the cases as the evaluation does")
        return {name: table.of(found == name) for name in names}


def read_groups(path: str | Path, by: str | None = None) -> Groups:
    """Read the groups of cases.

    Args:
        path: a CSV table with a column ``case`` or ``patient`` (with both, it also says whose case it is), or a
            datalist, JSON whose entries in ``test`` and ``training`` have a ``name``.
        by: the column of the groups; may be None where there is only one.

    Raises:
        InputError: the file cannot be read, the column is not there or not clear, or one case has two groups.
    """
    path = given_path(path)
    rows = _listed(path) if path.suffix.lower() == ".json" else read_csv(path)
    columns = list(dict.fromkeys(column for row in rows for column in row))
    case_key = next((name for name in _KEYS[:2] if name in columns), None)
    if case_key is None and "patient" not in columns:
        raise InputError("has no column case or patient", where=path, got=", ".join(columns) or "an empty table")
    others = [name for name in columns if name not in _KEYS]
    column = by or (others[0] if len(others) == 1 else None)
    if column is None or column not in columns:
        what = "groups are not clear" if by is None else f"has no column {by}"
        cure = "Say which column by --by"
        raise InputError(what, where=path, expected=f"one of {', '.join(others) or 'no columns'}", cure=cure)
    if case_key is None:
        return Groups(column=column, of_patient=_unique(rows, "patient", column, path))
    patients = _unique(rows, case_key, "patient", path) if "patient" in columns else {}
    return Groups(column=column, of_case=_unique(rows, case_key, column, path), patients=patients)


def write_groups(table: MeasureTable, groups: Groups, folder: Path, about: Mapping[str, Any]) -> list[Path]:
    """Write ``groups.csv``, a row per group, label and measure, and ``groups.json``."""
    parts = groups.parts(table)
    summaries = {name: part.summary() for name, part in parts.items()}
    facts = fact_columns(about)
    header = [groups.column, "label", "measure", "cases", "patients", *_STATISTICS, *facts]
    rows = [
        [name, label, measure, *_counts(parts[name]), *(row[key] for key in _STATISTICS), *facts.values()]
        for name, summary in summaries.items()
        for label, measures in summary.items()
        for measure, row in measures.items()
    ]
    entries = {
        name: dict(zip(("cases", "patients"), _counts(part), strict=True)) | {"summary": summaries[name]}
        for name, part in parts.items()
    }
    content = {**about, "by": groups.column, "bootstrap": BOOTSTRAP, "groups": entries}
    table_file, json_file = (folder / name for name in GROUP_FILES)
    return [write_csv(table_file, [header, *rows]), write_json(json_file, content)]


def group_text(table: MeasureTable, groups: Groups) -> str:
    """Dice by group, a line per group and label."""
    rows = [[f"Dice by {groups.column}", "mean", "95 % interval", "cases", "patients"]]
    for name, part in groups.parts(table).items():
        for label, measures in part.summary().items():
            row = measures["dice"]
            interval = f"{number(row['low'])} to {number(row['high'])}"
            rows.append([f"{name} {label}", number(row["mean"]), interval, *map(str, _counts(part))])
    return "\n".join(aligned(rows))


def _counts(part: MeasureTable) -> tuple[int, int]:
    return len(part.cases), len(set(part.patients))


def _listed(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        raise InputError("no such datalist", where=path, cure="Give a table of the cases by --groups")
    content = read_mapping(path)
    parts = [content.get(part) or [] for part in ("test", "training")]
    entries = [entry for part in parts if isinstance(part, list) for entry in part]
    if not all(isinstance(part, list) for part in parts) or not all(isinstance(entry, dict) for entry in entries):
        raise InputError("is not a datalist", where=path, expected='{"test": [{...}], "training": [{...}]}')
    return [{key: _cell(value) for key, value in entry.items()} for entry in entries]


def _cell(value: Any) -> str:
    """A plain value as a table has it; what is none tells no group."""
    return str(value) if isinstance(value, str | int | float) else ""


def _unique(rows: Sequence[Mapping[str, str]], key: str, column: str, path: Path) -> dict[str, str]:
    """The value of each key; the empty ones are left out."""
    found: dict[str, str] = {}
    for number_of_row, row in enumerate(rows, start=1):
        name, value = row.get(key, "").strip(), row.get(column, "").strip()
        if name and value and found.setdefault(name, value) != value:
            got = f"{found[name]} and {value}" if column != "patient" else "two"
            raise InputError(f"one {key} has two values of {column}", where=f"{path}, row {number_of_row}", got=got)
    return found
