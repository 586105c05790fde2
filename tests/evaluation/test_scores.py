from __future__ import annotations

import csv
import json
import statistics
from pathlib import Path

import numpy as np
import pytest

from pipeline.evaluation import ScoreTable, report_scores


def test_a_missing_prediction_counts_as_zero_and_is_named(tmp_path: Path) -> None:
    table = ScoreTable({"1": "head", "2": "tail"})
    table.add("a", np.array([1, 2, 0]), np.array([1, 2, 0]))
    table.add("b", np.array([1, 0, 0, 0]), np.array([1, 1, 2, 0]))
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
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dice.csv", "dice.json"]
    assert "c: no prediction, counted as 0" in table.text()
