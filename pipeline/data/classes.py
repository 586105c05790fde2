"""Data sets of classified images: a folder per class, or a table."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pipeline.data.channels import Rule, check_case
from pipeline.data.inputs import Case, existing_path, find_inputs
from pipeline.data.listings import folders_of
from pipeline.documents import read_csv
from pipeline.errors import InputError
from pipeline.sources.given import exists
from pipeline.sources.kinds import strip_suffix
from pipeline.sources.paths import first_of

__all__ = ["find_classified"]

TABLE = "labels.csv"
_SHOWN = 80


def find_classified(
    dataset_dir: str | Path | None,
    classes: Sequence[str],
    *,
    multi_label: bool = False,
    channels: Sequence[Rule] | None = None,
) -> list[Case]:
    """List the images of a data set with their classes.

    Args:
        dataset_dir: a folder with one folder per class, named as the classes; or with a table ``labels.csv`` of the
            columns ``image`` (a path below the folder) and either ``label`` (the name of a class) or one column per
            class, which holds 0 or 1.
        classes: the names of the classes, in the order of the network's outputs.
        multi_label: whether several classes may hold for one image, which needs the table with a column per class.
        channels: what tells each image of a case of several, see :func:`pipeline.data.find_inputs`. An ``image`` of
            the table is then the folder of one case, or one of its channels.

    Returns:
        One ``{"image": path, "label": index, "name": unique name}`` per case, sorted by name; for ``multi_label`` the
        label is a list of zeros and ones, one per class.

    Raises:
        InputError: no such data set here, an unknown class, a class without a folder, an image that is missing.
    """
    root = existing_path(dataset_dir)
    if root.is_file():
        raise InputError("is a file", where=root, expected="the folder of a classified data set")
    table = root / TABLE
    if table.is_file():
        cases = _from_table(table, classes, multi_label, channels)
    else:
        cases = _from_folders(root, classes, multi_label, channels)
    for case in cases:
        check_case(case)
    return sorted(cases, key=lambda case: str(case["name"]))


def _from_folders(root: Path, classes: Sequence[str], multi_label: bool, channels: Sequence[Rule] | None) -> list[Case]:
    if multi_label:
        raise InputError("no table of labels", where=root / TABLE, expected=f"columns image, {', '.join(classes)}")
    folders = {path.name: path for path in sorted(root.iterdir()) if path.is_dir() and not path.name.startswith(".")}
    for name in folders:
        if name not in classes:
            raise _unknown(name, classes, root / name)
    for name in classes:
        if name not in folders:
            raise InputError(f"no folder {name}", where=root, expected=f"a folder per class: {', '.join(classes)}")
    return [
        {**case, "name": f"{name}_{case['name']}", "label": index}
        for index, name in enumerate(classes)
        for case in find_inputs(folders[name], channels=channels)
    ]


def _from_table(table: Path, classes: Sequence[str], multi_label: bool, channels: Sequence[Rule] | None) -> list[Case]:
    rows = read_csv(table)
    columns = ["image", *classes] if multi_label or (rows and "label" not in rows[0]) else ["image", "label"]
    missing = [column for column in columns if not rows or column not in rows[0]]
    if missing:
        raise InputError("lacks columns", where=table, expected=", ".join(columns), got=f"no {', '.join(missing)}")
    cases = []
    for number, row in enumerate(rows, start=2):
        path = table.parent / row["image"]
        if not row["image"] or not exists(path):
            raise InputError(f"line {number}: no such image", where=table, got=row["image"][:_SHOWN])
        folders, last = folders_of(Path(row["image"])), path.name or path.absolute().name
        name = "_".join([*folders, last if path.is_dir() else strip_suffix(last)])
        where = f"{table}, line {number}"
        label = _index(row["label"], classes, where) if columns[1] == "label" else _flags(row, classes, where)
        if isinstance(label, list) and not multi_label:
            label = _only(label, where)
        image = str(path) if channels is None else _only_case(path, channels)
        cases.append({"image": image, "name": name, "label": label})
    _refuse_twins(cases, table)
    return cases


def _only_case(path: Path, channels: Sequence[Rule]) -> Any:
    cases = find_inputs(path, channels=channels)
    if len(cases) > 1:
        raise InputError(f"holds {len(cases)} cases", where=path, expected="the channels of one")
    return cases[0]["image"]


def _refuse_twins(cases: Iterable[Case], table: Path) -> None:
    seen: set[str] = set()
    for case in cases:
        if case["name"] in seen:
            raise InputError("lists an image twice", where=table, got=first_of(case["image"])[0])
        seen.add(case["name"])


def _index(name: str, classes: Sequence[str], where: str) -> int:
    if name not in classes:
        raise _unknown(name, classes, where)
    return list(classes).index(name)


def _flags(row: dict[str, str], classes: Sequence[str], where: str) -> list[int]:
    for name in classes:
        if row[name] not in ("0", "1"):
            raise InputError(f"column {name} is not a flag", where=where, expected="0 or 1", got=row[name])
    return [int(row[name]) for name in classes]


def _only(flags: list[int], where: str) -> int:
    if sum(flags) != 1:
        raise InputError("does not belong to exactly one class", where=where, got=f"{sum(flags)} classes")
    return flags.index(1)


def _unknown(name: str, classes: Sequence[str], where: str | Path) -> InputError:
    near = difflib.get_close_matches(name, classes, n=1)
    cure = f"Did you mean {near[0]}?" if near else "Name it in the labels of plan.yaml, or remove it"
    return InputError(f"unknown class {name}", where=where, expected=f"one of {', '.join(classes)}", cure=cure)
