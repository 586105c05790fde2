"""The page of a classification, parsed again by Python's own parsers, and its curves against scikit-learn."""

from __future__ import annotations

import base64
import io
import json
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import sklearn.metrics
from PIL import Image
from reports.scored_pages import CLASSES, HOSTILE, scored_page, written

from pipeline.evaluation import ClassificationTable
from pipeline.reports import report_classification
from pipeline.reports.html import report_classes

SPACE = "{http://www.w3.org/2000/svg}"


class Page(HTMLParser):
    """Elements with their attributes and texts; the measures of classes by class and measure."""

    def __init__(self, path: Path) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None], list[str]]] = []
        self.open: list[tuple[str, dict[str, str | None], list[str]]] = []
        self.numbers: dict[tuple[str, str], list[float]] = {}
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        element = (tag, dict(attrs), [])
        self.elements.append(element)
        if tag not in {"meta", "link", "input", "br", "img"}:
            self.open.append(element)
        above = {key: value for _, attributes, _ in self.open for key, value in attributes.items()}
        if tag == "data" and "data-measure" in above:
            self.numbers.setdefault((above["data-class"], above["data-measure"]), []).append(
                float(dict(attrs)["value"])
            )

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs), []))

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        for _, _, words in self.open[-1:]:
            words.append(data)

    def of(self, tag: str) -> list[tuple[dict[str, str | None], str]]:
        return [(attributes, "".join(words)) for name, attributes, words in self.elements if name == tag]

    def ids(self) -> list[str]:
        return [attributes["id"] for _, attributes, _ in self.elements if "id" in attributes]


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray, np.ndarray]:
    """The page, the references and the probabilities."""
    return scored_page(tmp_path_factory.mktemp("classes"))


def test_the_page_says_what_the_summary_says(scored) -> None:
    path, _, _ = scored
    page = Page(path)
    summary = json.loads((path.parent / "summary.json").read_text())
    expected = {
        (name, measure): [row["value"], row["low"], row["high"]]
        for name, measures in summary["summary"]["classes"].items()
        for measure, row in measures.items()
    }
    assert len(expected) == 24
    assert page.numbers == expected
    values = [float(attributes["value"]) for attributes, _ in page.of("data")][:18]
    assert values == [
        v for row in summary["summary"]["overall"].values() for v in (row["value"], row["low"], row["high"])
    ]
    text = path.read_text()
    assert "62 cases of" in text
    assert "1 case without a prediction, counted as wrong" in text


def test_the_curves_on_the_page_are_scikit_learns(scored) -> None:
    path, reference, probabilities = scored
    plots = {file.stem: ET.parse(file).getroot() for file in (path.parent / "plots").iterdir()}  # noqa: S314 - our own
    assert set(plots) == {*(f"{kind}_{k}" for kind in ("roc", "precision_recall", "calibration") for k in range(3)),
                          "calibration", "confusion"}  # fmt: skip
    truth = np.append(reference == 1, True)  # the lost case is below all others for its class
    p = np.append(probabilities[:, 1], -1.0)

    def corners(name: str) -> np.ndarray:
        (line,) = plots[name].iter(f"{SPACE}polyline")
        places = np.array([[float(n) for n in point.split(",")] for point in line.get("points").split()])
        return (places - [46, 336]) / [362, -326]

    x, y, _ = sklearn.metrics.roc_curve(truth, p, drop_intermediate=False)
    np.testing.assert_allclose(corners("roc_1"), np.column_stack([x, y]), atol=3e-4)
    x, y, _ = sklearn.metrics.roc_curve(
        np.append(reference == 0, False), np.append(probabilities[:, 0], 2.0), drop_intermediate=False
    )
    np.testing.assert_allclose(corners("roc_0"), np.column_stack([x, y]), atol=3e-4, err_msg="and above for others")
    precision, recall, _ = sklearn.metrics.precision_recall_curve(truth, p)
    drawn = corners("precision_recall_1")
    ends = drawn[1::2]
    assert ends[-1, 0] == pytest.approx(1)
    points = np.column_stack([recall, precision])[:-1][::-1]
    np.testing.assert_allclose(ends, points[: len(ends)], atol=3e-4)
    np.testing.assert_allclose(drawn[::2, 1], drawn[1::2, 1], err_msg="steps: the precision of the higher recall")
    for kind in ("roc_1", "precision_recall_1"):
        bands = [e for e in plots[kind].iter(f"{SPACE}path") if e.get("class") == "band"]
        assert len(bands) == 1
        assert bands[0].get("d").count("L") == 201
        assert "var(" not in ET.tostring(plots[kind], encoding="unicode")


