from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import scipy.stats

from pipeline.errors import InputError
from pipeline.evaluation import MeasureTable, ScoreTable
from pipeline.evaluation.comparison import compare_tables
from pipeline.workflows.compare import compare


def _table(values: dict[str, np.ndarray], patients: list[str] | None = None) -> MeasureTable:
    count, labels = next(iter(values.values())).shape
    cases = tuple(f"c{n:02}" for n in range(count))
    return MeasureTable(cases=cases, patients=tuple(patients or cases), labels=tuple("xy"[:labels]), values=values)


def _pair(count: int = 30) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    first = generator.uniform(0.5, 0.9, (count, 2))
    return first, first + generator.normal([0.03, 0.0], 0.04, (count, 2))


def test_differences_are_those_of_scipy_and_corrected_together() -> None:
    first, second = _pair()
    worse = {"dice": first, "hausdorff_mm": 10 * second}
    better = {"dice": second, "hausdorff_mm": 10 * first}
    comparison = compare_tables({"a": _table(worse), "b": _table(better)})
    assert (comparison.cases, comparison.patients) == (30, 30)
    rows = {(row.label, row.measure): row for row in comparison.differences}
    assert len(rows) == 4
    for k, label in enumerate("xy"):
        change = second[:, k] - first[:, k]
        expected = scipy.stats.bootstrap(
            (change,), np.mean, n_resamples=2000, method="BCa", batch=256, rng=np.random.default_rng(0)
        ).confidence_interval
        dice, distance = rows[label, "dice"], rows[label, "hausdorff_mm"]
        assert (dice.low, dice.high) == pytest.approx(tuple(expected))
        assert dice.difference == pytest.approx(change.mean())
        assert (dice.mean_first, dice.mean_second) == pytest.approx((first[:, k].mean(), second[:, k].mean()))
        assert dice.p == pytest.approx(scipy.stats.wilcoxon(change).pvalue)
        assert distance.p == pytest.approx(dice.p)
        assert distance.difference == pytest.approx(-10 * dice.difference)
        assert distance.effect == pytest.approx(dice.effect), "a smaller distance is better"
        assert (dice.better, distance.better) == ("higher", "lower")
    small, large = sorted([rows["x", "dice"].p, rows["y", "dice"].p])
    assert small < 0.01 < large
    for row in rows.values():  # each p is there twice: 4 and 3 times the smaller, 2 times and once the larger
        assert row.p_holm == pytest.approx(4 * small if row.p < 0.01 else min(1.0, max(2 * large, 4 * small)))


def test_patients_count_and_not_their_slices() -> None:
    first, second = _pair(20)
    alone = compare_tables({"a": _table({"dice": first}), "b": _table({"dice": second})})
    patients = [f"p{n // 6}" for n in range(120)]
    slices = compare_tables(
        {
            name: _table({"dice": np.repeat(values, 6, axis=0)}, patients)
            for name, values in (("a", first), ("b", second))
        }
    )
    for one, many in zip(alone.differences, slices.differences, strict=True):
        assert (one.cases, many.cases, many.patients) == (20, 120, 20)
        # Names of patients sort differently, so the draws differ; six times the cases would be 2.4 times narrower.
        assert many.high - many.low == pytest.approx(one.high - one.low, rel=0.1)
        assert (many.p, many.effect) == pytest.approx((one.p, one.effect))


def test_infinite_and_undefined_values_are_counted() -> None:
    first, second = (
        np.array([column], dtype=float).T
        for column in ([1, 2, np.inf, np.inf, np.nan, 3, 5], [2, np.inf, 1, np.inf, 1, 4, 7])
    )
    (row,) = compare_tables({"a": _table({"hausdorff_mm": first}), "b": _table({"hausdorff_mm": second})}).differences
    assert (row.cases, row.infinite, row.undefined) == (3, 3, 1)
    assert row.difference == pytest.approx(4 / 3)
    # The differences 1, inf, -inf, 0, 1, 2 without the 0: ranks 1.5, 4.5, 4.5, 1.5, 3; a longer distance is worse.
    assert row.effect == pytest.approx(-(1.5 + 4.5 + 1.5 + 3 - 4.5) / 15)
    assert row.p == pytest.approx(scipy.stats.wilcoxon([1, 9, -9, 0, 1, 2]).pvalue)


