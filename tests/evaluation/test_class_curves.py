"""Bands and intervals of classifications against slow, plain computations and scikit-learn."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import sklearn.metrics
from scipy.stats import bootstrap

from pipeline.evaluation import ClassificationTable, read_measures
from pipeline.evaluation.bootstrap import draws
from pipeline.evaluation.classification.curves import class_bins, class_curves, curve_bands, positive_classes
from pipeline.evaluation.classification.summary import class_measures, overall_measures

NAMES = {"0": "normal", "1": "bacterial", "2": "viral"}


def _three(count: int = 90) -> tuple[ClassificationTable, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(1)
    reference = generator.integers(0, 3, count)
    scores = generator.integers(1, 6, (count, 3)).astype(float)
    scores[np.arange(count), reference] += 2
    probabilities = scores / scores.sum(axis=1, keepdims=True)
    table = ClassificationTable(NAMES)
    for i in range(count):
        table.add(f"case{i:02}", probabilities[i], int(reference[i]), patient=f"p{i // 3}")
    return table, reference, probabilities


def _two(probabilities: list[float], reference: list[int]) -> ClassificationTable:
    table = ClassificationTable({0: "no", 1: "yes"})
    for i, (p, truth) in enumerate(zip(probabilities, reference, strict=True)):
        table.add(f"c{i}", [1 - p, p], truth)
    return table


def test_measures_of_classes_agree_with_scikit_learn() -> None:
    table, reference, probabilities = _three()
    predicted, found = probabilities.argmax(axis=1), class_measures(table)
    assert list(found) == list(NAMES.values())
    for k, name in enumerate(NAMES.values()):
        truth, decided, p = reference == k, predicted == k, probabilities[:, k]
        expected = {
            "roc_auc": sklearn.metrics.roc_auc_score(truth, p),
            "average_precision": sklearn.metrics.average_precision_score(truth, p),
            "sensitivity": sklearn.metrics.recall_score(truth, decided),
            "specificity": sklearn.metrics.recall_score(~truth, ~decided),
            "precision": sklearn.metrics.precision_score(truth, decided),
            "negative_predictive_value": sklearn.metrics.precision_score(~truth, ~decided),
            "f1": sklearn.metrics.f1_score(truth, decided),
            "brier": sklearn.metrics.brier_score_loss(truth, p),
        }
        assert {measure: row["value"] for measure, row in found[name].items()} == pytest.approx(expected)
        assert all(row["low"] < row["value"] < row["high"] for row in found[name].values())
    whole = overall_measures(table)["brier"]
    assert whole["value"] == pytest.approx(((probabilities - np.eye(3)[reference]) ** 2).sum(axis=1).mean())
    assert overall_measures(table)["accuracy"] == table.summary()["accuracy"]


def test_the_interval_of_a_sensitivity_is_scipys_over_the_patients_with_positive_cases() -> None:
    table, reference, probabilities = _three()
    hit = probabilities.argmax(axis=1) == 1
    patients = np.arange(90) // 3
    sums = np.array([[(hit & (reference == 1))[patients == p].sum(), (reference == 1)[patients == p].sum()]
                     for p in range(30)])  # fmt: skip
    sums = sums[sums[:, 1] > 0]
    expected = bootstrap(
        (np.arange(len(sums)),),
        lambda drawn: sums[drawn, 0].sum() / sums[drawn, 1].sum(),
        vectorized=False, n_resamples=6000, method="BCa", rng=np.random.default_rng(7),
    ).confidence_interval  # fmt: skip
    row = class_measures(table)["bacterial"]["sensitivity"]
    assert (row["low"], row["high"]) == pytest.approx(tuple(expected), abs=0.02)


def test_of_two_classes_the_second_is_the_positive_one() -> None:
    table = _two([0.9, 0.8, 0.6, 0.3, 0.2], [1, 1, 0, 1, 0])
    assert positive_classes(table) == [1]
    (curves,) = class_curves(table)
    assert (curves.name, curves.positives, curves.negatives) == ("yes", 3, 2)
    assert curves.decided == pytest.approx((1 / 2, 2 / 3, 2 / 3))
    assert overall_measures(table)["brier"]["value"] == pytest.approx(
        sklearn.metrics.brier_score_loss([1, 1, 0, 1, 0], [0.9, 0.8, 0.6, 0.3, 0.2])
    )
    several = ClassificationTable({0: "a", 1: "b"}, multi_label=True)
    assert positive_classes(several) == [0, 1]


def test_bands_are_percentiles_of_scikit_learns_curves_of_the_draws() -> None:
    generator = np.random.default_rng(2)
    positive = generator.random(60) < 0.4
    scores = generator.normal(positive * 0.8, 1).round(1)
    patients = [f"p{n // 2}" for n in range(60)]
    roc, recall = curve_bands(scores, positive, patients, resamples=80, seed=5)
    assert roc is not None
    assert recall is not None
    place = np.unique(patients, return_inverse=True)[1]
    rates, precisions = [], []
    for times in np.concatenate(list(draws(30, 80, 5))):
        weights = times[place]
        x, y, _ = sklearn.metrics.roc_curve(positive, scores, sample_weight=weights, drop_intermediate=False)
        at = []
        for grid in np.linspace(0, 1, 101):
            reached = y[np.isclose(x, grid, atol=1e-12)]
            at.append(reached.max() if reached.size else np.interp(grid, x, y))
        rates.append(at)
        p, r, _ = sklearn.metrics.precision_recall_curve(positive, scores, sample_weight=weights)
        p, r = p[:-1], r[:-1]
        precisions.append([p[r >= max(grid - 1e-9, 1e-9)][-1] for grid in np.linspace(0, 1, 101)])
    np.testing.assert_allclose((roc.low, roc.high), np.quantile(rates, [0.025, 0.975], axis=0), atol=1e-9)
    np.testing.assert_allclose((recall.low, recall.high), np.quantile(precisions, [0.025, 0.975], axis=0), atol=1e-9)
    assert (roc.low <= roc.high).all()


def test_one_patient_has_no_band_and_no_interval() -> None:
    table = ClassificationTable(NAMES)
    for n, truth in enumerate((0, 1, 2, 1)):
        table.add(f"c{n}", np.roll([0.6, 0.3, 0.1], n), truth, patient="only")
    assert all(one.roc is not None and one.roc_band is None and one.recall_band is None for one in class_curves(table))
    assert all(math.isnan(row["low"]) for row in class_measures(table)["normal"].values())


def test_degenerate_sets_are_undefined_not_wrong() -> None:
    one = _two([0.8], [1])
    (curves,) = class_curves(one)
    assert curves.roc is None
    assert curves.recall is not None
    assert math.isnan(curves.decided[0])
    assert class_measures(one)["yes"]["sensitivity"]["value"] == 1
    assert math.isnan(class_measures(one)["yes"]["specificity"]["value"])
    absent = ClassificationTable(NAMES)
    for n in range(6):
        absent.add(f"c{n}", [0.5, 0.3, 0.2], n % 2)
    viral = class_curves(absent)[2]
    assert (viral.roc, viral.recall, viral.roc_band, viral.recall_band) == (None, None, None, None)
    assert math.isnan(class_measures(absent)["viral"]["roc_auc"]["value"])
    ties = class_curves(absent)[0]
    assert ties.roc is not None
    assert [points.tolist() for points in ties.roc] == [[0, 1], [0, 1]], "all probabilities are one: a straight line"
    assert class_bins(absent)["normal"].counts.tolist() == [6]
    assert class_curves(ClassificationTable(NAMES)) == []
    assert class_bins(ClassificationTable(NAMES)) == {}


def test_a_case_without_a_prediction_is_wrong_and_not_calibrated(tmp_path: Path) -> None:
    table = _two([0.9, 0.2, 0.7, 0.1], [1, 0, 1, 0])
    table.add_missing({"lost": "no file"}, {"lost": 0})
    row = class_measures(table)["yes"]
    assert row["specificity"]["value"] == pytest.approx(2 / 3), "a negative case that was not read is no right one"
    assert row["negative_predictive_value"]["value"] == 1
    assert row["roc_auc"]["value"] == pytest.approx(4 / 6), "it is above both positive cases"
    (curves,) = class_curves(table)
    assert curves.roc is not None
    assert [points.tolist() for points in curves.roc] == [
        pytest.approx([0, 1 / 3, 1 / 3, 1 / 3, 2 / 3, 1]), pytest.approx([0, 0, 0.5, 1, 1, 1])
    ]  # fmt: skip
    assert curves.decided == pytest.approx((1 / 3, 1, 1)), "on the curve"
    assert row["brier"]["value"] == pytest.approx((0.01 + 0.04 + 0.09 + 0.01) / 4)
    assert class_bins(table)[""].counts.sum() == 4
    table.write(tmp_path)
    measures = read_measures(tmp_path)
    assert measures.labels == ("no", "yes")
    lost = measures.cases.index("lost")
    assert np.isnan(measures.values["probability"][lost]).all()
    assert measures.values["correct"][lost].tolist() == [0, 0]
    assert measures.values["probability"][0].tolist() == pytest.approx([0.1, 0.9])
    assert measures.notes == {"lost": "no prediction: no file"}


def test_the_summary_file_holds_the_measures(tmp_path: Path) -> None:
    table, _, _ = _three()
    table.write(tmp_path, about={"subset": "test"})
    content = json.loads((tmp_path / "summary.json").read_text())
    assert (content["task"], content["subset"], content["with_reference"]) == ("classification", "test", 90)
    assert content["summary"]["classes"] == class_measures(table)
    assert content["summary"]["overall"] == overall_measures(table)
    assert set(content["definitions"]) >= {name for row in content["summary"]["classes"].values() for name in row}
    assert sum(content["calibration"]["viral"]["counts"]) == 90
    assert sum(content["classes"].values()) == 90
