from __future__ import annotations

import csv
import hashlib
import json
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import highdicom
import nibabel as nib
import numpy as np
import pytest
import torch
from monai.metrics import DiceMetric

from pipeline.data.phantoms import write_phantom_dicom
from pipeline.errors import InputError
from pipeline.handlers import ResumableState
from pipeline.workflows.demo import demo
from pipeline.workflows.evaluate import evaluate
from pipeline.workflows.segment import segment
from pipeline.workflows.train import train

if TYPE_CHECKING:
    from tests.workflows.conftest import Trained


def _bundle_run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "monai.bundle", "run", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=300)


def _said(run: subprocess.CompletedProcess[str]) -> list[str]:
    """Standard error without the line in which MONAI warns of every config."""
    return [line for line in run.stderr.splitlines() if not line.startswith("parsing config_file")]


def test_training_leaves_weights_split_curves_and_state(trained: Trained) -> None:
    models, output = trained.bundle / "models", trained.bundle / "output"
    assert sorted(path.name for path in models.iterdir()) == ["datalist.json", "model.pt", "training_state.pt"]
    assert sorted(path.name for path in output.iterdir()) == ["training.csv", "training.png"]
    with (output / "training.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows if row["val_mean_dice"]] == ["20", "40", "60"]
    assert float(rows[-1]["training_loss"]) < float(rows[0]["training_loss"]) / 2
    weights = torch.load(models / "model.pt", weights_only=True)
    assert all(torch.isfinite(value).all() for value in weights.values())


def test_evaluation_scores_the_held_out_cases_as_monai_would(trained: Trained, tmp_path: Path) -> None:
    table, failures = evaluate(trained.bundle, data=trained.data, output_dir=tmp_path / "evaluation")
    split = json.loads((trained.bundle / "models" / "datalist.json").read_text())
    assert failures == {}
    assert sorted(table.cases) == sorted(entry["name"] for entry in split["test"])
    for name, scores in table.cases.items():
        source = trained.data / "images" / name
        segment(source, bundle=trained.bundle, output_dir=tmp_path / "masks")
        maps = [tmp_path / "masks" / f"{name}.nii.gz", trained.data / "labels" / f"{name}.nii.gz"]
        onehot = [
            torch.nn.functional.one_hot(torch.as_tensor(np.asarray(nib.load(path).dataobj)).long(), 3).movedim(-1, 0)
            for path in maps
        ]
        expected = DiceMetric(include_background=False, reduction="none")(onehot[0][None], onehot[1][None])[0]
        np.testing.assert_allclose(scores, expected, atol=1e-6)
    assert table.summary()["mean"]["mean"] > 0.6, "seconds of training give at least this"


def test_a_dicom_series_gives_nifti_and_seg_in_its_own_geometry(trained: Trained, tmp_path: Path) -> None:
    phantom = trained.phantom(500)
    series = write_phantom_dicom(phantom, tmp_path / "my series")
    done = segment(series, bundle=trained.bundle, output_dir=tmp_path / "out")
    assert done.failures == {}
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["my series.dcm", "my series.nii.gz"]
    mask = nib.load(tmp_path / "out" / "my series.nii.gz")
    assert mask.get_data_dtype() == np.uint8
    assert mask.shape == phantom.labels.shape
    np.testing.assert_allclose(mask.affine, phantom.affine, atol=1e-4)  # DICOM's decimal strings
    labels = np.asarray(mask.dataobj)
    for value in (1, 2):
        inside, marked = phantom.labels == value, labels == value
        assert 2 * (inside & marked).sum() / (inside.sum() + marked.sum()) > 0.5
    seg = highdicom.seg.segread(tmp_path / "out" / "my series.dcm")
    assert [one.SegmentLabel for one in seg.SegmentSequence] == ["kidney", "lesion"]
    assert seg.SegmentSequence[0].SegmentedPropertyTypeCodeSequence[0].CodeValue == "64033007"
    volume = seg.get_volume(combine_segments=True)
    np.testing.assert_array_equal(volume.array.transpose(2, 1, 0), labels)


def test_bundle_run_works_from_any_folder_on_a_folder_of_series(trained: Trained, tmp_path: Path) -> None:
    for seed in (501, 502):
        write_phantom_dicom(trained.phantom(seed), tmp_path / "in" / f"s{seed}")
    config = trained.bundle / "configs" / "inference.json"
    run = _bundle_run(tmp_path, "--config_file", str(config), "--dataset_dir", "in", "--output_dir", "out")
    assert run.returncode == 0, run.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "s501.dcm", "s501.nii.gz", "s502.dcm", "s502.nii.gz"
    ]  # fmt: skip
    assert _said(run) == []


