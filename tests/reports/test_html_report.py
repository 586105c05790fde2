"""The page of an evaluation, parsed again by Python's own parsers, and its voxels against nibabel."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from pipeline.errors import InputError
from pipeline.evaluation import ScoreTable, read_measures
from pipeline.evaluation.folders import match_folders, score_folders
from pipeline.evaluation.groups import Groups, write_groups
from pipeline.reports.html import (
    CaseGallery,
    ViewedCase,
    choose_cases,
    find_curves,
    report_evaluation,
    report_folders,
    write_report,
)
from pipeline.reports.html.drawing import standalone
from pipeline.reports.html.plots import Strip, strip_plot
from pipeline.reports.html.wording import shown

LABELS = {1: "Head & <neck>", 2: 'Tail "b"'}
HOSTILE = "<script>window.hacked = 1</script>"
AFFINE = np.diag([-1.5, -1.5, 1.5, 1])
VOID = {"meta", "link", "input", "br", "img"}


class Page(HTMLParser):
    """Elements with their attributes and texts."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None], list[str]]] = []
        self.open: list[tuple[str, dict[str, str | None], list[str]]] = []
        self.numbers: dict[tuple[str, str, str], float] = {}
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        element = (tag, dict(attrs), [])
        self.elements.append(element)
        if tag not in VOID:
            self.open.append(element)
        row = next((attributes for _, attributes, _ in self.open if "data-column" in attributes), None)
        keys = [attributes["data-key"] for _, attributes, _ in self.open if "data-key" in attributes]
        if row is not None and keys and tag == "data":
            self.numbers[row["data-label"], row["data-column"], keys[-1]] = float(dict(attrs)["value"])

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs), []))

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        if self.open:
            self.open[-1][2].append(data)
        row = next((attributes for _, attributes, _ in self.open if "data-column" in attributes), None)
        if row is not None and self.open[-1][1].get("data-key") in ("finite", "infinite", "undefined"):
            self.numbers[row["data-label"], row["data-column"], self.open[-1][1]["data-key"]] = float(data)

    def of(self, tag: str) -> list[tuple[dict[str, str | None], str]]:
        return [(attributes, "".join(words)) for name, attributes, words in self.elements if name == tag]


def _page(path: Path) -> Page:
    return Page(path.read_text(encoding="utf-8"))


def _data(path: Path) -> dict:
    return json.loads(
        next(text for attributes, text in _page(path).of("script") if attributes.get("id") == "report-data")
    )


def _table(count: int = 7) -> ScoreTable:
    table = ScoreTable(LABELS, tolerance_mm={1: 1.0, 2: 2.5})
    generator = np.random.default_rng(3)
    for n in range(count):
        reference = np.zeros((16, 18, 8), dtype=np.uint8)
        reference[3:9, 4:12, 2:6], reference[9:14, 4:12, 2:6] = 1, 2
        prediction = np.roll(reference, generator.integers(0, 3, 3), (0, 1, 2))
        if n == 2:
            prediction[prediction == 2] = 0
        table.add(f"c{n}", prediction, reference, patient=f"Doe^John{n // 2}", spacing_mm=(0.8, 0.8, 2.5))
    table.add_missing({HOSTILE: "its file is <b>empty</b>"}, patients={HOSTILE: "Doe^Jane"})
    return table


def _curves(folder: Path) -> Path:
    path = folder / "training.csv"
    path.write_text(
        "epoch,iteration,seconds,learning_rate,training_loss,val_mean_dice,dice_Head,dice_Tail\n"
        "1,9,1,0.1,2.5,,,\n2,18,2,0.1,1.5,0.5,0.4,0.6\n3,27,3,0.1,1.0,,,\n4,36,4,0.1,0.75,0.7,0.65,0.75\n"
    )
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    table = _table()
    table.write(folder, about={"subset": "validation", "weights": "/home/someone/models/model.pt"})
    groups = Groups(column="scanner", of_case={f"c{n}": "AB"[n % 2] for n in range(7)})
    write_groups(table.measures(), groups, folder, {})
    reference = np.zeros((20, 22, 9), np.uint8)
    reference[5:12, 6:14, 3:7] = 1
    cases = [
        ViewedCase(name=name, reference=reference, prediction=np.roll(reference, 2, 0), affine=np.eye(4), kind="worst",
                   image=None if name == "c3" else np.arange(reference.size).reshape(reference.shape))
        for name in ("c2", "c3")
    ]  # fmt: skip
    write_report(folder, title="A & B <evaluation>", curves=_curves(folder), cases=cases)
    return folder


