from __future__ import annotations

import csv
import hashlib
import json
import math
import statistics
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import surface_distance

from pipeline.errors import InputError
from pipeline.evaluation import ScoreTable, provenance, read_measures, report_scores
from pipeline.metrics import dice_per_label

SPACING = (0.8, 0.8, 2.5)


def _maps(seed: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    reference = np.zeros((18, 20, 9), dtype=np.uint8)
    reference[3:9, 4:12, 2:7], reference[9:15, 4:12, 2:7] = 1, 2
    moved = np.roll(reference, generator.integers(-2, 3, 3), (0, 1, 2))
    return np.where(generator.random(reference.shape) < 0.02, 1, moved).astype(np.uint8), reference


def _rows(folder: Path, name: str = "metrics.csv") -> list[dict[str, str]]:
    with (folder / name).open(newline="") as file:
        return list(csv.DictReader(file))


def _filled(count: int = 6) -> ScoreTable:
    table = ScoreTable({"1": "head", "2": "tail"}, tolerance_mm={"1": 1.0, "2": 2.0})
    for case in range(count):
        table.add(f"c{case}", *_maps(case), patient=f"p{case // 2}", spacing_mm=SPACING)
    return table


def test_every_case_and_label_has_a_row_that_agrees_with_simpleitk(tmp_path: Path) -> None:
    _filled().write(tmp_path)
    rows = _rows(tmp_path)
    assert [(row["case"], row["label"]) for row in rows] == [(f"c{k}", n) for k in range(6) for n in ("head", "tail")]
    for row in rows:
        value = {"head": 1, "tail": 2}[row["label"]]
        images = []
        for labels in _maps(int(row["case"][1:])):
            image = sitk.GetImageFromArray((labels == value).astype(np.uint8).transpose(2, 1, 0))
            image.SetSpacing(SPACING)
            images.append(image)
        overlap, shapes = sitk.LabelOverlapMeasuresImageFilter(), sitk.LabelShapeStatisticsImageFilter()
        overlap.Execute(images[0], images[1])  # the second is the truth
        assert float(row["dice"]) == pytest.approx(overlap.GetDiceCoefficient(), rel=1e-8)
        assert float(row["iou"]) == pytest.approx(overlap.GetJaccardCoefficient(), rel=1e-8)
        assert float(row["sensitivity"]) == pytest.approx(1 - overlap.GetFalseNegativeError(), rel=1e-8)
        volumes, centres = [], []
        for image in images:
            shapes.Execute(image)
            volumes.append(shapes.GetPhysicalSize(1) / 1000)
            centres.append(shapes.GetCentroid(1))
        assert float(row["prediction_volume_ml"]) == pytest.approx(volumes[0], rel=1e-8)
        assert float(row["reference_volume_ml"]) == pytest.approx(volumes[1], rel=1e-8)
        difference = volumes[0] - volumes[1]
        assert float(row["volume_difference_ml"]) == pytest.approx(difference, rel=1e-6, abs=1e-12)
        assert float(row["volume_difference_percent"]) == pytest.approx(100 * difference / volumes[1], rel=1e-6)
        assert float(row["centroid_distance_mm"]) == pytest.approx(math.dist(*centres), rel=1e-6)
        distances = sitk.HausdorffDistanceImageFilter()
        distances.Execute(*images)  # over all voxels of the masks, which is the same for the largest distance
        assert float(row["hausdorff_mm"]) == pytest.approx(distances.GetHausdorffDistance(), rel=1e-5)
        assert float(row["tolerance_mm"]) == {1: 1.0, 2: 2.0}[value]


def test_the_summary_says_what_was_scored_and_how(tmp_path: Path) -> None:
    bundle = tmp_path / "dots_segmentation"
    (bundle / "configs").mkdir(parents=True)
    (bundle / "configs" / "metadata.json").write_text('{"version": "1.2.3"}')
    (bundle / "model.pt").write_bytes(b"weights")
    (bundle / "datalist.json").write_text('{"seed": 5, "fold": 2}')
    report_scores(
        table=_filled(), failures={"c9": "cannot be read"}, folder=tmp_path / "out", subset="validation",
        patients={"c9": "p4"}, bundle=bundle, weights=bundle / "model.pt", datalist=bundle / "datalist.json",
    )  # fmt: skip
    content = json.loads((tmp_path / "out" / "summary.json").read_text())
    facts = {
        "subset": "validation", "bundle": "dots_segmentation", "bundle_version": "1.2.3", "cases": 7, "patients": 4,
        "weights_sha256": hashlib.sha256(b"weights").hexdigest(), "datalist": str(bundle / "datalist.json"),
        "split_seed": 5, "fold": 2, "labels": {"1": "head", "2": "tail"}, "tolerance": {"head": 1.0, "tail": 2.0},
        "missing": {"c9": "cannot be read"},
    }  # fmt: skip
    assert {key: content[key] for key in facts} == facts
    assert content["bootstrap"] == {
        "method": "BCa", "level": 0.95, "resamples": 2000, "seed": 0, "drawn": "patients"
    }  # fmt: skip
    rows = [row for row in _rows(tmp_path / "out") if row["label"] == "head"]
    in_every_row = {
        "patients": "4", "subset": "validation", "fold": "2", "bundle": "dots_segmentation", "bundle_version": "1.2.3",
        "weights_sha256": hashlib.sha256(b"weights").hexdigest(), "split_seed": "5", "bootstrap_seed": "0",
    }  # fmt: skip
    for row in (*rows, *_rows(tmp_path / "out", "dice.csv")):
        assert {key: row[key] for key in in_every_row} == in_every_row
    other = ("case", "patient", "label", "note", "tolerance_mm", *in_every_row)
    columns = [name for name in rows[0] if name not in other]
    assert list(content["summary"]["head"]) == columns
    for name in columns:
        finite = [float(row[name]) for row in rows if math.isfinite(float(row[name]))]
        got = content["summary"]["head"][name]
        assert got["mean"] == pytest.approx(statistics.mean(finite), rel=1e-6, abs=1e-9)
        assert got["median"] == pytest.approx(statistics.median(finite), rel=1e-6, abs=1e-9)
        assert got["std"] == pytest.approx(statistics.stdev(finite), rel=1e-6, abs=1e-9)
        assert got["finite"] == len(finite)
        assert set(columns) <= set(content["definitions"])
    dice = json.loads((tmp_path / "out" / "dice.json").read_text())["summary"]["head"]
    assert content["summary"]["head"]["dice"]["mean"] == dice["mean"]
    assert [content["summary"]["head"]["dice"][end] for end in ("low", "high")] == pytest.approx(
        [dice["low"], dice["high"]]
    )


def test_what_is_not_given_is_null() -> None:
    facts = provenance(weights="absent.pt")
    assert facts.pop("medbundle")
    assert facts.pop("weights") == "absent.pt"
    assert set(facts.values()) == {None}


def test_infinite_and_undefined_distances_are_tabled_and_counted(tmp_path: Path) -> None:
    table = ScoreTable({1: "lesion"})
    filled, empty = np.zeros((2, 6, 6, 6), dtype=np.uint8)
    filled[2:4, 2:4, 2:4] = 1
    for name, maps in {"a": (filled, filled), "b": (filled, empty), "c": (empty, filled), "d": (empty, empty)}.items():
        table.add(name, *maps, spacing_mm=(1, 1, 1))
    table.add_missing({"e": "lost"})
    table.write(tmp_path)
    rows = {row["case"]: row for row in _rows(tmp_path)}
    expected = {
        "hausdorff95_mm": ("0", "inf", "inf", "nan", "inf"), "dice": ("1", "0", "0", "1", "0"),
        "precision": ("1", "0", "0", "nan", "0"), "sensitivity": ("1", "nan", "0", "nan", "0"),
        "volume_difference_percent": ("0", "inf", "-100", "0", "nan"),
        "false_positive_lesions": ("0", "1", "0", "0", "nan"),
    }  # fmt: skip
    for name, values in expected.items():
        assert tuple(rows[case][name] for case in "abcde") == values, name
    assert rows["e"]["note"] == "lost"
    content = json.loads((tmp_path / "summary.json").read_text())["summary"]["lesion"]
    counts = {name: [content[name][kind] for kind in ("finite", "infinite", "undefined")] for name in expected}
    assert counts == {
        "hausdorff95_mm": [1, 3, 1], "dice": [5, 0, 0], "precision": [4, 0, 1], "sensitivity": [3, 0, 2],
        "volume_difference_percent": [3, 1, 1], "false_positive_lesions": [4, 0, 1],
    }  # fmt: skip
    assert content["hausdorff95_mm"]["mean"] == 0
    assert content["dice"]["mean"] == pytest.approx(2 / 5)
    (line,) = [line for line in table.text().splitlines() if "hausdorff95" in line]
    assert line.split()[-3:] == ["1", "3", "1"]


def test_pictures_are_measured_in_pixels_and_slices_in_mm(tmp_path: Path) -> None:
    prediction, reference = np.zeros((2, 20, 20), dtype=np.uint8)
    prediction[3:9, 3:9], reference[5:11, 3:9] = 1, 1
    table = ScoreTable({1: "square"})
    table.add("a", prediction, reference)
    table.write(tmp_path / "picture")
    (row,) = _rows(tmp_path / "picture")
    assert not [name for name in row if "mm" in name or "ml" in name]
    assert (float(row["hausdorff_pixel"]), float(row["reference_area_pixel"])) == (2, 36)
    table = ScoreTable({1: "square"})
    table.add("a", prediction, reference, spacing_mm=(0.5, 3))
    table.write(tmp_path / "slice")
    (row,) = _rows(tmp_path / "slice")
    assert not [name for name in row if "pixel" in name or "ml" in name]
    assert (float(row["hausdorff_mm"]), float(row["reference_area_mm2"])) == (1, 54)


def test_a_table_reads_as_it_was_written(tmp_path: Path) -> None:
    table = _filled()
    table.add_missing({"lost": "no file, none"})
    table.write(tmp_path)
    ours, again = table.measures(), read_measures(tmp_path)
    assert (again.cases, again.labels, again.patients) == (ours.cases, ours.labels, ours.patients)
    assert again.notes == {"lost": "no file, none"}
    assert list(again.values) == list(ours.values)
    for name, values in ours.values.items():
        np.testing.assert_allclose(again.values[name], values, rtol=1e-8, err_msg=name)


def test_a_case_that_is_scored_after_all_is_not_missing() -> None:
    table = ScoreTable({1: "head"})
    table.add_missing({"a": "lost"})
    table.add("a", np.ones((3, 3), int), np.ones((3, 3), int))
    assert (table.missing, table.summary()["head"]["mean"]) == ({}, 1.0)
    assert table.measures().values["dice"].tolist() == [[1.0]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no column case"),
        ("case,label,dice\na,x,1\n", "has no column patient"),
        ("case,patient,label,dice\na,p,x,1\na,p,x,1\n", "is not complete"),
        ("case,patient,label,dice\na,p,x,1\na,p,y,1\nb,p,x,1\n", "3 rows of 2 cases and 2 labels"),
        ("case,patient,label,dice\na,p,x,high\n", "a cell that is no number"),
        ("case,patient,label,dice\n", "is not complete"),
    ],
)
def test_a_damaged_table_is_refused_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "metrics.csv").write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        read_measures(tmp_path)
    assert str(tmp_path / "metrics.csv") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_absent_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_measures(tmp_path)