def test_one_bad_case_of_a_batch_is_listed_and_the_others_are_finished(trained: Trained, tmp_path: Path) -> None:
    for seed in (501, 502):
        write_phantom_dicom(trained.phantom(seed), tmp_path / "in" / f"s{seed}")
    sorted((tmp_path / "in" / "s501").iterdir())[7].unlink()
    config = trained.bundle / "configs" / "inference.json"
    run = _bundle_run(tmp_path, "--config_file", str(config), "--dataset_dir", "in", "--output_dir", "out")
    assert run.returncode == 3
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["s502.dcm", "s502.nii.gz"]
    assert _said(run)[0] == "medbundle: 1 of 2 cases failed:"
    assert "s501" in _said(run)[1]
    assert "mm" in _said(run)[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "dataset_dir is not given"),
        (["--dataset_dir", "absent"], "absent: no such file or folder"),
        (["--dataset_dir", ".", "--outptu_dir", "x"], "unknown override --outptu_dir. Did you mean --output_dir?"),
        (["--dataset_dir", ".", "--weights", "w.pt"], "w.pt: no weights"),
    ],
)
def test_bundle_run_says_in_one_line_what_is_wrong(
    trained: Trained, tmp_path: Path, arguments: list[str], message: str
) -> None:
    run = _bundle_run(tmp_path, "--config_file", str(trained.bundle / "configs" / "inference.json"), *arguments)
    assert run.returncode == 1
    (line,) = _said(run)
    assert message in line
    assert list(tmp_path.iterdir()) == []


def test_two_processes_train_together(trained: Trained, tmp_path: Path) -> None:
    configs = [str(trained.bundle / "configs" / f"{name}.json") for name in ("train", "multi_gpu_train")]
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2",
        "-m", "monai.bundle", "run", "--config_file", str(configs), "--dataset_dir", str(trained.data),
        "--ckpt_dir", "models", "--output_dir", "curves", "--epochs", "2",
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    run = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert run.returncode == 0, run.stderr
    with (tmp_path / "curves" / "training.csv").open() as file:
        rows = list(csv.DictReader(file))
    # 16 cases less 3 for testing less 3 for validation are 5 for each process: two batches of two, one case is dropped.
    assert [row["iteration"] for row in rows] == ["2", "4"]
    single = torch.load(trained.bundle / "models" / "model.pt", weights_only=True)
    assert torch.load(tmp_path / "models" / "model.pt", weights_only=True).keys() == single.keys()


def test_a_stopped_training_goes_on_to_the_same_weights(trained: Trained, tmp_path: Path) -> None:
    """Two epochs and then two more end where four in one go end: order of cases and augmentation included."""
    rate = {"learning_rate": 1e-3, "val_interval": 4}
    whole = train(trained.bundle, data=trained.data, output=tmp_path / "whole", epochs=4, **rate)
    with pytest.raises(RuntimeError):  # MONAI's, around ours
        _train_until_power_cut(trained, tmp_path / "parts", epochs=4, **rate)
    resumed = train(trained.bundle, data=trained.data, output=tmp_path / "parts", epochs=4, resume=True, **rate)
    expected, got = (torch.load(path, weights_only=True) for path in (whole, resumed))
    for key, value in expected.items():
        torch.testing.assert_close(got[key], value, rtol=0, atol=1e-5)


def _train_until_power_cut(trained: Trained, output: Path, **overrides: object) -> None:
    save = ResumableState.save

    def save_and_stop(self: ResumableState, engine: object) -> None:
        save(self, engine)
        if engine.state.epoch == 2:
            raise RuntimeError("power cut")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ResumableState, "save", save_and_stop)
        train(trained.bundle, data=trained.data, output=output, **overrides)


