"""Names that mean something to MONAI's parser, to a shell or to a format are names and nothing else, in every verb."""

from __future__ import annotations

import csv
import json
import os
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
import torch
import yaml
from monai.bundle import ConfigParser, run
from PIL import Image
from pydicom.uid import generate_uid

import pipeline.workflows.demo as demo_workflow
from pipeline.bundle import build_bundle
from pipeline.cli import main
from pipeline.data.phantoms import make_phantom, write_phantom_dicom

CODE = '$open("PWNED","w")'
MEANT = [CODE, "@device", "%configs", "$1+1", "out #1", "a#b::c", "@cases", "%train.json", "$import this", "a@##b %::c"]
ODD = [
    *(
        "a,b;c",
        "quo\"te's",
        "two\nlines",
        "tab\tstop",
        " blanks around ",
        "dots...",
        "back\\slash",
        "[g]*?",
        "{0} %s %(x)d",
    ),
    *("\u00fc composed", "u\u0308 apart", "🫀", "שלום", "<b>&amp;", "~nobody", "-dash", "x" * 200, "=1+1"),
]
NAMES = pytest.mark.parametrize("name", MEANT + ODD)
MEANT_NAMES = pytest.mark.parametrize("name", MEANT)
CLASS_PLAN = """
{name: shape_png_classification, title: Shapes, version: 0.1.0, description: Shapes., intended_use: Tests., authors: us,
 copyright: none, task: classification, dimensions: 2,
 data: {modality: OT, channels: [grey], source: made up, license: none, folds: 2},
 labels: [{value: 0, name: disc}, {value: 1, name: square}],
 preprocessing: {resize: [16, 16], window: [16, 16], normalization: {kind: unit}},
 network: {_target_: pipeline.networks.ConvNet, out_channels: 2, features: [4, 4], pooled_size: 1, dropout: 0},
 training: {epochs: 1}}
"""


@pytest.fixture(autouse=True)
def _nothing_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    """Work in a folder of its own, in which no name may have made a file."""
    monkeypatch.chdir(tmp_path)
    yield
    assert not list(tmp_path.rglob("PWNED"))


@pytest.fixture
def image(tmp_path: Path) -> Path:
    values = np.random.default_rng(0).integers(-200, 200, (20, 18, 12)).astype(np.int16)
    nib.save(nib.Nifti1Image(values, np.diag([2.0, 2.0, 2.0, 1.0])), tmp_path / "image.nii.gz")
    return tmp_path / "image.nii.gz"


@pytest.fixture
def expected(image: Path, bundle: Path, tmp_path: Path) -> np.ndarray:
    """The labels of the image under a plain name."""
    assert main(["segment", str(image), "--bundle", str(bundle), "-o", "plain"]) == 0
    return _voxels(tmp_path / "plain" / "image.nii.gz")


@pytest.fixture(scope="session")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("classifiers") / "shape_png_classification"
    (folder / "models").mkdir(parents=True)
    (folder / "plan.yaml").write_text(CLASS_PLAN)
    build_bundle(folder)
    parser = ConfigParser()
    parser.read_config(str(folder / "configs" / "inference.json"))
    torch.manual_seed(0)
    torch.save(parser.get_parsed_content("network_def").state_dict(), folder / "models" / "model.pt")
    return folder


def _voxels(file: Path) -> np.ndarray:
    return np.asarray(nib.load(file).dataobj)


def _copy(source: Path, target: Path) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    (shutil.copytree if source.is_dir() else shutil.copy)(source, target)
    return target


@NAMES
def test_segment_takes_names_as_they_are(
    name: str, image: Path, bundle: Path, expected: np.ndarray, tmp_path: Path
) -> None:
    file = _copy(image, tmp_path / "in" / name / f"{name}.nii.gz")
    weights = _copy(bundle / "models" / "model.pt", tmp_path / "weights" / name)
    own = _copy(bundle, tmp_path / "bundles" / name)
    out = tmp_path / "out" / name
    assert main(["segment", str(file), "--bundle", str(own), "--weights", str(weights), "-o", str(out)]) == 0
    assert [path.name for path in out.iterdir()] == [f"{name}.nii.gz"]
    np.testing.assert_array_equal(_voxels(out / f"{name}.nii.gz"), expected)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("bundles", "image.nii.gz", "in", "out", "plain", "weights")
    ]


