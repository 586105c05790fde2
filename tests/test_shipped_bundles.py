"""The shipped bundles: they are what they say, and their READMEs say what an evaluation gives."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.bundle import verify_bundle
from pipeline.workflows.classify import classify
from pipeline.workflows.evaluate import evaluate
from pipeline.workflows.segment import segment

BUNDLES = Path(__file__).parents[1] / "bundles"
DATA = {
    "lung_nodule_ct_segmentation": "LIDC_NoduleSlices",
    "modality_classification": "MedNIST",
    "nerve_vessel_us_segmentation": "USGRA_NerveVessel",
    "pneumonia_cxr_classification": "CXR_Pneumonia",
    "sarcoma_mr_segmentation": "STS_Sarcoma",
}
ROW = re.compile(r"^\| test \((\d+)\) \| ([\w\s]+) \| ([0-9.]+) ", re.MULTILINE)


@pytest.mark.parametrize("name", DATA)
def test_the_bundle_is_what_it_says(name: str) -> None:
    assert {check: problem for check, problem in verify_bundle(BUNDLES / name).items() if problem} == {}


@pytest.mark.parametrize("name", DATA)
def test_the_test_scores_are_those_of_the_readme(name: str, shared_data: Path, tmp_path: Path) -> None:
    rows = ROW.findall((BUNDLES / name / "docs" / "README.md").read_text())
    assert rows
    table, failures = evaluate(BUNDLES / name, data=shared_data / DATA[name], output_dir=tmp_path)
    assert failures == {}
    summary: dict[str, Any] = table.summary()
    for count, what, written in rows:
        row = summary[what.replace(" ", "_") if "accuracy" in summary else what]
        assert int(count) == len(table.cases)
        # A processor without bfloat16 rounds otherwise: one image may then be right, or in another bin, that was not.
        one_image = max(0.011, 1 / len(table.cases))
        assert float(written) == pytest.approx(row.get("mean", row.get("value")), abs=one_image), what


@pytest.mark.parametrize("name", [name for name in DATA if name.endswith(("us_segmentation", "ct_segmentation"))])
def test_masks_of_pictures_have_their_size_and_values(name: str, shared_data: Path, tmp_path: Path) -> None:
    image = sorted((shared_data / DATA[name] / "images").iterdir())[3]
    segment(image, bundle=BUNDLES / name, output_dir=tmp_path)
    with Image.open(tmp_path / image.name) as mask, Image.open(image) as picture:
        assert mask.size == picture.size
        assert mask.mode == "P"
        values = set(np.unique(np.asarray(mask)))
    assert {0} < values <= {0, 1, 2}
    assert (tmp_path / f"{image.stem}_overlay.png").is_file()


def test_modalities_are_told_apart(shared_data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for kind in ("Hand", "HeadCT", "CXR"):
        picture = sorted((shared_data / "MedNIST" / kind).iterdir())[7]
        # Bigger, in another format and in colour: none of it is another modality.
        Image.open(picture).convert("RGB").resize((150, 150)).save(folder / f"{kind}.png")
    classify(folder, bundle=BUNDLES / "modality_classification", output_dir=tmp_path / "out")
    lines = (tmp_path / "out" / "probabilities.csv").read_text().splitlines()
    columns = lines[0].split(",")
    told = {row[0]: row[columns.index("predicted")] for row in (line.split(",") for line in lines[1:])}
    assert told == {"Hand": "Hand", "HeadCT": "HeadCT", "CXR": "CXR"}