def test_differences_of_sizes_are_compared_by_their_absolute_values() -> None:
    first, second = (np.array([column], dtype=float).T for column in ([-3, 2, 4, -5], [1, -1, 2, 0]))
    tables = {"a": _table({"volume_difference_ml": first}), "b": _table({"volume_difference_ml": second})}
    (row,) = compare_tables(tables).differences
    assert (row.mean_first, row.mean_second, row.effect) == (3.5, 1.0, 1.0)


def test_the_ranking_of_two_is_the_share_of_draws_in_which_the_first_wins_more_often() -> None:
    """Drawn with repetition from 5 patients of whom the first wins w: a binomial number of wins, ties at 2.5 only."""
    for wins in range(6):
        first = np.where(np.arange(5) < wins, 0.8, 0.6)[:, None]
        ranking = compare_tables({"a": _table({"dice": first}), "b": _table({"dice": 1.4 - first})}).ranking
        shares = {place.name: place.shares for place in ranking}
        expected = scipy.stats.binom.sf(2, 5, wins / 5)
        assert shares["a"] == pytest.approx((expected, 1 - expected), abs=0.04)
        assert shares["b"] == pytest.approx((1 - expected, expected), abs=0.04)
        ranks = {place.name: (place.place, place.mean_rank) for place in ranking}
        assert ranks["a"] == (1 if wins > 2.5 else 2, pytest.approx(2 - wins / 5))


def test_two_that_are_equal_share_the_first_place() -> None:
    tables = {name: _table({"dice": np.full((4, 1), 0.5)}) for name in "ab"}
    assert [(one.place, one.mean_rank, one.shares) for one in compare_tables(tables).ranking] == [(1, 1.5, (1, 0))] * 2


def test_the_ranking_of_three_says_how_stable_it_is() -> None:
    generator = np.random.default_rng(3)
    base = generator.uniform(0.5, 0.8, (25, 1))
    tables = {
        "good": _table({"dice": base + 0.1}),
        "even": _table({"dice": base + generator.normal(0, 0.01, base.shape)}),
        "odd": _table({"dice": base + generator.normal(0, 0.01, base.shape)}),
    }
    comparison = compare_tables(tables)
    assert len(comparison.differences) == 3
    assert {(row.first, row.second) for row in comparison.differences} == {
        ("good", "even"), ("good", "odd"), ("even", "odd")
    }  # fmt: skip
    best, second, third = comparison.ranking
    assert (best.name, best.place, best.mean_rank, best.shares) == ("good", 1, 1.0, (1.0, 0.0, 0.0))
    assert second.mean_rank + third.mean_rank == pytest.approx(5)
    assert 0.5 <= second.shares[1] < 1 > third.shares[2] > 0
    assert sum(second.shares) == pytest.approx(1)


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ({"cases": ("q1", "q2")}, "no case in common"),
        ({"labels": ("z",)}, "no label in common"),
        ({"values": {"nsd": np.ones((2, 1))}}, "no measure in common"),
        (
            {"values": {"dice": np.ones((2, 1)), "reference_voxels": np.array([[9.0], [7.0]])}},
            r"b, c1, x: was scored against another reference than a \(expected 8 voxels, got 7\)",
        ),
    ],
)
def test_results_that_do_not_belong_together_are_refused(second: dict[str, object], message: str) -> None:
    same = {
        "cases": ("c0", "c1"), "patients": ("c0", "c1"), "labels": ("x",),
        "values": {"dice": np.ones((2, 1)), "reference_voxels": np.array([[9.0], [8.0]])},
    }  # fmt: skip
    with pytest.raises(InputError, match=message):
        compare_tables({"a": MeasureTable(**same), "b": MeasureTable(**{**same, **second})})


def test_one_result_and_a_measure_without_a_better_side_are_refused() -> None:
    table = _table({"dice": np.ones((2, 1)), "reference_voxels": np.ones((2, 1))})
    with pytest.raises(InputError, match="nothing to compare"):
        compare_tables({"a": table})
    with pytest.raises(InputError, match=r"no measure reference_voxels to compare \(expected dice\)"):
        compare_tables({"a": table, "b": table}, measures=["reference_voxels"])