def test_resuming_nothing_is_refused(trained: Trained, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no training to resume"):
        train(trained.bundle, data=trained.data, output=tmp_path / "empty", epochs=1, resume=True)


def test_a_label_that_the_plan_does_not_know_stops_the_training_by_name(trained: Trained, tmp_path: Path) -> None:
    data = Path(shutil.copytree(trained.data, tmp_path / "data"))
    split = json.loads((trained.bundle / "models" / "datalist.json").read_text())
    path = data / "labels" / f"{split['training'][0]['name']}.nii.gz"
    labels = nib.load(path)
    values = np.asarray(labels.dataobj).copy()
    values[0, 0, :5] = 7
    nib.save(nib.Nifti1Image(values, labels.affine), path)
    with pytest.raises(InputError, match=rf"{path.name}: label value 7 \(5 voxels\) is not in the plan"):
        train(trained.bundle, data=data, output=tmp_path / "out", epochs=1)
    assert not (tmp_path / "out" / "model.pt").exists()


def test_a_case_that_cannot_be_predicted_counts_as_zero(trained: Trained, tmp_path: Path) -> None:
    data = Path(shutil.copytree(trained.data, tmp_path / "data"))
    split = json.loads((trained.bundle / "models" / "datalist.json").read_text())
    victim = split["test"][0]["name"]
    sorted((data / "images" / victim).iterdir())[3].unlink()
    table, failures = evaluate(trained.bundle, data=data, output_dir=tmp_path / "evaluation")
    assert list(failures) == [victim]
    assert table.cases[victim].tolist() == [0, 0]
    assert len(table.cases) == len(split["test"])


def test_an_evaluation_says_which_weights_it_scored_and_on_what(
    trained: Trained, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = Path(shutil.copytree(trained.data, tmp_path / "data"))
    (tmp_path / "cases.csv").write_text(
        "case,scanner\n" + "".join(f"case{n:02d},{'A' if n % 2 else 'B'}\n" for n in range(16))
    )
    with caplog.at_level(logging.INFO, "pipeline"):
        evaluate(trained.bundle, data=data, output_dir=tmp_path / "out", subset="all", groups=tmp_path / "cases.csv")
    assert caplog.text.count(str(tmp_path / "out" / "report.html")) == 1
    assert "Dice by scanner" in (tmp_path / "out" / "report.html").read_text()
    content = json.loads((tmp_path / "out" / "summary.json").read_text())
    weights = trained.bundle / "models" / "model.pt"
    assert content["weights_sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert content["bundle"] == trained.bundle.name
    metadata = json.loads((trained.bundle / "configs" / "metadata.json").read_text())
    assert content["bundle_version"] == metadata["version"]
    assert (content["subset"], content["cases"], content["patients"]) == ("all", 16, 16)
    assert content["datalist"] == str(weights.with_name("datalist.json"))
    groups = json.loads((tmp_path / "out" / "groups.json").read_text())
    assert groups["weights_sha256"] == content["weights_sha256"]
    assert {name: part["cases"] for name, part in groups["groups"].items()} == {"A": 8, "B": 8}
    with (tmp_path / "out" / "metrics.csv").open(newline="") as file:
        (row,) = [row for row in csv.DictReader(file) if (row["case"], row["label"]) == ("case03", "kidney")]
    labels = nib.load(data / "labels" / "case03.nii.gz")
    volume = (np.asarray(labels.dataobj) == 1).sum() * np.prod(labels.header.get_zooms()) / 1000
    assert float(row["reference_volume_ml"]) == pytest.approx(volume, rel=1e-4)


def test_measures_are_chosen_over_those_of_the_plan_and_mistakes_show_at_once(trained: Trained, tmp_path: Path) -> None:
    table, _ = evaluate(
        trained.bundle, data=trained.data, output_dir=tmp_path / "out", surface="surface_element",
        tolerance=["kidney=2.5", "4"],
    )  # fmt: skip
    content = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert content["tolerance"] == {name: 2.5 if name == "kidney" else 4 for name in table.labels.values()}
    assert content["surface"].startswith("surface elements")
    for mistake, message in (
        ({"by": "scanner"}, "datalist.json: has no column scanner"),
        ({"tolerance": ["spleen=1"]}, "no label spleen"),
    ):
        with pytest.raises(InputError, match=message):
            evaluate(trained.bundle, data=trained.data, output_dir=tmp_path / "none", **mistake)
    assert not (tmp_path / "none").exists()


def test_other_data_with_a_copy_of_a_trained_image_is_refused(trained: Trained, tmp_path: Path) -> None:
    split = json.loads((trained.bundle / "models" / "datalist.json").read_text())
    seen, held_out = split["training"][0]["name"], split["test"][0]["name"]
    for name, source in (("fresh", held_out), ("renamed", seen)):
        shutil.copytree(trained.data / "images" / source, tmp_path / "data" / "images" / name)
        (tmp_path / "data" / "labels").mkdir(exist_ok=True)
        shutil.copy(trained.data / "labels" / f"{source}.nii.gz", tmp_path / "data" / "labels" / f"{name}.nii.gz")
    with pytest.raises(InputError, match=rf"1 of 2 cases to score .*images/renamed \(same image as {seen}\)"):
        evaluate(trained.bundle, data=tmp_path / "data", output_dir=tmp_path / "out")
    assert not (tmp_path / "out" / "metrics.csv").exists()
    shutil.rmtree(tmp_path / "data" / "images" / "renamed")
    (tmp_path / "data" / "labels" / "renamed.nii.gz").unlink()
    table, _ = evaluate(trained.bundle, data=tmp_path / "data", output_dir=tmp_path / "out")
    assert list(table.cases) == ["fresh"]


@pytest.mark.slow
def test_the_demo_reaches_its_dice(tmp_path: Path) -> None:
    assert demo(tmp_path / "demo") > 0.9
    assert (tmp_path / "demo" / "overlay.png").stat().st_size > 0