def test_every_number_of_the_summary_stands_on_the_page(folder: Path) -> None:
    summary = json.loads((folder / "summary.json").read_text())["summary"]
    expected = {
        (label, column, key): value
        for label, measures in summary.items()
        for column, row in measures.items()
        for key, value in row.items()
        if value is not None
    }
    assert len(expected) > 200
    assert _page(folder / "report.html").numbers == expected


def test_the_case_table_has_the_numbers_of_metrics_csv_the_worst_first(folder: Path) -> None:
    measures = read_measures(folder)
    page = _page(folder / "report.html")
    data = _data(folder / "report.html")
    assert data["rows"] == list(measures.cases)
    assert data["views"] == ["Mean of all labels", *LABELS.values()]
    for k, column in enumerate(data["columns"]):
        for label in range(2):
            for n in range(len(measures.cases)):
                cell, value = data["cells"][1 + label][n][k], measures.values[column["name"]][n, label]
                assert math.isnan(value) if cell is None else float(cell) == pytest.approx(value, rel=1e-4)
    order = [int(attributes["data-row"]) for attributes, _ in page.of("tr") if "data-row" in attributes]
    dice = measures.values["dice"].mean(axis=1)
    assert dice[order].tolist() == sorted(dice)
    assert measures.cases[order[0]] == HOSTILE
    text = (folder / "report.html").read_text()
    first = text[text.index('<tr data-row="') :]
    cells = re.findall(r"<td[^>]*>([^<]*)</td>", first[: first.index("</tr>")])
    assert cells[:4] == ["0.000", "0.000", "∞", "∞"]


def test_the_page_needs_nothing_but_itself(folder: Path) -> None:
    page = _page(folder / "report.html")
    text = (folder / "report.html").read_text()
    assert not re.search(r"(https?:)?//[\w.-]+\.\w+/", text), "an address"
    for tag, attributes, _ in page.elements:
        assert not {"src", "srcset", "data", "action", "background"} & attributes.keys(), tag
        assert attributes.get("href", "#").startswith(("#", "data:,"))
        assert not any(name.startswith("on") for name in attributes)
    assert not re.search(r"url\(|@import", "".join(css for _, css in page.of("style")))
    policy = next(a["content"] for a, _ in page.of("meta") if a.get("http-equiv") == "Content-Security-Policy")
    (code,) = [text for attributes, text in page.of("script") if "type" not in attributes]
    digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
    assert "default-src 'none'" in policy
    assert f"script-src 'sha256-{digest}'" in policy


def test_names_are_text_and_no_patient_is_named(folder: Path) -> None:
    page = _page(folder / "report.html")
    assert not [text for _, text in page.of("script") if text.startswith("window.hacked")]
    assert HOSTILE in [text for attributes, text in page.of("th") if attributes.get("scope") == "row"]
    assert page.of("title")[0][1] == "A & B <evaluation>"
    text = (folder / "report.html").read_text()
    assert "Doe" not in text
    assert "/home/someone" not in text
    assert "<b>empty</b>" not in text
    assert "8 cases of 5 patients" in text