def _evaluation(folder: Path, shift: int, cases: range, tolerance: float = 1.0) -> Path:
    table = ScoreTable({1: "head"}, tolerance_mm=tolerance)
    for case in cases:
        reference = np.zeros((20, 20, 8), dtype=np.uint8)
        reference[4 : 8 + case % 5, 5:12, 2:6] = 1
        prediction = np.roll(reference, shift + case % 2, axis=0)
        table.add(f"c{case}", prediction, reference, spacing_mm=(1, 1, 2))
    about = {"subset": "test", "bundle": "dots", "bundle_version": "1.2.0", "weights_sha256": "ab" * 32}
    table.write(folder, about={**about, "split_seed": 7})
    return folder


def test_two_folders_are_compared_in_files_and_text(tmp_path: Path) -> None:
    folders = [_evaluation(tmp_path / "old", 2, range(12)), _evaluation(tmp_path / "new", 1, range(1, 13))]
    comparison = compare(folders, output=tmp_path / "out", measures=["dice", "hausdorff95_mm"])
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "comparison.csv", "comparison.json", "comparison.txt", "ranking.csv"
    ]  # fmt: skip
    assert (comparison.cases, comparison.left_out) == (11, {"old": 1, "new": 1})
    with (tmp_path / "out" / "comparison.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["first"], row["second"], row["measure"]) for row in rows] == [
        ("old", "new", "dice"), ("old", "new", "hausdorff95_mm")
    ]  # fmt: skip
    assert [float(row["difference"]) for row in rows] == pytest.approx(
        [row.difference for row in comparison.differences]
    )
    assert float(rows[0]["effect"]) == float(rows[1]["effect"]) == 1
    facts = {"subset": "test", "bundle": "dots", "bundle_version": "1.2.0", "weights_sha256": "ab" * 32,
             "split_seed": "7"}  # fmt: skip
    for side in ("first", "second"):
        assert {key: rows[0][f"{side}_{key}"] for key in facts} == facts
    with (tmp_path / "out" / "ranking.csv").open(newline="") as file:
        places = list(csv.DictReader(file))
    assert [(row["measure"], row["place"], row["name"]) for row in places] == [
        ("dice", "1", "new"), ("dice", "2", "old"), ("hausdorff95_mm", "1", "new"), ("hausdorff95_mm", "2", "old")
    ]  # fmt: skip
    counts = {"cases": "11", "patients": "11", "bootstrap_seed": "0"}
    assert all({key: row[key] for key in facts | counts} == facts | counts for row in places)
    content = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert content["evaluations"]["new"]["weights_sha256"] == "ab" * 32
    assert (content["cases"], content["patients"], content["bootstrap"]["seed"]) == (11, 11, 0)
    text = (tmp_path / "out" / "comparison.txt").read_text()
    assert "new (second) against old (first)" in text
    assert "new: subset test, bundle dots 1.2.0, weights abababababab (SHA-256), seed of the split 7" in text
    assert "old: 1 further cases are left out" in text


def test_three_folders_are_ranked(tmp_path: Path) -> None:
    folders = [_evaluation(tmp_path / name, shift, range(8)) for name, shift in (("a", 3), ("b", 0), ("c", 1))]
    compare(folders, output=tmp_path / "out", measures=["dice"])
    with (tmp_path / "out" / "ranking.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["place"], row["name"], row["share_of_place_1"]) for row in rows] == [
        ("1", "b", "1"), ("2", "c", "0"), ("3", "a", "0")
    ]  # fmt: skip


def test_other_tolerances_and_one_folder_twice_are_refused(tmp_path: Path) -> None:
    first, other = _evaluation(tmp_path / "a", 1, range(4)), _evaluation(tmp_path / "b", 1, range(4), tolerance=3)
    with pytest.raises(InputError, match="b: was scored with another tolerance than a"):
        compare([first, other], output=tmp_path / "out")
    with pytest.raises(InputError, match="one result is given twice"):
        compare([first, tmp_path / "b" / ".." / "a"], output=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_folders_of_one_name_go_by_their_paths(tmp_path: Path) -> None:
    folders = [_evaluation(tmp_path / name / "evaluation", 1, range(4)) for name in "ab"]
    assert compare(folders, output=tmp_path / "out").names == tuple(map(str, folders))