@NAMES
def test_segment_takes_relative_names_as_they_are(
    name: str, image: Path, bundle: Path, expected: np.ndarray, tmp_path: Path
) -> None:
    folder = _copy(image, tmp_path / name / f"{name}.nii.gz").parent
    _copy(bundle, tmp_path / "deep" / name)
    os.chdir(tmp_path / "deep")
    assert main(["segment", f"--bundle={name}", f"--output={name}/models/out", "--", f"../{name}"]) == 0
    os.chdir(tmp_path)
    assert main(["segment", f"--bundle=deep/{name}", "--output=again", "--", name]) == 0
    for out in (tmp_path / "deep" / name / "models" / "out", tmp_path / "again"):
        np.testing.assert_array_equal(_voxels(out / f"{name}.nii.gz"), expected)
    assert sorted(path.name for path in folder.iterdir()) == [f"{name}.nii.gz"]


@pytest.mark.parametrize("option", ["--series", "--engine", "--probabilities", "--weights", "--bundle"])
@MEANT_NAMES
def test_what_an_option_says_is_no_expression(
    name: str, option: str, bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_phantom_dicom(make_phantom(7, shape=(24, 20, 9), spacing_mm=(4.0, 4.5, 5.0)), tmp_path / "series")
    own = [] if option == "--bundle" else ["--bundle", str(bundle)]
    assert main(["segment", "series", *own, "-o", "out", option, name]) == 1
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1
    assert name in printed
    assert not (tmp_path / "out").exists() or list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("name", [CODE, "@device", "%configs", "a@##b %::c"])
def test_a_series_is_found_by_its_description(name: str, bundle: Path, tmp_path: Path) -> None:
    phantom = make_phantom(7, shape=(24, 20, 9), spacing_mm=(4.0, 4.5, 5.0))
    for number, description in enumerate((name, "another")):
        for file in write_phantom_dicom(phantom, tmp_path / "study" / f"{number}").iterdir():
            dataset = pydicom.dcmread(file)
            dataset.SeriesDescription = description
            dataset.SeriesInstanceUID = generate_uid(entropy_srcs=[dataset.SeriesInstanceUID, description])
            dataset.SOPInstanceUID = generate_uid(entropy_srcs=[dataset.SOPInstanceUID, description])
            dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
            dataset.save_as(file)
    assert main(["segment", "study", "--bundle", str(bundle), "-o", "out", "--series", name]) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["study.dcm", "study.nii.gz"]


@pytest.mark.parametrize("name", [CODE, "a #1", "two\nlines", "x" * 200])
def test_a_series_of_any_name_gets_its_segmentation(name: str, bundle: Path, tmp_path: Path) -> None:
    phantom = make_phantom(7, shape=(24, 20, 9), spacing_mm=(4.0, 4.5, 5.0))
    for number, file in enumerate(sorted(write_phantom_dicom(phantom, tmp_path / "study" / name).iterdir())):
        file.rename(file.with_name(f"{name}{number}"))
    assert main(["segment", f"study/{name}", "--bundle", str(bundle), "-o", "out", "--max-memory", "4"]) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [f"{name}.dcm", f"{name}.nii.gz"]
    assert len(pydicom.dcmread(tmp_path / "out" / f"{name}.dcm").SegmentSequence) == 2


@pytest.mark.parametrize("name", [CODE, "@device", "%configs", "a#b::c", "$import this"])
def test_plain_monai_run_reads_nothing_into_what_lies_below_its_folders(
    name: str, image: Path, bundle: Path, expected: np.ndarray, tmp_path: Path
) -> None:
    _copy(image, tmp_path / "in" / name / f"{name}.nii.gz")
    own = _copy(bundle, tmp_path / "bundles" / name)
    config = str(own / "configs" / "inference.json")
    run(config_file=config, logging_file=False, dataset_dir=str(tmp_path / "in"), output_dir="out")
    (mask,) = (tmp_path / "out").iterdir()
    assert mask.name == f"{name}_{name}.nii.gz"
    np.testing.assert_array_equal(_voxels(mask), expected)


@pytest.mark.parametrize("name", [CODE, "@device", "%configs", "a#b::c", "$import this"])
def test_classify_and_explain_take_names_as_they_are(name: str, classifier: Path, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (20, 24), np.uint8)
    for kind in (name, "plain"):
        (tmp_path / kind).mkdir()
        Image.fromarray(pixels).save(tmp_path / kind / f"{kind}.png")
    weights = _copy(classifier / "models" / "model.pt", tmp_path / "weights" / name)
    own = _copy(classifier, tmp_path / "bundles" / name)
    options = ["--bundle", str(own), "--weights", str(weights)]
    assert main(["classify", name, *options, "-o", f"out/{name}"]) == 0
    assert main(["explain", name, *options, "-o", f"why/{name}", "--class", "disc"]) == 0
    assert main(["classify", "plain", *options, "-o", "out/plain"]) == 0
    odd, plain = ((tmp_path / "out" / one / "probabilities.csv").read_text() for one in (name, "plain"))
    assert odd.splitlines()[0] == plain.splitlines()[0]
    assert odd.splitlines()[1].rsplit(",", 3)[1:] == plain.splitlines()[1].rsplit(",", 3)[1:]
    assert [path.name for path in (tmp_path / "why" / name).iterdir()] == [f"{name}_gradcam.png"]


@pytest.mark.parametrize("name", [CODE, "@device", "%configs", "a#b::c, \n🫀"])
def test_train_evaluate_and_calibrate_take_names_as_they_are(name: str, bundle: Path, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    for case in range(8):
        for kind, high in (("images", 200), ("labels", 3)):
            values = generator.integers(0, high, (20, 18, 12)).astype(np.int16)
            target = tmp_path / "data" / name / kind / f"{name}{case}.nii.gz"
            target.parent.mkdir(parents=True, exist_ok=True)
            nib.save(nib.Nifti1Image(values, np.diag([2.0, 2.0, 2.0, 1.0])), target)
    own, data, out = _copy(bundle, tmp_path / "bundles" / name), tmp_path / "data" / name, tmp_path / "out" / name
    os.chdir(data.parent)
    options = [str(own), "--data", name]
    assert main(["train", *options, "--epochs", "1", "-o", str(out)]) == 0
    weights = ["--weights", str(out / "model.pt")]
    assert main(["evaluate", *options, *weights, "-o", str(out / "scores")]) == 0
    assert main(["calibrate", *options, *weights]) in (0, 1)  # too few patients, perhaps; in one line then
    listed = json.loads((out / "datalist.json").read_text())
    cases = [Path(case["image"]).name for part in ("training", "test") for case in listed[part]]
    assert sorted(cases) == sorted(path.name for path in (data / "images").iterdir())


LABELS = [CODE, "@device", "%configs", "a #1", "$_{$", 'a, "b"', "half / half 🫀", "<script>alert(1)</script>"]


@pytest.mark.parametrize("name", LABELS)
def test_labels_of_any_name_are_trained_scored_and_written(name: str, tmp_path: Path) -> None:
    plan = yaml.safe_load(Path(demo_workflow.__file__).with_name("demo_plan.yaml").read_text())
    plan["preprocessing"].update(window=[16, 16, 8])
    plan["network"] = {"_target_": "monai.networks.nets.UNet", "spatial_dims": 3, "in_channels": 1, "out_channels": 3,
                       "channels": [4, 8], "strides": [2]}  # fmt: skip
    plan["labels"][0]["name"], plan["title"], plan["training"]["epochs"] = name, name, 1
    (tmp_path / "own_ct_segmentation").mkdir()
    (tmp_path / "own_ct_segmentation" / "plan.yaml").write_text(yaml.safe_dump(plan))
    generator = np.random.default_rng(0)
    for case in range(8):
        for kind, high in (("images", 200), ("labels", 3)):
            (tmp_path / "data" / kind).mkdir(parents=True, exist_ok=True)
            values = generator.integers(0, high, (20, 18, 12)).astype(np.int16)
            target = tmp_path / "data" / kind / f"{case}.nii.gz"
            nib.save(nib.Nifti1Image(values, np.diag([2.0, 2.0, 2.0, 1.0])), target)
    write_phantom_dicom(make_phantom(7, shape=(24, 20, 9), spacing_mm=(4.0, 4.5, 5.0)), tmp_path / "series")
    bundle = ["own_ct_segmentation"]
    assert main(["build", *bundle]) == 0
    assert main(["train", *bundle, "--data", "data"]) == 0
    assert main(["evaluate", *bundle, "--data", "data", "-o", "scores", "--tolerance", f"{name}=2", "lesion=1"]) == 0
    assert main(["segment", "series", "--bundle", *bundle, "-o", "out", "--probabilities", name]) == 0
    with (tmp_path / "scores" / "metrics.csv").open(newline="", encoding="utf-8") as file:
        assert {row["label"] for row in csv.DictReader(file)} == {name, "lesion"}
    assert json.loads((tmp_path / "scores" / "summary.json").read_text())["labels"]["1"] == name
    page = (tmp_path / "scores" / "report.html").read_text(encoding="utf-8")
    assert "<script>alert" not in page
    segments = pydicom.dcmread(tmp_path / "out" / "series.dcm").SegmentSequence
    assert [segment.SegmentLabel for segment in segments] == [name, "lesion"]
    assert segments[0].SegmentAlgorithmName == name
