from __future__ import annotations

import json
import logging
from dataclasses import dataclass, replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
import yaml
from pydicom.uid import generate_uid

import pipeline.workflows.demo as demo_workflow
from pipeline.bundle import build_bundle, open_workflow
from pipeline.cli.main import main
from pipeline.data.phantoms import Phantom, make_phantom, write_phantom_dicom
from pipeline.errors import InputError
from pipeline.workflows.evaluate import evaluate
from pipeline.workflows.segment import segment
from pipeline.workflows.train import train

GRID = {"shape": (40, 40, 20), "spacing_mm": (3.2, 3.2, 4.8)}
COARSE = {"shape": (26, 24, 16), "spacing_mm": (5.0, 5.5, 6.0)}
CHANNELS = [
    {"name": "CT", "modality": "CT"},
    {"name": "PET", "modality": "PT", "optional": True, "normalization": {"kind": "zscore"}},
]


def _pet(seed: int, shape: tuple[int, ...] = COARSE["shape"]) -> Phantom:
    """The same organs on a grid of its own; only in it does a lesion differ from fat."""
    made = make_phantom(seed, **COARSE) if shape == COARSE["shape"] else make_phantom(seed, **GRID)
    noise = np.random.default_rng(seed).normal(0, 10, made.labels.shape)
    values = np.choose(made.labels, [0, 60, 300]) + noise
    return replace(made, image=values.round().astype(np.float32))


def _save(phantom: Phantom, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(phantom.image.astype(np.int16), phantom.affine), path)


@dataclass(frozen=True)
class Two:
    """A bundle of two channels, trained for seconds from nnU-Net's raw names."""

    bundle: Path
    data: Path


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Two:
    root = tmp_path_factory.mktemp("two")
    made = Two(root / "phantom_two_segmentation", root / "data")
    for seed in range(10):
        phantom = make_phantom(seed, **GRID)
        _save(phantom, made.data / "imagesTr" / f"case{seed:02d}_0000.nii.gz")
        _save(_pet(seed), made.data / "imagesTr" / f"case{seed:02d}_0001.nii.gz")
        path = made.data / "labelsTr" / f"case{seed:02d}.nii.gz"
        path.parent.mkdir(exist_ok=True)
        nib.save(nib.Nifti1Image(phantom.labels, phantom.affine), path)
    plan = yaml.safe_load(Path(demo_workflow.__file__).with_name("demo_plan.yaml").read_text())
    plan["name"] = made.bundle.name
    plan["data"]["channels"] = CHANNELS
    plan["network"].update(in_channels=2, filters=[8, 16, 32])
    plan["preprocessing"].update(spacing_mm=list(GRID["spacing_mm"]), window=[24, 24, 12])
    plan["training"].update(epochs=40, validate_every=20)
    plan["training"]["augmentation"]["channel_dropout"] = 0.25
    made.bundle.mkdir()
    (made.bundle / "plan.yaml").write_text(yaml.safe_dump(plan))
    build_bundle(made.bundle)
    train(made.bundle, data=made.data)
    return made


def _labels(folder: Path, name: str) -> nib.Nifti1Image:
    return nib.load(folder / f"{name}.nii.gz")


def _dice(labels: np.ndarray, reference: np.ndarray, value: int) -> float:
    return float(
        2 * ((labels == value) & (reference == value)).sum() / ((labels == value).sum() + (reference == value).sum())
    )


