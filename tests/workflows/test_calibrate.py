"""Calibrating a bundle and predicting the quality of its masks, with a network of one weight per class."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
import yaml
from scipy.ndimage import gaussian_filter

import pipeline.workflows.demo as demo_workflow
from pipeline.bundle import build_bundle, verify_bundle
from pipeline.data import DataSplit
from pipeline.errors import InputError
from pipeline.metrics import dice_per_label
from pipeline.workflows.calibrate import calibrate, check_calibration
from pipeline.workflows.segment import segment

SIZE = (20, 18, 16)


@dataclass(frozen=True)
class Calibrated:
    bundle: Path
    data: Path


def _ball(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A bright ball in noise, with its label map."""
    generator = np.random.default_rng(seed)
    places = np.stack(np.meshgrid(*map(np.arange, SIZE), indexing="ij"))
    middle = np.array(SIZE) / 2 + generator.uniform(-2, 2, 3)
    inside = ((places - middle[:, None, None, None]) ** 2).sum(axis=0) < generator.uniform(4, 6) ** 2
    image = 100 * inside + generator.normal(0, generator.uniform(15, 25), SIZE)
    return image.astype(np.float32), inside.astype(np.uint8)


def _save(array: np.ndarray, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, np.eye(4)), path)
    return path


def _plan() -> dict[str, object]:
    plan = yaml.safe_load(Path(demo_workflow.__file__).with_name("demo_plan.yaml").read_text())
    plan["data"].update(modality="MR", folds=2, test_fraction=0.2)
    plan["labels"] = plan["labels"][:1]
    plan["preprocessing"] = {"spacing_mm": [1, 1, 1], "window": [16, 16, 16], "normalization": {"kind": "zscore"}}
    plan["network"] = {"_target_": "torch.nn.Conv3d", "in_channels": 1, "out_channels": 2, "kernel_size": 1}
    return plan


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory: pytest.TempPathFactory) -> Calibrated:
    root = tmp_path_factory.mktemp("balls")
    made = Calibrated(root / "ball_mr_segmentation", root / "data")
    for seed in range(30):
        image, labels = _ball(seed)
        _save(image, made.data / "images" / f"ball{seed:02d}.nii.gz")
        _save(labels, made.data / "labels" / f"ball{seed:02d}.nii.gz")
    made.bundle.mkdir()
    (made.bundle / "plan.yaml").write_text(yaml.safe_dump(_plan()))
    build_bundle(made.bundle)
    (made.bundle / "models").mkdir()
    weight = torch.tensor([-2.0, 2.0]).reshape(2, 1, 1, 1, 1)  # bright is the label
    torch.save({"weight": weight, "bias": torch.tensor([1.6, -1.6])}, made.bundle / "models" / "model.pt")
    with pytest.raises(InputError, match="nothing tells which cases the weights have seen"):
        calibrate(made.bundle, data=made.data)
    datalist = made.bundle / "models" / "datalist.json"
    split = DataSplit(dataset_dir=made.data, datalist_file=datalist, test_fraction=0.2, folds=2)
    split.training(0)
    split.save()
    file = calibrate(made.bundle, data=made.data)
    assert file == made.bundle / "models" / "quality.json"
    return made


def _rows(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / "quality.csv").open(newline="") as file:
        return {row["case"]: row for row in csv.DictReader(file)}


def test_the_calibration_says_what_it_was_made_of(calibrated: Calibrated) -> None:
    content = json.loads((calibrated.bundle / "models" / "quality.json").read_text())
    datalist = json.loads((calibrated.bundle / "models" / "datalist.json").read_text())
    expected = sorted(entry["name"] for entry in datalist["training"] if entry["fold"] == 0)
    assert sorted(content["cases"]) == expected
    assert len(expected) == 12
    assert content["level"] == 0.9
    assert content["seed"] == 0
    found = content["figures"]
    assert found["all"]["cases"] == 12 * len(content["degradations"])
    assert found["all"]["mae"] < 0.1
    assert found["all"]["coverage"] > 0.8
    assert found["degradations"]["none"]["cases"] == 12
    assert verify_bundle(calibrated.bundle)["inference has MONAI's properties"] is None


def test_held_out_cases_are_predicted_about_as_well(calibrated: Calibrated) -> None:
    found = check_calibration(calibrated.bundle, data=calibrated.data)
    assert found["degradations"]["none"]["cases"] == 6
    assert found["all"]["mae"] < 0.1
    assert 0 <= found["outside"] < 0.5


