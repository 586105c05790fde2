"""Names with line breaks, markup or too many letters, in masks, messages, tables and pages."""

from __future__ import annotations

import csv
import html
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from pipeline.cli import main
from pipeline.errors import InputError, failure_list, shown
from pipeline.reports.figures import Picture, draw_confusion, draw_contact_sheet
from pipeline.sources import CaseReader

NAMES = [
    "two\nlines",
    "car\rriage",
    "a,b;c",
    "quo\"te's",
    "=1+1",
    "<b>&amp;",
    "<!--",
    "[b] [red]",
    "u\u0308",
    "🫀",
    "שלום",
]
LONG = "x" * 300
NOT_TEXT = os.fsdecode(b"\xff\xfe")


def _image(path: Path, seed: int = 0, high: int = 200) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(seed).integers(0, high, (20, 18, 12)).astype(np.int16)
    nib.save(nib.Nifti1Image(values, np.diag([2.0, 2.0, 2.0, 1.0])), path)
    return path


@pytest.mark.parametrize(
    "name", ["two\nlines", "car\rriage", "\u202edesrever", "line\u2028separator", "\x1b[31mred", NOT_TEXT]
)
def test_a_name_keeps_to_its_line(name: str) -> None:
    errors = [str(InputError("is wrong", where=Path(name), got=Path(name))), failure_list({name: "wrong"}, total=2)]
    for text in [shown(name), *errors]:
        assert name not in text
        assert name.encode("unicode_escape").decode() in text
        assert len(text.splitlines()) == text.count("\n") + (not text.endswith("\n"))
        text.encode()


@pytest.mark.parametrize("name", ["plain", "two  blanks", "ü 🫀 שלום", "$1", "back\\slash"])
def test_other_names_are_shown_as_they_are(name: str) -> None:
    assert shown(name) == name
    assert str(InputError("is wrong", where=name)) == f"{name}: is wrong"


def test_a_batch_says_one_line_for_each_bad_case(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, name in enumerate(NAMES):
        _image(tmp_path / "in" / f"{name}.nii.gz", number)
        bad = _image(tmp_path / "in" / f"bad {name}.nii")
        bad.write_bytes(bad.read_bytes()[:2000])
    assert main(["segment", str(tmp_path / "in"), "--bundle", str(bundle), "-o", str(tmp_path / "out")]) == 3
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(f"{name}.nii.gz" for name in NAMES)
    printed = capsys.readouterr().err.splitlines()
    assert len(printed) == 1 + len(NAMES)
    assert {line.split(": ")[0] for line in printed[1:]} == {f"  bad {shown(name)}" for name in NAMES}


def test_a_case_without_room_for_its_suffix_is_refused_and_the_others_go_on(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    longest, longer = "ü" * 124, "x" * 249
    for name in (longest, longer, "short"):
        _image(tmp_path / "in" / f"{name}.nii")
    read, load = list[str](), CaseReader.read

    def noting(reader: CaseReader, data: Any, **how: Any) -> Any:
        read.append(str(data))
        return load(reader, data, **how)

    monkeypatch.setattr(CaseReader, "read", noting)
    assert main(["segment", str(tmp_path / "in"), "--bundle", str(bundle), "-o", str(tmp_path / "out")]) == 3
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["short.nii.gz", f"{longest}.nii.gz"]
    (line,) = capsys.readouterr().err.splitlines()[1:]
    told = "the name of the case is too long for its file (expected at most 248 bytes, got 249)"
    assert line.startswith(f"  {longer}: {told}")
    assert len(read) == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ["segment", LONG, "--bundle", "b", "-o", "o"],
        ["segment", "x", "--bundle", LONG, "-o", "o"],
        ["segment", "image.nii", "--bundle", "BUNDLE", "-o", LONG],
        ["segment", "image.nii", "--bundle", "BUNDLE", "-o", "o", "--weights", LONG],
        ["evaluate", "BUNDLE", "--data", ".", "--weights", LONG],
        ["evaluate", "BUNDLE", "--data", LONG],
        ["train", "BUNDLE", "--data", LONG],
        ["inspect", LONG],
        ["convert", LONG, "a.nii"],
        ["convert", ".", f"{LONG}.nii"],
        ["evaluate", "--predictions", LONG, "--references", LONG],
        ["compare", LONG, LONG, "-o", "o"],
        ["build", LONG],
        ["deidentify", LONG, "o"],
    ],
)
def test_a_name_that_no_file_can_have_is_one_line(
    arguments: list[str],
    bundle: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    _image(tmp_path / "image.nii")
    assert main([str(bundle) if one == "BUNDLE" else one for one in arguments]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_inspect_shows_names_and_no_markup(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ["[b] x", "[!b] x", ":smile:", "two\nlines"]
    for name in names:
        _image(tmp_path / f"{name}.nii")
    assert main(["inspect", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    for name in names:
        assert f"{shown(name)}.nii" in printed


def test_names_that_are_no_text_end_nothing(bundle: Path, tmp_path: Path) -> None:
    image = _image(tmp_path / f"{NOT_TEXT}.nii.gz")
    out = tmp_path / f"{NOT_TEXT}ü"
    code = "import sys; from pipeline.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", code, "segment", str(image), "--bundle", str(bundle), "-o", str(out)]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, capture_output=True, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert [path.name for path in out.iterdir()] == [f"{NOT_TEXT}.nii.gz"]


def test_tables_and_page_of_an_evaluation_hold_the_names(tmp_path: Path) -> None:
    names = [*NAMES, NOT_TEXT]
    for number, name in enumerate(names):
        _image(tmp_path / "predictions" / f"{name}.nii.gz", number, 3)
        _image(tmp_path / "references" / f"{name}.nii.gz", number + 50, 3)
    (tmp_path / "labels.json").write_text(json.dumps({"1": "</script><b>", "2": "$\\frac{$"}))
    folders = ["--predictions", str(tmp_path / "predictions"), "--references", str(tmp_path / "references")]
    options = ["--labels", str(tmp_path / "labels.json"), "-o", str(tmp_path / "out")]
    assert main(["evaluate", *folders, *options]) == 0
    for table in ("metrics.csv", "dice.csv"):
        with (tmp_path / "out" / table).open(newline="", encoding="utf-8") as file:
            assert {row["case"] for row in csv.DictReader(file)} == {*NAMES, r"\udcff\udcfe"}
    assert {row["case"] for row in json.loads((tmp_path / "out" / "dice.json").read_text())["cases"]} == {*names}
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "</script><b>" not in page
    assert "<b>&amp;" not in page
    assert html.escape("<b>&amp;") in page


@pytest.mark.parametrize("name", ["$\\frac{$", "_hidden", "a$b$c"])
def test_figures_draw_names_and_no_formulas(name: str, tmp_path: Path) -> None:
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "x.png")
    picture = Picture(name=name, file=tmp_path / "x.png", probabilities={name: 0.75, "other": 0.25}, reference=name)
    assert draw_contact_sheet([picture], tmp_path / "sheet.png", title=name)
    draw_confusion(np.eye(2, dtype=int), [name, "other"], tmp_path / "confusion.png", name)