def test_training_and_evaluation_take_several_images_a_case(
    two: Two, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    listed = json.loads((two.bundle / "models" / "datalist.json").read_text())
    assert listed["test"][0]["image"] == [f"imagesTr/{listed['test'][0]['name']}_000{n}.nii.gz" for n in range(2)]
    table, failures = evaluate(two.bundle, data=two.data, output_dir=tmp_path)
    assert failures == {}
    assert sorted(table.cases) == sorted(entry["name"] for entry in listed["test"])
    assert table.summary()["mean"]["mean"] > 0.6
    assert (tmp_path / "report.html").is_file()
    assert not [record for record in caplog.records if "not shown" in record.getMessage()], "the first channel is shown"


def test_every_layout_of_one_case_gives_one_mask(two: Two, tmp_path: Path) -> None:
    phantom, pet = make_phantom(500, **GRID), _pet(500)
    _save(phantom, tmp_path / "raw" / "p_0000.nii.gz")
    _save(pet, tmp_path / "raw" / "p_0001.nii.gz")
    _save(phantom, tmp_path / "brats" / "p" / "p_ct.nii.gz")
    _save(pet, tmp_path / "brats" / "p" / "p_PET.nii.gz")
    _save(phantom, tmp_path / "listed" / "a" / "p_one.nii.gz")
    _save(pet, tmp_path / "listed" / "b" / "p_two.nii.gz")
    entry = {"image": ["a/p_one.nii.gz", "b/p_two.nii.gz"], "label": "none"}
    (tmp_path / "listed" / "dataset.json").write_text(json.dumps({"training": [entry]}))
    masks = {}
    for layout in ("raw", "brats", "listed"):
        done = segment(tmp_path / layout, bundle=two.bundle, output_dir=tmp_path / f"{layout}_masks")
        assert (done.cases, done.failures) == (("p",), {})
        masks[layout] = _labels(tmp_path / f"{layout}_masks", "p")
    labels = np.asarray(masks["raw"].dataobj)
    assert labels.shape == phantom.labels.shape
    np.testing.assert_array_equal(masks["raw"].affine, nib.load(tmp_path / "raw" / "p_0000.nii.gz").affine)
    assert _dice(labels, phantom.labels, 2) > 0.6
    for mask in masks.values():
        np.testing.assert_array_equal(np.asarray(mask.dataobj), labels)


def test_one_file_of_four_axes_gives_the_mask_of_its_parts(two: Two, tmp_path: Path) -> None:
    parts = [make_phantom(501, **GRID), _pet(501, GRID["shape"])]
    for number, part in enumerate(parts):
        _save(part, tmp_path / "parts" / f"p_{number:04d}.nii.gz")
    whole = np.stack([part.image for part in parts], axis=-1).astype(np.int16)
    (tmp_path / "whole").mkdir()
    nib.save(nib.Nifti1Image(whole, parts[0].affine), tmp_path / "whole" / "p.nii.gz")
    for kind in ("parts", "whole"):
        assert segment(tmp_path / kind, bundle=two.bundle, output_dir=tmp_path / f"{kind}_masks").failures == {}
    one, other = (np.asarray(_labels(tmp_path / f"{kind}_masks", "p").dataobj) for kind in ("parts", "whole"))
    np.testing.assert_array_equal(one, other)
    assert one.any()


def _study(root: Path, seed: int, *, frames: int = 1) -> Path:
    """CT and PET of one study as DICOM, and a series that is no channel."""
    study, uids = generate_uid(), [generate_uid() for _ in range(3)]
    made = {"CT": make_phantom(seed, **GRID), "PT": _pet(seed), "MR": _pet(seed)}
    for number, (modality, phantom) in enumerate(made.items(), 1):
        folder = write_phantom_dicom(phantom, root / modality)
        series = generate_uid()
        for file in folder.iterdir():
            dataset = pydicom.dcmread(file)
            dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study, series
            dataset.FrameOfReferenceUID = uids[min(number, frames)]
            dataset.Modality, dataset.SeriesNumber, dataset.SeriesDescription = modality, number, f"{modality} series"
            dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
            dataset.save_as(file)
    return root


def test_a_study_gives_a_mask_and_a_seg_on_the_first_channel(two: Two, tmp_path: Path) -> None:
    study = _study(tmp_path / "study", 502)
    done = segment(study, bundle=two.bundle, output_dir=tmp_path / "out")
    assert (done.cases, done.failures) == (("study",), {})
    phantom = make_phantom(502, **GRID)
    labels = np.asarray(_labels(tmp_path / "out", "study").dataobj)
    assert _dice(labels, phantom.labels, 2) > 0.6
    seg = pydicom.dcmread(tmp_path / "out" / "study.dcm")
    ct = {pydicom.dcmread(file).SeriesInstanceUID for file in (study / "CT").iterdir()}
    assert {item.SeriesInstanceUID for item in seg.ReferencedSeriesSequence} == ct


def test_a_mask_lies_on_the_first_channel_that_there_is(two: Two, tmp_path: Path) -> None:
    """The same network and weights, of which the case may lack the first channel."""
    bundle = tmp_path / "phantom_other_segmentation"
    (bundle / "models").mkdir(parents=True)
    plan = yaml.safe_load((two.bundle / "plan.yaml").read_text())
    plan["name"] = bundle.name
    plan["data"]["channels"] = [{**CHANNELS[0], "optional": True}, {**CHANNELS[1], "optional": False}]
    (bundle / "plan.yaml").write_text(yaml.safe_dump(plan))
    build_bundle(bundle)
    (bundle / "models" / "model.pt").write_bytes((two.bundle / "models" / "model.pt").read_bytes())
    _save(_pet(508), tmp_path / "in" / "p_0001.nii.gz")
    study = _study(tmp_path / "study", 508)
    for file in (study / "CT").iterdir():
        file.unlink()
    for source, name in ((tmp_path / "in", "p"), (study, "study")):
        assert segment(source, bundle=bundle, output_dir=tmp_path / "out").failures == {}
        mask = _labels(tmp_path / "out", name)
        assert mask.shape == COARSE["shape"]
        np.testing.assert_allclose(mask.affine, _pet(508).affine, atol=1e-4)
    seg = pydicom.dcmread(tmp_path / "out" / "study.dcm")
    pet = {pydicom.dcmread(file).SeriesInstanceUID for file in (study / "PT").iterdir()}
    assert {item.SeriesInstanceUID for item in seg.ReferencedSeriesSequence} == pet


def test_channels_of_two_frames_of_reference_are_refused_in_one_line(two: Two, tmp_path: Path) -> None:
    study = _study(tmp_path / "study", 503, frames=2)
    with pytest.raises(InputError, match=r"PT.*: channels lie in different frames of reference"):
        segment(study, bundle=two.bundle, output_dir=tmp_path / "out")
    assert not list((tmp_path / "out").glob("*.nii.gz"))


def test_a_case_without_a_channel_is_segmented_or_refused_by_its_name(
    two: Two, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for seed in (504, 505):
        _save(make_phantom(seed, **GRID), tmp_path / "in" / f"p{seed}_0000.nii.gz")
        _save(_pet(seed), tmp_path / "in" / f"p{seed}_0001.nii.gz")
    (tmp_path / "in" / "p504_0001.nii.gz").unlink()
    (tmp_path / "in" / "p505_0000.nii.gz").unlink()
    with caplog.at_level(logging.INFO):
        done = segment(tmp_path / "in", bundle=two.bundle, output_dir=tmp_path / "out")
    assert list(done.failures) == ["p505"]
    assert "case p505: channel CT is missing" in done.failures["p505"]
    assert any("p504: without PET, which becomes 0" in record.getMessage() for record in caplog.records)
    assert np.asarray(_labels(tmp_path / "out", "p504").dataobj).any()


def test_the_network_sees_0_for_a_channel_that_is_lacking_and_the_others_as_they_were(two: Two, tmp_path: Path) -> None:
    _save(make_phantom(504, **GRID), tmp_path / "p_0000.nii.gz")
    _save(_pet(504), tmp_path / "p_0001.nii.gz")
    seen = []
    for _ in range(2):
        workflow = open_workflow(two.bundle, ["inference"], dataset_dir=tmp_path, output_dir=tmp_path / "out")
        (case,) = workflow.parser.get_parsed_content("cases")
        seen.append(workflow.parser.get_parsed_content("preprocessing")(dict(case))["image"].numpy())
        (tmp_path / "p_0001.nii.gz").unlink(missing_ok=True)
    np.testing.assert_array_equal(seen[0][0], seen[1][0])
    assert abs(seen[0][1].std() - 1) < 1e-3
    assert not seen[1][1].any()


def test_memory_is_forecast_for_several_images(two: Two, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    _save(make_phantom(506, **GRID), tmp_path / "in" / "p_0000.nii.gz")
    _save(_pet(506), tmp_path / "in" / "p_0001.nii.gz")
    with caplog.at_level(logging.INFO):
        segment(tmp_path / "in", bundle=two.bundle, output_dir=tmp_path / "out", max_memory_gb=50)
    assert any("p: forecast about" in record.getMessage() for record in caplog.records)


def test_inspect_says_which_channel_each_file_would_be(
    two: Two, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = _study(tmp_path / "study", 507)
    assert main(["inspect", str(study), "--bundle", str(two.bundle), "--json"]) == 0
    found = {one["path"]: one["channel"] for one in json.loads(capsys.readouterr().out)}
    assert found == {"CT": "CT", "PT": "PET", "MR": ""}
    _save(make_phantom(507, **GRID), tmp_path / "raw" / "p_0000.nii.gz")
    _save(_pet(507), tmp_path / "raw" / "p_0001.nii.gz")
    _save(_pet(507), tmp_path / "raw" / "other.nii.gz")
    assert main(["inspect", str(tmp_path / "raw"), "--bundle", str(two.bundle), "--json"]) == 0
    found = {one["path"]: one["channel"] for one in json.loads(capsys.readouterr().out)}
    assert found == {"p_0000.nii.gz": "CT", "p_0001.nii.gz": "PET", "other.nii.gz": ""}
    one = tmp_path / "raw" / "p_0001.nii.gz"
    assert main(["inspect", str(one), "--bundle", str(two.bundle), "--json"]) == 0
    assert [row["channel"] for row in json.loads(capsys.readouterr().out)] == ["PET"]
    (tmp_path / "raw" / "p_0000.nii.gz").unlink()
    assert main(["inspect", str(tmp_path / "raw"), "--bundle", str(two.bundle), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    (problem,) = [row["problem"] for row in rows if row["kind"] == "case"]
    assert "case p: channel CT is missing" in problem