def test_two_labels_of_one_name_are_refused() -> None:
    with pytest.raises(InputError, match="two labels have one name"):
        ScoreTable({1: "a", 2: "a"})


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), SPACING])
def test_the_dice_of_the_tables_is_that_of_a_plain_count(spacing: tuple[float, ...]) -> None:
    table = ScoreTable({1: "head", 2: "tail", 5: "none"})
    for case in range(5):
        table.add(f"c{case}", *_maps(case), spacing_mm=spacing)
        assert table.cases[f"c{case}"].tolist() == dice_per_label(*_maps(case), [1, 2, 5]).tolist(), "to the last bit"
    assert table.measures().values["dice"].tolist() == [dice.tolist() for dice in table.cases.values()]


@pytest.mark.filterwarnings("ignore:.*namespace is deprecated:DeprecationWarning")
def test_surface_elements_are_those_of_surface_distance() -> None:
    table = ScoreTable({1: "head", 2: "tail"}, tolerance_mm=1.3, definition="surface_element")
    table.add("a", *_maps(1), spacing_mm=SPACING)
    values = table.measures().values
    for k, label in enumerate((1, 2)):
        masks = [labels == label for labels in _maps(1)]
        theirs = surface_distance.compute_surface_distances(masks[1], masks[0], SPACING)
        expected = {
            "hausdorff95_mm": surface_distance.compute_robust_hausdorff(theirs, 95),
            "nsd": surface_distance.compute_surface_dice_at_tolerance(theirs, 1.3),
        }
        for name, value in expected.items():
            assert values[name][0, k] == pytest.approx(value, rel=1e-6), name
