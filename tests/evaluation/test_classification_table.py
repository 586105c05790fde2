from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import sklearn.metrics

from pipeline.errors import InputError
from pipeline.evaluation import ClassificationTable

NAMES = {"0": "normal", "1": "bacterial", "2": "viral"}


def _filled(count: int = 80, seed: int = 0) -> tuple[ClassificationTable, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    reference = generator.integers(0, 3, count)
    scores = generator.integers(1, 6, (count, 3)).astype(float)  # many ties
    scores[np.arange(count), reference] += 2
    probabilities = scores / scores.sum(axis=1, keepdims=True)
    table = ClassificationTable(NAMES)
    for i in range(count):
        table.add(f"case{i:02}", probabilities[i], int(reference[i]), patient=f"p{i // 4}")
    return table, reference, probabilities


def _filled_labels(count: int = 60) -> tuple[ClassificationTable, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(4)
    reference = (generator.random((count, 3)) < [0.2, 0.5, 0.7]).astype(int)
    probabilities = np.clip(generator.integers(0, 8, (count, 3)) / 10 + 0.25 * reference, 0, 1)
    table = ClassificationTable(NAMES, multi_label=True, threshold=0.4)
    for i in range(count):
        table.add(f"case{i:02}", probabilities[i], reference[i].tolist())
    return table, reference, probabilities


def _values(summary: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    return {name: row["value"] for name, row in summary.items() if name != "classes"}


def _read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_one_class_per_case_agrees_with_scikit_learn() -> None:
    table, reference, probabilities = _filled()
    predicted = probabilities.argmax(axis=1)
    values = _values(table.summary())
    assert values.pop("expected_calibration_error") > 0
    assert values == pytest.approx(
        {
            "accuracy": sklearn.metrics.accuracy_score(reference, predicted),
            "balanced_accuracy": sklearn.metrics.balanced_accuracy_score(reference, predicted),
            "f1_macro": sklearn.metrics.f1_score(reference, predicted, average="macro"),
            "roc_auc_macro": sklearn.metrics.roc_auc_score(reference, probabilities, multi_class="ovr"),
        }
    )
    precision, recall, f1, count = sklearn.metrics.precision_recall_fscore_support(reference, predicted)
    for k, name in enumerate(NAMES.values()):
        auc = sklearn.metrics.roc_auc_score(reference == k, probabilities[:, k])
        expected = {"recall": recall[k], "precision": precision[k], "f1": f1[k], "roc_auc": auc, "count": count[k]}
        assert table.summary()["classes"][name] == pytest.approx(expected)
    judged = table.judged()
    assert judged is not None
    np.testing.assert_array_equal(judged.confusion()[:, :3], sklearn.metrics.confusion_matrix(reference, predicted))
    assert not judged.confusion()[:, 3].any()


def test_several_classes_per_case_agree_with_scikit_learn() -> None:
    table, reference, probabilities = _filled_labels()
    predicted = (probabilities >= 0.4).astype(int)
    values = _values(table.summary())
    balanced = [sklearn.metrics.balanced_accuracy_score(reference[:, k], predicted[:, k]) for k in range(3)]
    error = values.pop("expected_calibration_error")
    assert values == pytest.approx(
        {
            "exact_match": sklearn.metrics.accuracy_score(reference, predicted),
            "balanced_accuracy": np.mean(balanced),
            "f1_macro": sklearn.metrics.f1_score(reference, predicted, average="macro"),
            "roc_auc_macro": sklearn.metrics.roc_auc_score(reference, probabilities, average="macro"),
        }
    )
    judged = table.judged()
    assert judged is not None
    np.testing.assert_array_equal(judged.confusion(), sklearn.metrics.multilabel_confusion_matrix(reference, predicted))
    confidence = np.where(predicted, probabilities, 1 - probabilities).ravel()
    right, place = (reference == predicted).ravel(), np.ceil(np.round(confidence * 15, 9)).clip(1)
    gaps = [abs((right[place == b] - confidence[place == b]).sum()) for b in range(1, 16)]
    assert error == pytest.approx(sum(gaps) / confidence.size)


def test_intervals_hold_the_value_and_widen_with_patients() -> None:
    table, reference, probabilities = _filled()
    accuracy = table.summary()["accuracy"]
    assert 0 < accuracy["low"] < accuracy["value"] < accuracy["high"] < 1
    copies = ClassificationTable(NAMES)
    for i in range(80):
        for copy in "ab":
            copies.add(f"{i}{copy}", probabilities[i], int(reference[i]), patient=str(i))
    alone = ClassificationTable(NAMES)
    for name, case in copies.cases.items():
        alone.add(name, case.probabilities, int(reference[int(name[:-1])]))
    wide, narrow = copies.summary()["accuracy"], alone.summary()["accuracy"]
    assert wide["value"] == narrow["value"]
    assert wide["high"] - wide["low"] > 1.2 * (narrow["high"] - narrow["low"])
    assert copies.counts()["patients"] == 80


def test_a_missing_prediction_is_wrong_and_named(tmp_path: Path) -> None:
    table = ClassificationTable(NAMES)
    for name, reference in (("a", 0), ("b", 1), ("c", 2)):
        table.add(name, np.eye(3)[reference], reference)
    table.add_missing({"d": "cannot be read"}, {"a": 0, "d": 1})
    summary = table.summary()
    assert summary["accuracy"]["value"] == pytest.approx(3 / 4)
    assert summary["balanced_accuracy"]["value"] == pytest.approx((1 + 1 / 2 + 1) / 3)
    assert summary["classes"]["bacterial"]["recall"] == pytest.approx(1 / 2)
    assert summary["classes"]["bacterial"]["precision"] == 1
    assert summary["expected_calibration_error"]["value"] == 0
    assert "d: no prediction, counted as wrong: cannot be read" in table.text()
    table.write(tmp_path)
    last = _read(tmp_path / "probabilities.csv")[-1]
    assert last == {
        "case": "d", "reference": "bacterial", "predicted": "", "p_normal": "0.000000", "p_bacterial": "0.000000",
        "p_viral": "0.000000", "note": "cannot be read",
    }  # fmt: skip
    assert _read(tmp_path / "confusion.csv")[1] == {
        "reference": "bacterial", "normal": "0", "bacterial": "1", "viral": "0", "(no prediction)": "1"
    }  # fmt: skip


def test_a_missing_prediction_of_several_labels_is_wrong_even_where_none_is_true() -> None:
    table = ClassificationTable(NAMES, multi_label=True)
    table.add("a", [0.9, 0.1, 0.1], [1, 0, 0])
    table.add_missing({"b": "lost"}, {"b": [0, 0, 0]})
    assert table.summary()["exact_match"]["value"] == 0.5
    assert table.predicted("b") == ""
    assert table.right("b") is False


def test_a_failed_case_without_reference_is_named_and_not_counted() -> None:
    table = ClassificationTable(NAMES)
    table.add("a", [1, 0, 0], 0)
    table.add_missing({"b": "lost"})
    assert table.counts() == {"cases": 2, "patients": 2, "with_reference": 1, "without_prediction": 1}
    assert table.summary()["accuracy"]["value"] == 1
    assert "1 cases without a reference are not counted" in table.text()
    assert "b: no prediction: lost" in table.text()


def test_output_that_is_not_finite_is_no_prediction() -> None:
    table = ClassificationTable(NAMES)
    table.add("a", [float("nan"), 0.5, 0.5], 1)
    assert table.missing() == {"a": "the network's output is not finite"}
    assert table.right("a") is False


def test_undefined_measures_are_null_and_no_zero(tmp_path: Path) -> None:
    table = ClassificationTable(NAMES)
    table.add("a", [0.8, 0.2, 0.0], 0)
    table.add("b", [0.7, 0.3, 0.0], 1)
    summary = table.summary()
    assert math.isnan(summary["classes"]["bacterial"]["precision"])
    assert summary["classes"]["bacterial"]["recall"] == 0
    assert math.isnan(summary["classes"]["viral"]["recall"])
    assert summary["balanced_accuracy"]["value"] == 0.5  # of the two classes that occur
    files = table.write(tmp_path, about={"subset": "test", "share": float("nan")})

    def refuse(text: str) -> None:
        raise AssertionError(f"{text} is no JSON")

    content = json.loads(files[1].read_text(), parse_constant=refuse)
    assert content["summary"]["classes"]["bacterial"]["precision"] is None
    assert content["share"] is None
    assert content["subset"] == "test"
    assert "nan" not in table.text()


def test_files_with_references(tmp_path: Path) -> None:
    table, reference, probabilities = _filled()
    files = table.write(tmp_path / "new")
    names = ["probabilities.csv", "classification.json", "confusion.csv", "summary.json", "metrics.csv"]
    assert [path.name for path in files] == names
    assert sorted(files) == sorted((tmp_path / "new").iterdir())
    rows = _read(files[0])
    names = list(NAMES.values())
    for i, row in enumerate(rows):
        assert (row["case"], row["patient"]) == (f"case{i:02}", f"p{i // 4}")
        assert row["reference"] == names[reference[i]]
        assert row["predicted"] == names[probabilities[i].argmax()]
        assert [float(row[f"p_{name}"]) for name in names] == pytest.approx(probabilities[i].tolist(), abs=1e-6)
    content = json.loads(files[1].read_text())
    assert content["counts"] == {"cases": 80, "patients": 20, "with_reference": 80, "without_prediction": 0}
    assert content["threshold"] is None
    assert np.sum(content["confusion"]) == 80


def test_files_of_several_labels(tmp_path: Path) -> None:
    table, reference, probabilities = _filled_labels()
    files = table.write(tmp_path)
    expected = sklearn.metrics.multilabel_confusion_matrix(reference, probabilities >= 0.4).reshape(3, 4)
    rows = _read(files[2])
    assert [row["class"] for row in rows] == list(NAMES.values())
    columns = ("true_negative", "false_positive", "false_negative", "true_positive")
    assert [[int(row[name]) for name in columns] for row in rows] == expected.tolist()
    assert json.loads(files[1].read_text())["threshold"] == 0.4
    first = [name for name, p in zip(NAMES.values(), probabilities[0], strict=True) if p >= 0.4]
    assert _read(files[0])[0]["predicted"] == "; ".join(first)


def test_without_references_only_the_probabilities_are_written(tmp_path: Path) -> None:
    table = ClassificationTable(NAMES)
    table.add("a", [0.1, 0.2, 0.7])
    table.add("b", [0.1, 0.3, 0.6])
    assert table.summary() == {}
    assert [path.name for path in table.write(tmp_path)] == ["probabilities.csv"]
    rows = _read(tmp_path / "probabilities.csv")
    assert list(rows[0]) == ["case", "predicted", "p_normal", "p_bacterial", "p_viral", "note"]
    assert [row["predicted"] for row in rows] == ["viral", "viral"]
    assert table.text().splitlines()[-1].split() == ["viral", "2"]


def test_text_is_aligned() -> None:
    lines = _filled()[0].text().splitlines()
    start = lines.index("rows: reference, columns: predicted")
    assert len({len(line) for line in lines[start + 1 :]}) == 1
    assert "(80 cases of 20 patients)" in lines[0]


def test_a_threshold_includes_its_value_and_nothing_is_a_prediction_too() -> None:
    table = ClassificationTable(NAMES, multi_label=True, threshold=0.3)
    table.add("a", [0.3, 0.29, 0.9])
    table.add("b", [0.1, 0.1, 0.1])
    assert (table.predicted("a"), table.predicted("b")) == ("normal; viral", "")


def test_a_later_case_changes_the_summary() -> None:
    table = ClassificationTable(NAMES)
    table.add("a", [1, 0, 0], 0)
    assert table.summary()["accuracy"]["value"] == 1
    table.add("b", [1, 0, 0], 1)
    assert table.summary()["accuracy"]["value"] == 0.5


@pytest.mark.parametrize(
    ("classes", "options", "message"),
    [
        ({"1": "a", "2": "b"}, {}, "class numbers"),
        ({"0": "a"}, {}, "at least 2"),
        ({}, {"multi_label": True}, "at least 1"),
        ({"0": "a", "1": "a"}, {}, "one name"),
        ({"0": "a"}, {"multi_label": True, "threshold": 1.5}, "threshold"),
    ],
)
def test_refuses_unusable_classes(classes: dict[str, str], options: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ClassificationTable(classes, **options)


@pytest.mark.parametrize(
    ("multi_label", "probabilities", "reference", "message"),
    [
        (False, [0.5, 0.5], 0, "wrong shape"),
        (False, [-3.0, 0.0, 4.0], 0, "softmax"),
        (False, [0.2, 0.3, 0.5], 3, "one class number from 0 to 2"),
        (False, [0.2, 0.3, 0.5], [0, 1, 0], "one class number from 0 to 2"),
        (True, [0.2, 0.3, 0.5], 1, "3 zeros and ones"),
        (True, [0.2, 0.3, 0.5], [0, 1, 2], "3 zeros and ones"),
    ],
)
def test_refuses_unusable_cases(multi_label: bool, probabilities: list[float], reference: int, message: str) -> None:
    table = ClassificationTable(NAMES, multi_label=multi_label)
    with pytest.raises(InputError, match=message):
        table.add("a", probabilities, reference)
    assert table.cases == {}
