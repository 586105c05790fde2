"""An evaluation by the command line ends with a page that shows the mistakes where the network looks."""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pipeline.cli import main

if TYPE_CHECKING:
    from tests.workflows.conftest import Classified


def test_an_evaluated_bundle_shows_its_mistakes_with_maps(
    classified: Classified, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("disc", "square", "bar"):
        for seed in (300, 301, 302):
            classified.draw(name, seed, tmp_path / "data" / name / f"{seed}.png")
    classified.draw("disc", 310, tmp_path / "data" / "square" / "no_square.png")  # it is at the upper left
    classified.draw("square", 311, tmp_path / "data" / "bar" / "no_bar.png")  # at the upper right, from 29 to 43 of 48
    (tmp_path / "data" / "bar" / "broken.png").write_bytes(b"no picture")
    out = tmp_path / "out"
    assert main(["evaluate", str(classified.bundle), "--data", str(tmp_path / "data"), "-o", str(out)]) == 3
    text = (out / "report.html").read_text()
    summary = json.loads((out / "summary.json").read_text())
    assert summary["with_reference"] == 12
    assert summary["summary"]["overall"]["accuracy"]["value"] == pytest.approx(9 / 12)
    assert summary["bundle"] == classified.bundle.name
    alternatives = [unescape(words) for words in re.findall(r'<img [^>]*alt="([^"]*)"', text)]
    maps = {words.split(" over ")[1].split(":")[0]: words for words in alternatives if words.startswith("Grad-CAM")}
    assert set(maps) == {"square_no_square", "bar_no_bar"}
    assert maps["square_no_square"] == "Grad-CAM map of disc over square_no_square: strongest in the upper left"
    place = maps["bar_no_bar"].removeprefix("Grad-CAM map of square over bar_no_bar: strongest in the upper ")
    assert place in ("middle", "right"), "the square lies on both sides of two thirds of the width"
    assert "1 case without a prediction, counted as wrong" in text
    assert "bar_broken" in text
    assert (out / "plots" / "roc_0.svg").is_file()
    assert {"metrics.csv", "summary.json", "classification.json"} <= {path.name for path in out.iterdir()}
