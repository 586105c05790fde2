from __future__ import annotations

import csv
import json
import statistics
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import InputError
from pipeline.evaluation import MeasureTable, bootstrap_interval
from pipeline.evaluation.groups import group_text, read_groups, write_groups

DICE = np.random.default_rng(0).uniform(0.6, 0.9, (12, 1))
CASES = tuple(f"c{n}" for n in range(12))
PATIENTS = tuple(f"p{n // 2}" for n in range(12))
TABLE = MeasureTable(cases=CASES, patients=PATIENTS, labels=("head",), values={"dice": DICE})
SCANNER = {case: "A" if n < 8 else "B" for n, case in enumerate(CASES)}


def _csv(path: Path, header: str, *rows: str) -> Path:
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8-sig")
    return path


def _cases_csv(path: Path) -> Path:
    return _csv(path, "case,scanner,sex", *(f"{case},{kind},F" for case, kind in SCANNER.items()))


def test_each_group_has_its_mean_interval_and_numbers(tmp_path: Path) -> None:
    groups = read_groups(_cases_csv(tmp_path / "g.csv"), "scanner")
    write_groups(TABLE, groups, tmp_path / "out", {"subset": "test", "bundle_version": "1.0", "split_seed": 3})
    with (tmp_path / "out" / "groups.csv").open(newline="") as file:
        rows = {row["scanner"]: row for row in csv.DictReader(file)}
    assert list(rows) == ["A", "B"]
    for name, part, counts in (("A", slice(0, 8), ("8", "4")), ("B", slice(8, 12), ("4", "2"))):
        values, row = DICE[part, 0], rows[name]
        assert (row["cases"], row["patients"]) == counts
        assert [row[key] for key in ("subset", "bundle_version", "split_seed", "bootstrap_seed", "weights_sha256")] == [
            "test", "1.0", "3", "0", ""
        ]  # fmt: skip
        assert float(row["mean"]) == pytest.approx(statistics.mean(values))
        assert float(row["std"]) == pytest.approx(statistics.stdev(values))
        ends = bootstrap_interval(lambda cases, x=values: float(x[cases].mean()), list(PATIENTS[part]))
        assert (float(row["low"]), float(row["high"])) == pytest.approx(ends, rel=1e-2)
    content = json.loads((tmp_path / "out" / "groups.json").read_text())
    assert (content["subset"], content["by"], list(content["groups"])) == ("test", "scanner", ["A", "B"])
    assert group_text(TABLE, groups).splitlines()[0].startswith("Dice by scanner")


def test_groups_by_patient_and_cases_of_none(tmp_path: Path) -> None:
    path = _csv(tmp_path / "g.csv", "patient,site", "p0,north", "p1,south", "p2,north", "p3,")
    parts = read_groups(path).parts(TABLE)  # the only other column
    assert {name: part.cases for name, part in parts.items()} == {
        "north": ("c0", "c1", "c4", "c5"), "south": ("c2", "c3"), "(unknown)": CASES[6:]
    }  # fmt: skip
    assert list(parts)[-1] == "(unknown)"
    np.testing.assert_array_equal(parts["south"].values["dice"], DICE[2:4])


def test_columns_of_a_datalist(tmp_path: Path) -> None:
    entries = [{"name": case, "image": f"{case}.nii", "site": SCANNER[case]} for case in CASES]
    path = tmp_path / "datalist.json"
    path.write_text(json.dumps({"test": entries[:6], "training": entries[6:]}))
    assert [len(part.cases) for part in read_groups(path, "site").parts(TABLE).values()] == [8, 4]


def test_a_table_tells_the_patients(tmp_path: Path) -> None:
    path = _csv(tmp_path / "g.csv", "case,patient,sex", "c0,p0,F", "c1,p0,F", "c2,p1,M")
    assert read_groups(path, "sex").patients == {"c0": "p0", "c1": "p0", "c2": "p1"}


@pytest.mark.parametrize(
    ("lines", "by", "message"),
    [
        (("case,scanner,sex", "c0,A,F"), None, r"groups are not clear \(expected one of scanner, sex\). Say which"),
        (("case,scanner,sex", "c0,A,F"), "site", r"has no column site \(expected one of scanner, sex\)"),
        (("subject,scanner", "c0,A"), "scanner", "has no column case or patient"),
        (("case,scanner", "c0,A", "c0,B"), "scanner", r"row 2: one case has two values of scanner \(got A and B\)"),
        (("patient,case,sex", "DOE,c0,F", "ROE,c0,F"), "sex", r"one case has two values of patient \(got two\)"),
    ],
)
def test_an_unclear_table_is_refused(tmp_path: Path, lines: tuple[str, ...], by: str | None, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read_groups(_csv(tmp_path / "g.csv", *lines), by)
    assert "DOE" not in str(caught.value)


def test_groups_of_other_cases_are_refused(tmp_path: Path) -> None:
    groups = read_groups(_csv(tmp_path / "g.csv", "case,scanner", "other,A"))
    with pytest.raises(InputError, match="no evaluated case has a scanner"):
        groups.parts(TABLE)


def test_what_is_no_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "g.csv").write_bytes(b"\xff\xfe\0\1")
    (tmp_path / "g.json").write_text("[1]")
    for name in ("g.csv", "g.json", "absent.csv"):
        with pytest.raises(InputError, match=name):
            read_groups(tmp_path / name, "x")