def test_headers_and_pictures_are_labelled(folder: Path) -> None:
    page = _page(folder / "report.html")
    assert all(attributes.get("scope") in ("row", "col") for attributes, _ in page.of("th"))
    assert all(
        a.get("role") == "img" and a.get("aria-label") and a.get("tabindex") == "0" for a, _ in page.of("canvas")
    )
    ids = [attributes["id"] for _, attributes, _ in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes, _ in page.elements:
        for name in ("aria-labelledby", "aria-describedby", "for"):
            assert set((attributes.get(name) or "").split()) <= set(ids)
    sections = [attributes["id"] for attributes, _ in page.of("section")]
    assert sections == ["summary", "viewer", "cases", "distributions", "groups", "learning", "methods"]
    assert page.of("html")[0][0]["lang"] == "en"


def test_a_report_of_260_cases_is_small(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    table = ScoreTable({k: f"organ {k}" for k in range(1, 5)})
    for n in range(260):
        reference = np.zeros((9, 9, 5), np.uint8)
        for k in range(4):
            reference[2 * k : 2 * k + 2, 2:7, 1:4] = k + 1
        prediction = np.where(generator.random(reference.shape) < 0.1, 0, reference)
        table.add(f"case_{n:03}", prediction, reference, spacing_mm=(1, 1, 3))
    table.write(tmp_path)
    chosen = choose_cases(table.measures())
    assert list(chosen.values()) == ["worst"] * 6 + ["median"] * 3
    labels = np.zeros((100, 100, 100), np.uint8)
    labels[2:-2, 2:-2, 2:-2] = generator.integers(1, 5, (96, 96, 96))  # the worst that there could be to compress
    noise = generator.integers(0, 4096, labels.shape).astype(np.int16)
    cases = (ViewedCase(name=n, kind=k, image=noise, reference=labels, prediction=labels[::-1], affine=np.eye(4))
             for n, k in chosen.items())  # fmt: skip
    path = write_report(tmp_path, cases=cases)
    assert path.stat().st_size < 25e6
    page = _page(path)
    assert len([1 for attributes, _ in page.of("tr") if "data-row" in attributes]) == 260
    assert len([1 for attributes, _ in page.of("script") if attributes.get("type") == "text/plain"]) == 9


def test_points_means_and_intervals_lie_where_their_values_are() -> None:
    values = np.array([0.2, 0.5, 0.9, 1.0, np.inf, np.nan])
    svg = standalone(strip_plot("dice", "Dice", [Strip("a & b", values, 0.65, 0.5, 0.9)], digits=3), "Dice & more")
    root = ET.fromstring(svg)  # noqa: S314 - our own
    space = "{http://www.w3.org/2000/svg}"
    path = {element.get("class"): element.get("d") for element in root.iter(f"{space}path")}
    x = sorted(float(place) for place in re.findall(r"M([\d.]+) ", path["points"]))
    slope, offset = np.polyfit(values[:4], x, 1)
    np.testing.assert_allclose(slope * values[:4] + offset, x, atol=0.11)
    mean = float(re.match(r"M([\d.]+)", path["mean"])[1]) + 5
    ends = [float(n) for n in re.match(r"M([\d.]+).*H([\d.]+)", path["interval"]).groups()]
    np.testing.assert_allclose([(place - offset) / slope for place in (mean, *ends)], [0.65, 0.5, 0.9], atol=2e-3)
    texts = [element.text for element in root.iter(f"{space}text")]
    assert {"a & b", "0.650 (0.500 to 0.900)", "1 × ∞", "Dice & more"} <= set(texts)  # noqa: RUF001
    assert "1 infinite, 1 undefined" in root.find(f"{space}desc").text
    assert "var(" not in svg


def test_plots_and_learning_curves_are_files_too(folder: Path) -> None:
    summary = json.loads((folder / "summary.json").read_text())
    files = {path.stem: ET.parse(path).getroot() for path in (folder / "plots").iterdir()}  # noqa: S314 - our own
    assert {"dice", "nsd", "hausdorff95_mm", "volume_difference_ml", "learning_loss", "learning_validation"} <= set(
        files
    )
    space = "{http://www.w3.org/2000/svg}"
    points = [e.get("d").count("M") for e in files["hausdorff95_mm"].iter(f"{space}path") if e.get("class") == "points"]
    assert points == [summary["summary"][label]["hausdorff95_mm"]["finite"] for label in LABELS.values()]
    lines = [element.get("points").split() for element in files["learning_validation"].iter(f"{space}polyline")]
    assert [len(line) for line in lines] == [2, 2, 2]
    (loss,) = files["learning_loss"].iter(f"{space}polyline")
    heights = [float(point.split(",")[1]) for point in loss.get("points").split()]
    np.testing.assert_allclose(np.diff(heights)[1:] / np.diff(heights)[:-1], [0.5, 0.5], atol=0.01)


def test_the_methods_text_says_what_was_done(folder: Path) -> None:
    text = next(
        words for attributes, words in _page(folder / "report.html").of("div") if attributes.get("id") == "methods-text"
    )
    assert "8 cases of 5 patients (subset: validation)" in text
    assert f"2 labels: {LABELS[1]} and {LABELS[2]}" in text
    assert f"1 mm for {LABELS[1]} and 2.5 mm for {LABELS[2]}" in text
    assert "2000 resamples of patients" in text
    assert "1 case without a usable prediction" in text
    body, references = text.split("\n\nReferences\n")
    cited = list(dict.fromkeys(re.findall(r"\[(\d)\]", body)))
    assert cited == ["1", "2", "3", "4"]
    for name, line in zip(("Dice LR", "Nikolov S", "Maier-Hein L", "Efron B"), references.splitlines(), strict=True):
        assert line[4:].startswith(name)
    given = write_report(folder.parent / _copy(folder), methods="Our <own> words.").read_text()
    assert "Our &lt;own&gt; words." in given


def _copy(folder: Path) -> str:
    other = folder.parent / "again"
    other.mkdir()
    for name in ("metrics.csv", "summary.json"):
        (other / name).write_bytes((folder / name).read_bytes())
    return other.name


def test_a_report_without_cases_has_no_viewer(folder: Path, tmp_path: Path) -> None:
    for name in ("metrics.csv", "summary.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    page = _page(write_report(tmp_path))
    assert [attributes["id"] for attributes, _ in page.of("section")] == [
        "summary",
        "cases",
        "distributions",
        "methods",
    ]
    assert page.of("canvas") == []


def test_what_cannot_be_used_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        write_report(tmp_path)
    (tmp_path / "metrics.csv").write_bytes((folder / "metrics.csv").read_bytes())
    with pytest.raises(InputError, match=r"summary\.json: cannot be read"):
        write_report(tmp_path)
    (tmp_path / "metrics.csv").write_text("case,patient,label,iou\na,a,b,1\n")
    (tmp_path / "summary.json").write_bytes((folder / "summary.json").read_bytes())
    with pytest.raises(InputError, match="has no column dice"):
        write_report(tmp_path)
    (tmp_path / "metrics.csv").write_bytes((folder / "metrics.csv").read_bytes())
    (tmp_path / "summary.json").write_text("{}")
    with pytest.raises(InputError, match="is no summary"):
        write_report(tmp_path)
    (tmp_path / "summary.json").write_bytes((folder / "summary.json").read_bytes())
    (tmp_path / "training.csv").write_text("epoch,training_loss\n1,2\n")
    with pytest.raises(InputError, match="no table of a training"):
        write_report(tmp_path, curves=tmp_path / "training.csv")
    labels = np.zeros((3, 3, 3), np.uint8)
    with pytest.raises(InputError, match="zzz: is no evaluated case"):
        write_report(tmp_path, cases=[ViewedCase(name="zzz", reference=labels, prediction=labels, affine=np.eye(4))])
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (0.12345, 3, "0.123"),
        (-1.5, 1, "\u22121.5"),
        (-0.001, 2, "0.00"),
        (math.nan, 2, "\u2013"),
        (None, 2, "\u2013"),
        (math.inf, 2, "∞"),
    ],
)
def test_numbers_for_people(value: float | None, digits: int, text: str) -> None:
    assert shown(value, digits) == text


def _folders(tmp_path: Path) -> tuple[Path, Path]:
    for n in range(4):
        labels = np.zeros((12, 10, 8), np.uint8)
        labels[3:7, 2:6, 1:5] = 1
        for name, moved in (("predictions", np.roll(labels, n, 0)), ("references", labels), ("images", labels * 9)):
            (tmp_path / name).mkdir(exist_ok=True)
            nib.save(nib.Nifti1Image(moved, AFFINE), tmp_path / name / f"c{n}.nii.gz")
    return tmp_path / "predictions", tmp_path / "references"


@pytest.mark.parametrize("images", [True, False])
def test_two_scored_folders_are_reported(tmp_path: Path, *, images: bool) -> None:
    found = match_folders(*_folders(tmp_path))
    table = ScoreTable({1: "a"})
    score_folders(table, found)
    table.write(tmp_path / "out")
    folder = tmp_path / "images" if images else None
    path = report_folders(table=table, found=found, folder=tmp_path / "out", images=folder)
    data = _data(path)
    assert [case["name"] for case in data["cases"]] == ["c3", "c2", "c1", "c0"]
    assert [case["rank"] for case in data["cases"]] == [1, 2, 3, 4]
    assert all((case["window"] is not None) == images for case in data["cases"])


def test_a_scored_bundle_is_reported_with_its_learning_curves(tmp_path: Path) -> None:
    predictions, references = _folders(tmp_path)
    table, gallery = ScoreTable({1: "a"}), CaseGallery()
    for n in range(4):
        maps = [np.asarray(nib.load(folder / f"c{n}.nii.gz").dataobj) for folder in (predictions, references)]
        table.add(f"c{n}", *maps, spacing_mm=(1.5, 1.5, 1.5))
        gallery.add(f"c{n}", *maps, affine=AFFINE)
    table.add_missing({"lost": "no file"})
    table.write(tmp_path / "out")
    (tmp_path / "models").mkdir()
    (tmp_path / "docs").mkdir()
    weights = tmp_path / "models" / "model.pt"
    assert find_curves(weights) is None
    curves = _curves(tmp_path / "docs")
    assert find_curves(weights) == curves
    assert find_curves(_curves(tmp_path / "models").with_name("other.pt")) == tmp_path / "models" / "training.csv"
    cases = [{"name": f"c{n}", "image": str(tmp_path / "images" / f"c{n}.nii.gz")} for n in range(4)]
    path = report_evaluation(table=table, gallery=gallery, folder=tmp_path / "out", cases=cases, weights=weights)
    data = _data(path)
    assert [case["name"] for case in data["cases"]] == ["c3", "c2", "c1", "c0"]
    assert all(case["window"] is not None for case in data["cases"])
    assert "learning" in [attributes["id"] for attributes, _ in _page(path).of("section")]


def test_an_evaluation_without_a_prediction_is_reported_too(tmp_path: Path) -> None:
    table = ScoreTable({1: "a"})
    assert report_evaluation(table=table, gallery=CaseGallery(), folder=tmp_path) is None
    table.add_missing({"lost": "no file", "gone": "no file"})
    table.write(tmp_path)
    path = report_evaluation(table=table, gallery=CaseGallery(), folder=tmp_path)
    assert _page(path).numbers["a", "dice", "mean"] == 0


def test_groups_stand_on_the_page(folder: Path) -> None:
    groups = json.loads((folder / "groups.json").read_text())["groups"]
    text = (folder / "report.html").read_text()
    part = text[text.index('<section id="groups"') : text.index('<section id="learning"')]
    values = [float(value) for value in re.findall(r'<b><data value="([^"]+)"', part)]
    assert values == [one["dice"]["mean"] for group in groups.values() for one in group["summary"].values()]
    assert part.count("<tr>") == 1 + 2 * len(groups)