def test_the_confusion_matrix_has_counts_and_shares_of_rows(scored) -> None:
    path, reference, probabilities = scored
    matrix = sklearn.metrics.confusion_matrix(reference, probabilities.argmax(axis=1))
    text = path.read_text()
    table = text[text.index('<table class="numbers confusion">') :]
    found = re.findall(r"<b>(\d+)</b> <span>(\d+) %</span>", table[: table.index("</table>")])
    counts = np.hstack([matrix, [[0], [1], [0]]])
    assert [int(n) for n, _ in found] == counts.ravel().tolist()
    shares = counts / counts.sum(axis=1, keepdims=True) * 100
    np.testing.assert_allclose([int(n) for _, n in found], shares.ravel(), atol=0.51)


def test_the_surest_mistakes_are_on_the_page_as_pictures(scored) -> None:
    path, reference, probabilities = scored
    page = Page(path)
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != reference)
    order = wrong[np.argsort(-probabilities.max(axis=1)[wrong])][:12]
    names = [HOSTILE if n == 0 else f"case{n:02}" for n in order]
    assert [text for attributes, text in page.of("h3") if text in {*names, "case01"}][: len(names)] == names
    pictures = [attributes for attributes, _ in page.of("img")]
    assert len(pictures) == 2 * len(names)
    assert all(one["alt"] and one["src"].startswith("data:image/jpeg;base64,") for one in pictures)
    with Image.open(io.BytesIO(base64.b64decode(pictures[0]["src"].split(",")[1]))) as picture:
        assert picture.size == (250, 200)
    assert pictures[1]["alt"].startswith(f"Grad-CAM map of Bacterial over {HOSTILE}: ")
    assert path.stat().st_size < 2e6


def test_names_are_text_no_patient_is_named_and_nothing_is_loaded(scored) -> None:
    path, _, _ = scored
    page, text = Page(path), path.read_text()
    assert "Doe^" not in text
    assert "/home/someone" not in text
    assert "<b>empty</b>" not in text
    assert not re.search(r"(https?:)?//[\w.-]+\.\w+/", text)
    for tag, attributes, _ in page.elements:
        assert not {"srcset", "action", "background"} & attributes.keys(), tag
        assert attributes.get("href", "#").startswith(("#", "data:,"))
        assert not any(name.startswith("on") for name in attributes)
    ids = page.ids()
    assert len(ids) == len(set(ids))
    for attributes, _ in page.of("a"):
        assert attributes["href"][1:] in ids
    assert all(attributes.get("scope") in ("row", "col") for attributes, _ in page.of("th"))


def test_the_methods_text_cites_what_it_names(scored) -> None:
    path, _, _ = scored
    text = next(words for attributes, words in Page(path).of("div") if attributes.get("id") == "methods-text")
    assert "61 cases with a reference (subset: test)" in text
    assert "2000 resamples of patients" in text
    assert "Grad-CAM maps" in text
    assert "1 case without a prediction" in text
    body, references = text.split("\n\nReferences\n")
    cited = list(dict.fromkeys(re.findall(r"\[(\d)\]", body)))
    assert cited == [str(n + 1) for n in range(len(references.splitlines()))]
    assert "[hanley]" not in text


def _sections(path: Path) -> list[str]:
    return [attributes["id"] for attributes, _ in Page(path).of("section")]


def test_degenerate_sets_have_a_page(tmp_path: Path) -> None:
    perfect = ClassificationTable({0: "no", 1: "yes"})
    for n in range(6):
        perfect.add(f"c{n}", [0.9 - 0.8 * (n % 2), 0.1 + 0.8 * (n % 2)], n % 2)
    text = written(perfect, tmp_path / "perfect").read_text()
    assert "No case was classified wrongly" in text
    assert "yes is the positive class" in text
    one = ClassificationTable({0: "no", 1: "yes"})
    one.add("only", [0.3, 0.7], 1)
    path = written(one, tmp_path / "one")
    assert "every case is of this class, so it has no ROC curve" in path.read_text()
    assert "no interval: one patient" in path.read_text()
    assert _sections(path) == ["summary", "confusion", "curves", "calibration", "cases", "methods"]
    absent = ClassificationTable(CLASSES)
    for n in range(9):
        absent.add(f"c{n}", [0.5, 0.3, 0.2], n % 2)
    assert "Viral: no case is of this class" in written(absent, tmp_path / "absent").read_text()
    lost = ClassificationTable(CLASSES)
    lost.add_missing({"a": "gone", "b": "gone"}, {"a": 0, "b": 1})
    assert "No case has both a prediction and a reference" in written(lost, tmp_path / "lost").read_text()
    several = ClassificationTable({0: "a", 1: "b"}, multi_label=True)
    for n in range(8):
        several.add(f"c{n}", [0.1 * n, 0.9 - 0.1 * n], [n % 2, int(n < 5)])
    text = written(several, tmp_path / "several").read_text()
    assert "present: found" in text
    assert "a probability of at least 0.5" in text


def test_without_references_there_is_no_page(tmp_path: Path) -> None:
    table = ClassificationTable(CLASSES)
    table.add("a", [0.2, 0.3, 0.5])
    report_classification(table=table, failures={}, folder=tmp_path, subset="test")
    assert report_classes(table=table, folder=tmp_path) is None
    assert not (tmp_path / "report.html").exists()
