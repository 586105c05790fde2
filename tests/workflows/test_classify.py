from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from PIL import Image

import pipeline.workflows.demo as demo_workflow
from pipeline.bundle import build_bundle
from pipeline.cli import main
from pipeline.data.phantoms import make_phantom, write_phantom_dicom
from pipeline.networks import ConvNet

if TYPE_CHECKING:
    from tests.workflows.conftest import Classified

CLASSES = ("disc", "square", "bar")


def _rows(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / "probabilities.csv").open(newline="") as file:
        return {row["case"]: row for row in csv.DictReader(file)}


def _error(capsys: pytest.CaptureFixture[str]) -> str:
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_fresh_pictures_in_folders_are_classified(
    classified: Classified, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in CLASSES:
        for seed in (100, 101):
            classified.draw(name, seed, tmp_path / "in" / name / f"{seed}.png")
    out = tmp_path / "out"
    assert main(["classify", str(tmp_path / "in"), "--bundle", str(classified.bundle), "-o", str(out)]) == 0
    rows = _rows(out)
    assert {case: row["predicted"] for case, row in rows.items()} == {
        f"{name}_{seed}": name for name in CLASSES for seed in (100, 101)
    }
    for row in rows.values():
        assert sum(float(row[f"p_{name}"]) for name in CLASSES) == pytest.approx(1, abs=1e-3)
    assert sorted(path.name for path in out.iterdir()) == ["predictions.png", "probabilities.csv"]
    with Image.open(out / "predictions.png") as sheet:
        assert np.ptp(np.asarray(sheet.convert("L"))) > 200
    said = capsys.readouterr()
    assert "disc_100" in said.out
    assert "classified 6 of 6 case(s)" in said.out
    assert said.err == ""


def test_a_truncated_picture_among_good_ones_is_listed(
    classified: Classified, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    classified.draw("bar", 100, tmp_path / "in" / "good.png")
    bad = tmp_path / "in" / "bad.png"
    bad.write_bytes((tmp_path / "in" / "good.png").read_bytes()[:200])
    out = tmp_path / "out"
    assert main(["classify", str(tmp_path / "in"), "--bundle", str(classified.bundle), "-o", str(out)]) == 3
    assert _rows(out)["good"]["predicted"] == "bar"
    assert _rows(out)["bad"]["predicted"] == ""
    head, line = capsys.readouterr().err.splitlines()
    assert head == "medbundle: 1 of 2 cases failed:"
    assert "bad.png: cannot be read" in line
    assert main(["classify", str(bad), "--bundle", str(classified.bundle), "-o", str(tmp_path / "alone")]) == 1
    assert "bad.png: cannot be read" in _error(capsys)


def test_an_output_that_is_not_finite_is_a_failed_case(
    classified: Classified, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = torch.load(classified.bundle / "models" / "model.pt", weights_only=True)
    weights["classifier.3.bias"][0] = torch.nan
    torch.save(weights, tmp_path / "nan.pt")
    classified.draw("bar", 100, tmp_path / "one.png")
    arguments = [str(tmp_path / "one.png"), "--bundle", str(classified.bundle), "--weights", str(tmp_path / "nan.pt")]
    for verb in ("classify", "explain"):
        assert main([verb, *arguments, "-o", str(tmp_path / verb)]) == 1
        assert "not finite" in _error(capsys)


def test_other_weights_are_taken(classified: Classified, tmp_path: Path) -> None:
    weights = torch.load(classified.bundle / "models" / "model.pt", weights_only=True)
    weights["classifier.3.weight"][:] = 0
    weights["classifier.3.bias"][:] = torch.tensor([0.0, np.log(3.0), 0.0])
    torch.save(weights, tmp_path / "other.pt")
    classified.draw("bar", 100, tmp_path / "one.png")
    arguments = ["classify", str(tmp_path / "one.png"), "--bundle", str(classified.bundle), "-o", str(tmp_path / "out")]
    assert main([*arguments, "--weights", str(tmp_path / "other.pt")]) == 0
    row = _rows(tmp_path / "out")["one"]
    # bfloat16, where it is taken, has 8 bits
    assert [float(row[f"p_{name}"]) for name in CLASSES] == pytest.approx([0.2, 0.6, 0.2], abs=0.005)


@pytest.mark.parametrize("verb", ["classify", "explain"])
def test_unusable_input_is_answered_in_one_line(
    classified: Classified, tmp_path: Path, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    classified.draw("bar", 100, tmp_path / "one.png")
    torch.save(ConvNet(out_channels=5, features=(8, 16), pooled_size=1).state_dict(), tmp_path / "five.pt")
    (tmp_path / "text.pt").write_text("no weights")
    bundle, out = ["--bundle", str(classified.bundle)], ["-o", str(tmp_path / "out")]
    good = str(tmp_path / "one.png")
    for arguments, message in [
        ([str(tmp_path / "absent.png"), *bundle], "absent.png: no such file or folder"),
        ([str(tmp_path / "text.pt"), *bundle], "is not an image"),
        ([good, "--bundle", "modalty_classification"], "no such bundle"),
        ([good, *bundle, "--weights", str(tmp_path / "absent.pt")], "absent.pt: no weights"),
        ([good, *bundle, "--weights", str(tmp_path / "text.pt")], "text.pt: holds no weights"),
        ([good, *bundle, "--weights", str(tmp_path / "five.pt")], "classifier.3.bias of shape (3,), got (5,)"),
        ([good, *bundle, "--wieghts", "x"], "Did you mean --weights?"),
    ]:
        assert main([verb, *arguments, *out]) == 1
        assert message in _error(capsys)
    assert not (tmp_path / "out").exists()


def test_each_task_has_its_verb(classified: Classified, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    classified.draw("bar", 100, tmp_path / "one.png")
    arguments = [str(tmp_path / "one.png"), "-o", str(tmp_path / "out"), "--bundle"]
    assert main(["segment", *arguments, str(classified.bundle)]) == 1
    assert "shape_png_classification: is a classification bundle. Run: medbundle classify" in _error(capsys)
    for verb in ("classify", "explain"):
        assert main([verb, *arguments, "hippocampus_mr_segmentation"]) == 1
        assert "hippocampus_mr_segmentation: is a segmentation bundle. Run: medbundle segment" in _error(capsys)


def test_a_copy_of_a_bundle_without_its_plan_and_name_keeps_its_task(
    classified: Classified, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(classified.bundle, copy)
    (copy / "plan.yaml").unlink()
    classified.draw("bar", 100, tmp_path / "one.png")
    arguments = [str(tmp_path / "one.png"), "--bundle", str(copy), "-o", str(tmp_path / "out")]
    assert main(["segment", *arguments]) == 1
    assert "is a classification bundle" in _error(capsys)
    assert main(["classify", *arguments]) == 0
    metadata = json.loads((copy / "configs" / "metadata.json").read_text())
    (copy / "configs" / "metadata.json").write_text(json.dumps({**metadata, "task": "Tells shapes apart"}))
    assert main(["classify", *arguments]) == 0, "the text may name no task"


def test_a_bundle_that_is_not_built_says_so(
    classified: Classified, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    shutil.copy(classified.bundle / "plan.yaml", bare)
    classified.draw("bar", 100, tmp_path / "one.png")
    arguments = ["classify", str(tmp_path / "one.png"), "--bundle", str(bare), "-o", str(tmp_path / "out")]
    assert main(arguments) == 1
    assert "Run: medbundle build bare" in _error(capsys)
    build_bundle(bare)
    assert main(arguments) == 1
    assert "model.pt: no weights" in _error(capsys)


def test_segment_takes_other_weights(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = tmp_path / "phantom_ct_segmentation"
    bundle.mkdir()
    shutil.copy(Path(demo_workflow.__file__).with_name("demo_plan.yaml"), bundle / "plan.yaml")
    build_bundle(bundle)
    parser = ConfigParser(json.loads((bundle / "configs" / "inference.json").read_text()))
    weights = parser.get_parsed_content("network_def").state_dict()
    torch.save({name: torch.zeros_like(value) for name, value in weights.items()}, tmp_path / "zero.pt")
    series = write_phantom_dicom(make_phantom(1, shape=(24, 24, 12), spacing_mm=(3, 3, 4)), tmp_path / "series")
    arguments = ["segment", str(series), "--bundle", str(bundle), "-o", str(tmp_path / "out")]
    assert main(arguments) == 1
    assert "model.pt: no weights" in _error(capsys)
    assert main([*arguments, "--weights", str(tmp_path / "zero.pt")]) == 0
    assert not np.asarray(nib.load(tmp_path / "out" / "series.nii.gz").dataobj).any(), "equal logits are background"
