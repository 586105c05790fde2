from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.evaluation import ClassificationTable
from pipeline.reports import Picture, draw_confusion, draw_contact_sheet, report_classification, report_predictions

NAMES = {0: "normal", 1: "bacterial", 2: "viral"}
RED = (200, 54, 47)


def _save(folder: Path, name: str, pixels: np.ndarray) -> Path:
    Image.fromarray(pixels).save(folder / name)
    return folder / name


def _pixels(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        return np.asarray(picture.convert("RGB")).astype(int)


def _share(path: Path, colour: tuple[int, int, int]) -> float:
    return float((np.abs(_pixels(path) - colour).max(axis=2) < 8).mean())


def test_an_evaluation_ends_with_files_a_log_and_its_summary(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    table = ClassificationTable(NAMES)
    for i in range(12):
        table.add(f"case{i}", np.eye(3)[(i + (i == 5)) % 3], i % 3)
    with caplog.at_level(logging.INFO):
        summary = report_classification(
            table=table, failures={"bad": "cannot be read"}, folder=tmp_path, subset="test",
            references={"bad": 2}, patients={"bad": "p"},
        )  # fmt: skip
    assert summary["accuracy"]["value"] == pytest.approx(11 / 13)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "classification.json", "confusion.csv", "confusion.png", "metrics.csv", "probabilities.csv", "summary.json"
    ]  # fmt: skip
    content = json.loads((tmp_path / "classification.json").read_text())
    assert (content["subset"], content["missing"]) == ("test", {"bad": "cannot be read"})
    assert "subset test" in caplog.text
    assert "bad: no prediction, counted as wrong: cannot be read" in caplog.text
    assert str(tmp_path / "confusion.png") in caplog.text
    assert _pixels(tmp_path / "confusion.png").std() > 10


def test_an_evaluation_shows_its_mistakes_first(tmp_path: Path) -> None:
    table, cases = ClassificationTable(NAMES), []
    for i in range(30):
        wrong = i >= 28
        level = 255 if wrong else 100
        file = _save(tmp_path, f"{i}.png", np.full((20, 20), level, dtype=np.uint8))
        cases.append({"name": str(i), "image": str(file)})
        table.add(str(i), [0.1, 0.9, 0] if wrong else [1, 0, 0], 0)
    report_classification(table=table, failures={}, folder=tmp_path / "eval", subset="test", cases=cases)
    pixels = _pixels(tmp_path / "eval" / "predictions.png")
    red = (np.abs(pixels - RED).max(axis=2) < 8).any(axis=0).nonzero()[0]
    assert red.min() < pixels.shape[1] / 12
    assert pixels.shape[1] / 6 < red.max() < pixels.shape[1] / 2.5  # two of six columns


def test_an_inference_ends_with_probabilities_a_picture_and_a_short_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    table = ClassificationTable(NAMES)
    cases = []
    for i in range(25):
        file = _save(tmp_path, f"case{i:02}.png", np.full((8, 8), 10 * i, dtype=np.uint8))
        cases.append({"name": file.stem, "image": str(file)})
        table.add(file.stem, [0.125, 0.25, 0.625])
    with caplog.at_level(logging.INFO):
        files = report_predictions(table=table, failures={"a": "empty"}, folder=tmp_path / "out", cases=cases)
    assert files == [tmp_path / "out" / "probabilities.csv", tmp_path / "out" / "predictions.png"]
    assert sorted((tmp_path / "out").iterdir()) == sorted(files)
    lines = caplog.messages[-1].splitlines()
    assert [" ".join(line.split()) for line in lines[:3]] == [
        "case predicted probability", "a no prediction: empty", "case00 viral 0.625"
    ]  # fmt: skip
    assert lines[21] == "and 6 more"
    assert _share(tmp_path / "out" / "predictions.png", RED) == 0


def test_an_inference_of_volumes_has_no_picture(tmp_path: Path) -> None:
    volume = tmp_path / "a.nii.gz"
    volume.write_bytes(b"no picture")
    stack = tmp_path / "b.tif"
    Image.new("L", (4, 4)).save(stack, save_all=True, append_images=[Image.new("L", (4, 4))])
    table = ClassificationTable(NAMES, multi_label=True)
    cases = [{"name": path.name, "image": [str(path)]} for path in (volume, stack, tmp_path)]
    for case in cases:
        table.add(case["name"], [0.6, 0.7, 0.1])
    files = report_predictions(table=table, failures={}, folder=tmp_path / "out", cases=cases)
    assert [path.name for path in files] == ["probabilities.csv"]


@pytest.mark.parametrize("right", [True, False, None])
def test_only_a_wrong_picture_has_a_red_frame(tmp_path: Path, right: bool | None) -> None:
    file = _save(tmp_path, "a.png", np.full((30, 50), 128, dtype=np.uint8))
    sheet = tmp_path / "sheet.png"
    assert draw_contact_sheet([Picture("a", file, {"x": 0.7, "y": 0.3}, ("x",), "y", right)], sheet)
    assert (_share(sheet, RED) > 0.01) is (right is False)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bits_are_stretched_between_percentiles(tmp_path: Path, suffix: str) -> None:
    pixels = np.full((64, 64), 1000, dtype=np.uint16)
    pixels[:, 32:] = 3000
    pixels[0, 0] = 65535  # one hot pixel must not darken the rest
    file = _save(tmp_path, f"a{suffix}", pixels)
    sheet = tmp_path / "sheet.png"
    assert draw_contact_sheet([Picture("a", file, {"x": 1.0})], sheet)
    assert _share(sheet, (0, 0, 0)) > 0.2
    assert _share(sheet, (255, 255, 255)) > 0.2


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tif"])
def test_colours_and_proportions_are_kept(tmp_path: Path, suffix: str) -> None:
    file = _save(tmp_path, f"a{suffix}", np.full((20, 80, 3), (0, 200, 0), dtype=np.uint8))
    sheet = tmp_path / "sheet.png"
    assert draw_contact_sheet([Picture("a", file, {"x": 1.0})], sheet)
    green, black = _share(sheet, (0, 200, 0)), _share(sheet, (0, 0, 0))
    assert black == pytest.approx(3 * green, rel=0.1)  # a quarter of the square


def test_at_most_24_pictures_in_rows_of_six(tmp_path: Path) -> None:
    file = _save(tmp_path, "a.png", np.full((10, 10), 128, dtype=np.uint8))
    shapes = {}
    for count in (1, 6, 7, 24, 60):
        draw_contact_sheet([Picture("n" * 90, file, {"x": 1.0})] * count, tmp_path / "sheet.png")
        shapes[count] = _pixels(tmp_path / "sheet.png").shape
    assert shapes[24] == shapes[60]
    assert shapes[6][1] == shapes[7][1] == shapes[24][1] > shapes[1][1]
    assert shapes[1][0] == shapes[6][0] < shapes[7][0] < shapes[24][0]


def test_confusion_is_darkest_where_the_share_of_the_row_is_largest(tmp_path: Path) -> None:
    # A rare class that is always right is as dark as a common one.
    draw_confusion(np.array([[3, 0], [0, 5000]]), ["rare", "common"], tmp_path / "a.png", "right")
    draw_confusion(np.array([[0, 3], [5000, 0]]), ["rare", "common"], tmp_path / "b.png", "wrong")
    right, wrong = _pixels(tmp_path / "a.png").sum(axis=2), _pixels(tmp_path / "b.png").sum(axis=2)
    height, width = right.shape
    corner = np.s_[int(0.15 * height) : int(0.25 * height), int(0.35 * width) : int(0.45 * width)]
    other = np.s_[int(0.6 * height) : int(0.65 * height), int(0.85 * width) : int(0.9 * width)]
    assert np.median(right[corner]) == np.median(right[other]) < 400
    assert np.median(wrong[corner]) == np.median(wrong[other]) > 650


def test_confusion_grows_with_calibration_classes_and_a_column_for_none(tmp_path: Path) -> None:
    def shape(matrix: np.ndarray, classes: list[str], **options: tuple[np.ndarray, np.ndarray]) -> tuple[int, ...]:
        draw_confusion(matrix, classes, tmp_path / "a.png", "title", **options)
        return _pixels(tmp_path / "a.png").shape

    names = [f"class {k}" for k in range(4)]
    plain, full = np.eye(4, dtype=int), np.hstack([np.eye(4, dtype=int), np.ones((4, 1), dtype=int)])
    unused = np.hstack([np.eye(4, dtype=int), np.zeros((4, 1), dtype=int)])
    assert shape(plain, names) == shape(unused, names)
    assert shape(full, names)[1] > shape(plain, names)[1]
    with_bins = shape(plain, names, calibration=(np.array([0.4, 0.9]), np.array([False, True])))
    assert with_bins[1] > shape(plain, names)[1] + 400
    assert shape(plain, names, calibration=(np.array([]), np.array([], dtype=bool))) == shape(plain, names)
    many = [f"class {k}" for k in range(40)]
    assert max(shape(np.eye(40, dtype=int), many)) < 3500
    assert shape(np.ones((2, 2, 2), dtype=int), ["a", "b"])[0] > 300