def test_a_segmentation_writes_the_predicted_dice(
    calibrated: Calibrated, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    truth = {}
    for seed in (100, 101):
        image, truth[f"new{seed}"] = _ball(seed)
        _save(image, tmp_path / "in" / f"new{seed}.nii.gz")
    _save(100 * truth["new100"].astype(np.float32), tmp_path / "in" / "drawn.nii.gz")  # without any noise
    (tmp_path / "in" / "broken.nii.gz").write_bytes(b"nothing")
    name = yaml.safe_load((calibrated.bundle / "plan.yaml").read_text())["labels"][0]["name"]
    done = segment(tmp_path / "in", bundle=calibrated.bundle, output_dir=tmp_path / "out")
    assert list(done.failures) == ["broken"]
    rows = _rows(tmp_path / "out")
    assert sorted(rows) == ["broken", "drawn", "new100", "new101"]
    for case, labels in truth.items():
        mask = np.asarray(nib.load(tmp_path / "out" / f"{case}.nii.gz").dataobj)
        (dice,) = dice_per_label(mask, labels, [1])
        told, low, high = (float(rows[case][f"{name} {what}"]) for what in ("predicted_dice", "lower", "upper"))
        assert told == pytest.approx(dice, abs=0.15)
        assert 0 <= low < told < high <= 1
        assert (rows[case]["flag"], rows[case]["reason"]) == ("", "")
    assert rows["drawn"]["flag"] == "outside"
    assert rows["drawn"]["reason"].startswith("outside the calibrated range: ")
    assert "constant" in rows["drawn"]["reason"]
    assert (rows["drawn"][f"{name} lower"], rows["drawn"][f"{name} upper"]) == ("0", "1")
    assert [line for line in caplog.messages if line.startswith("drawn: outside the calibrated range")]
    assert rows["broken"]["flag"] == "failed"
    assert rows["broken"][f"{name} predicted_dice"] == ""
    assert rows["broken"]["reason"] == done.failures["broken"]


def test_plain_monai_writes_the_same_table(calibrated: Calibrated, tmp_path: Path) -> None:
    image = _save(_ball(100)[0], tmp_path / "new100.nii.gz")
    segment(image, bundle=calibrated.bundle, output_dir=tmp_path / "ours")
    config = str(calibrated.bundle / "configs" / "inference.json")
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", config, "--dataset_dir", str(image)]
    run = subprocess.run(
        [*command, "--output_dir", str(tmp_path / "theirs")], cwd=tmp_path, capture_output=True, text=True, timeout=300,
        check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert (tmp_path / "theirs" / "quality.csv").read_text() == (tmp_path / "ours" / "quality.csv").read_text()


def test_other_weights_are_refused_and_without_a_calibration_nothing_changes(
    calibrated: Calibrated, tmp_path: Path
) -> None:
    image = _save(_ball(100)[0], tmp_path / "new100.nii.gz")
    weights = torch.load(calibrated.bundle / "models" / "model.pt", weights_only=True)
    other = tmp_path / "other" / "model.pt"
    other.parent.mkdir()
    torch.save({**weights, "bias": weights["bias"] * 1.01}, other)
    segment(image, bundle=calibrated.bundle, weights=other, output_dir=tmp_path / "plain")
    assert [path.name for path in (tmp_path / "plain").iterdir()] == ["new100.nii.gz"]
    calibration = calibrated.bundle / "models" / "quality.json"
    other.with_name("quality.json").write_text(calibration.read_text())
    with pytest.raises(InputError, match=r"of other weights .*medbundle calibrate") as caught:
        segment(image, bundle=calibrated.bundle, weights=other, output_dir=tmp_path / "refused")
    assert "\n" not in str(caught.value)
    other.with_name("quality.json").unlink()
    other.with_name("datalist.json").write_text((calibrated.bundle / "models" / "datalist.json").read_text())
    with pytest.raises(InputError, match="no calibration"):
        check_calibration(calibrated.bundle, data=calibrated.data, weights=other)


def test_a_classification_is_refused(calibrated: Calibrated) -> None:
    with pytest.raises(InputError, match="is no segmentation bundle"):
        calibrate("modality_classification", data=calibrated.data)


def test_the_shipped_calibration_knows_a_hippocampus_from_noise(shared_data: Path, tmp_path: Path) -> None:
    bundle = Path(__file__).parents[2] / "bundles" / "hippocampus_mr_segmentation"
    split = json.loads((bundle / "models" / "datalist.json").read_text())
    content = json.loads((bundle / "models" / "quality.json").read_text())
    seen = {entry["name"] for entry in split["training"] if entry["fold"] != content["fold"]}
    assert not {*content["cases"]} & (seen | {entry["name"] for entry in split["test"]})
    data, (case, *_) = shared_data / "Task04_Hippocampus", split["test"]
    image, labels = (nib.load(data / case[key]) for key in ("image", "label"))
    nib.save(image, tmp_path / "in.nii.gz")
    blurred = gaussian_filter(np.asarray(image.dataobj, dtype=np.float32), 2.5)
    snow = np.random.default_rng(0).normal(size=image.shape).astype(np.float32)
    for name, array in (("blurred", blurred), ("snow", snow)):
        nib.save(nib.Nifti1Image(array, image.affine), tmp_path / f"{name}.nii.gz")
    segment(tmp_path, bundle=bundle, output_dir=tmp_path / "out")
    rows = _rows(tmp_path / "out")
    truth = np.asarray(labels.dataobj)
    for name in ("in", "blurred"):
        mask = np.asarray(nib.load(tmp_path / "out" / f"{name}.nii.gz").dataobj)
        for label, dice in zip(("Anterior", "Posterior"), dice_per_label(mask, truth, [1, 2]), strict=True):
            assert float(rows[name][f"{label} predicted_dice"]) == pytest.approx(dice, abs=0.15)
        assert rows[name]["flag"] == ""
    assert float(rows["in"]["Anterior lower"]) > float(rows["blurred"]["Anterior predicted_dice"])
    assert rows["snow"]["flag"] == "outside"
