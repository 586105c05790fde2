from __future__ import annotations

import csv
import json
import statistics
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import InputError
from pipeline.evaluation import ScoreTable, report_scores


def test_a_missing_prediction_counts_as_zero_and_is_named(tmp_path: Path) -> None:
    table = ScoreTable({"1": "head", "2": "tail"})
    table.add("a", np.array([[1, 2, 0]]), np.array([[1, 2, 0]]))
    table.add("b", np.array([[1, 0, 0, 0]]), np.array([[1, 1, 2, 0]]))
    summary = report_scores(table=table, failures={"c": "cannot be read"}, folder=tmp_path, subset="test")
    head, tail = [1.0, 2 / 3, 0.0], [1.0, 0.0, 0.0]
    assert summary["head"]["mean"] == pytest.approx(statistics.mean(head))
    assert summary["head"]["std"] == pytest.approx(statistics.stdev(head))
    assert summary["tail"]["mean"] == pytest.approx(statistics.mean(tail))
    with (tmp_path / "dice.csv").open() as file:
        rows = {row["case"]: row for row in csv.DictReader(file)}
    assert float(rows["b"]["head"]) == pytest.approx(2 / 3, abs=1e-6)
    assert rows["c"]["note"] == "cannot be read"
    content = json.loads((tmp_path / "dice.json").read_text())
    assert content["count"] == 3
    assert content["subset"] == "test"
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "dice.csv", "dice.json", "metrics.csv", "summary.json"
    ]  # fmt: skip
    assert "c: no usable prediction, counted as 0" in table.text()


def test_the_interval_is_over_patients_and_a_table_of_one_has_none(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    table = ScoreTable({1: "nodule"})
    means = generator.normal(0.7, 0.1, 60)
    for patient, mean in enumerate(means):
        for scan in range(4):  # four nearly equal slices of each patient
            size = round(1000 * mean)
            prediction, reference = np.zeros((2, 1, 2000), dtype=np.uint8)
            prediction[:, :1000], reference[:, 1000 - size : 2000 - size] = 1, 1
            table.add(f"{patient}_{scan}", prediction, reference, patient=str(patient))
    row = table.summary()["nodule"]
    # The normal approximation for 60 independent patients; 240 slices would claim half of it.
    half = 1.96 * statistics.stdev(means) / np.sqrt(60)
    assert row["high"] - row["low"] == pytest.approx(2 * half, rel=0.1)
    assert (row["high"] + row["low"]) / 2 == pytest.approx(statistics.mean(means), abs=0.2 * half)
    alone = ScoreTable({1: "nodule"})
    alone.add("a", np.array([[1, 0]]), np.array([[1, 1]]), patient="p")
    alone.write(tmp_path)
    assert json.loads((tmp_path / "dice.json").read_text())["summary"]["nodule"]["low"] is None


@pytest.mark.parametrize("name", ["case", "patient", "mean", "note"])
def test_a_label_is_no_column_of_the_tables(name: str) -> None:
    with pytest.raises(InputError, match="name of a column"):
        ScoreTable({1: name, 2: "Liver"})


def test_a_name_with_a_line_break_keeps_to_its_line() -> None:
    table = ScoreTable({1: "head"})
    table.add_missing({"two\nlines": "cannot be read"})
    assert table.text().splitlines()[-1] == r"two\nlines: no usable prediction, counted as 0: cannot be read"
