"""Probabilities beside the masks: what they say, where they lie, and that nothing is left where there are none."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
import torch
import yaml
from monai.bundle import ConfigParser
from monai.data import decollate_batch, list_data_collate
from monai.inferers import SlidingWindowInferer
from monai.transforms import Invertd
from PIL import Image

import pipeline.workflows.demo as demo_workflow
from pipeline.bundle import build_bundle
from pipeline.cli import main
from pipeline.errors import InputError
from pipeline.workflows.segment import segment

_AFFINE = np.array([[-1.96, 0.4, 0, 11], [0.4, 1.96, 0, -7], [0, 0, 3, 3], [0, 0, 0, 1]])
_NETWORK = {"_target_": "monai.networks.nets.UNet", "in_channels": 1, "out_channels": 3, "channels": [4, 8],
            "strides": [2]}  # fmt: skip
_LABELS = [{"value": 1, "name": "Left lung / upper"}, {"value": 2, "name": "Ball"}]


def _make_bundle(folder: Path, dimensions: int) -> Path:
    (folder / "models").mkdir(parents=True)
    plan = yaml.safe_load(Path(demo_workflow.__file__).with_name("demo_plan.yaml").read_text())
    plan |= {"labels": _LABELS, "network": {**_NETWORK, "spatial_dims": dimensions}, "dimensions": dimensions,
             "inference": {"engine": "float32"}}  # fmt: skip
    plan["preprocessing"].update(window=[16, 16, 8][:dimensions])
    if dimensions == 2:
        plan["preprocessing"].update(spacing_mm=None, normalization={"kind": "percentile", "lower": 1, "upper": 99})
    (folder / "plan.yaml").write_text(yaml.safe_dump(plan))
    build_bundle(folder)
    torch.manual_seed(0)
    torch.save(_parsed(folder, "network_def").state_dict(), folder / "models" / "model.pt")
    return folder


def _parsed(bundle: Path, key: str) -> Any:
    parser = ConfigParser()
    parser.read_config(str(bundle / "configs" / "inference.json"))
    parser["bundle_root"] = str(bundle)
    return parser.get_parsed_content(key)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _make_bundle(tmp_path_factory.mktemp("bundles") / "phantom_ct_segmentation", 3)


@pytest.fixture(scope="module")
def flat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _make_bundle(tmp_path_factory.mktemp("bundles") / "picture_segmentation", 2)


def _volume(path: Path, size: tuple[int, ...] = (20, 18, 12)) -> Path:
    voxels = np.random.default_rng(0).integers(-100, 200, size, dtype=np.int16)
    nib.save(nib.Nifti1Image(voxels, _AFFINE), path)
    return path


def _dense(bundle: Path, image: Path) -> np.ndarray:
    """MONAI's way: sliding windows, logits brought back, softmax."""
    preprocessing, network = _parsed(bundle, "preprocessing"), _parsed(bundle, "network_def").eval()
    network.load_state_dict(torch.load(bundle / "models" / "model.pt", weights_only=True))
    batch = list_data_collate([preprocessing({"image": str(image), "name": "case"})])
    plan = yaml.safe_load((bundle / "plan.yaml").read_text())
    with torch.no_grad():
        window = plan["preprocessing"]["window"]
        batch["pred"] = SlidingWindowInferer(window, overlap=0.5, mode="gaussian")(batch["image"], network)
    (case,) = decollate_batch(batch)
    return torch.softmax(Invertd("pred", preprocessing, "image", nearest_interp=False)(case)["pred"], 0).numpy()


def _left(out: Path) -> list[str]:
    return sorted(path.name for path in out.iterdir()) if out.exists() else []


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".nrrd"])
def test_volumes_of_float32_lie_on_the_input_s_grid(bundle: Path, tmp_path: Path, suffix: str) -> None:
    image = tmp_path / f"image{suffix}"
    nifti = _volume(tmp_path / "image.nii.gz")
    if suffix == ".nrrd":
        SimpleITK.WriteImage(SimpleITK.ReadImage(str(nifti)), str(image))
    elif suffix == ".nii":  # of 64 bits, and with a trailing axis
        source = nib.load(nifti)
        nib.save(nib.Nifti2Image(np.asarray(source.dataobj)[..., None], source.affine), image)
    out = tmp_path / "out"
    assert main(["segment", str(image), "--bundle", str(bundle), "-o", str(out), "--probabilities", "all"]) == 0
    assert _left(out) == ["image.nii.gz", "image_Ball.nii", "image_Left_lung_upper.nii"]
    expected, mask = _dense(bundle, image), nib.load(out / "image.nii.gz")
    for channel, name in ((1, "Left_lung_upper"), (2, "Ball")):
        found = nib.load(out / f"image_{name}.nii")
        assert isinstance(np.asanyarray(found.dataobj), np.memmap)
        assert found.get_data_dtype() == np.float32
        assert found.shape == mask.shape
        assert np.array_equal(found.affine, mask.affine)
        np.testing.assert_allclose(np.asarray(found.dataobj).reshape(20, 18, 12), expected[channel], atol=1e-5)
        if suffix == ".nii":
            continue  # SimpleITK reads no NIfTI-2 of 4 axes
        other = SimpleITK.ReadImage(str(out / f"image_{name}.nii"))
        np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(other).ravel(), np.asarray(found.dataobj).ravel("F"))


def test_pictures_of_16_bits(flat: Path, tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 255, (37, 29), dtype=np.uint8)
    Image.fromarray(picture).save(tmp_path / "picture.png")
    segment(tmp_path / "picture.png", bundle=flat, output_dir=tmp_path / "out", probabilities=["Ball", "background"])
    expected = _dense(flat, tmp_path / "picture.png")
    names = ["picture.png", "picture_Ball.png", "picture_background.png", "picture_overlay.png"]
    assert _left(tmp_path / "out") == names
    for channel, name in ((0, "background"), (2, "Ball")):
        with Image.open(tmp_path / "out" / f"picture_{name}.png") as found:
            assert found.mode == "I;16"
            assert found.size == (29, 37)
            np.testing.assert_allclose(np.asarray(found).T / 65535, expected[channel], atol=2e-5)


def test_a_slice_of_a_2d_bundle_keeps_its_third_axis(flat: Path, tmp_path: Path) -> None:
    image = _volume(tmp_path / "slice.nii.gz", (29, 37, 1))
    segment(image, bundle=flat, output_dir=tmp_path / "out", probabilities=["Ball"])
    found = nib.load(tmp_path / "out" / "slice_Ball.nii")
    assert found.shape == (29, 37, 1)
    np.testing.assert_allclose(np.asarray(found.dataobj)[..., 0], _dense(flat, image)[2], atol=1e-5)


def test_an_unknown_name_is_one_line_with_the_known_ones(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["segment", str(_volume(tmp_path / "a.nii.gz")), "--bundle", str(bundle), "-o", str(tmp_path / "out")]
    assert main([*arguments, "--probabilities", "Bell"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "no such class" in line
    assert "background, Left lung / upper, Ball" in line
    assert "got Bell" in line
    assert _left(tmp_path / "out") == []


def test_several_cases_and_one_that_fails(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a", "b", "c"):
        _volume(tmp_path / "in" / f"{name}.nii.gz")
    save, saved = nib.save, list[Path]()

    def full(image: Any, path: Any) -> None:
        saved.append(Path(path))
        if len(saved) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        save(image, path)

    monkeypatch.setattr("pipeline.sources.nifti.nib.save", full)
    out = tmp_path / "out"
    done = segment(tmp_path / "in", bundle=bundle, output_dir=out, probabilities=["Ball"])
    assert list(done.failures) == ["b"]
    assert _left(out) == ["a.nii.gz", "a_Ball.nii", "c.nii.gz", "c_Ball.nii"]


def test_no_space_is_one_line_and_leaves_nothing(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    allocated: list[int] = []

    def full(_: int, __: int, length: int) -> None:
        allocated.append(length)
        if len(allocated) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with pytest.raises(InputError, match=r"cannot be written \(expected 0\.0 MB of space, got No space left") as caught:
        segment(_volume(tmp_path / "a.nii.gz"), bundle=bundle, output_dir=tmp_path / "out", probabilities=["all"])
    assert "\n" not in str(caught.value)
    assert allocated == [544 + 4 * 20 * 18 * 12] * 2
    assert _left(tmp_path / "out") == []


def test_a_system_that_cannot_allocate_writes_zeros(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*_: int) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(os, "posix_fallocate", unknown, raising=False)
    image = _volume(tmp_path / "a.nii.gz")
    segment(image, bundle=bundle, output_dir=tmp_path / "out", probabilities=["Ball"])
    found = nib.load(tmp_path / "out" / "a_Ball.nii")
    np.testing.assert_allclose(np.asarray(found.dataobj), _dense(bundle, image)[2], atol=1e-5)


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_nothing_is_left_of_an_interrupted_or_failed_case(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    seen: list[list[str]] = []

    def forward(*_: Any) -> torch.Tensor:
        seen.append(_left(tmp_path / "out"))
        raise error

    monkeypatch.setattr("monai.networks.nets.UNet.forward", forward)
    with pytest.raises((KeyboardInterrupt, InputError)):
        segment(_volume(tmp_path / "a.nii.gz"), bundle=bundle, output_dir=tmp_path / "out", probabilities=["Ball"])
    assert len(seen[0]) == 1  # the hidden folder was there
    assert _left(tmp_path / "out") == []


def test_files_of_other_cases_and_inputs_are_not_replaced(flat: Path, bundle: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a", "a_Ball"):
        Image.fromarray(np.eye(20, dtype=np.uint8)).save(folder / f"{name}.png")
    done = segment(folder, bundle=flat, output_dir=tmp_path / "out", probabilities=["Ball"])
    assert list(done.failures) == ["a"]
    assert "the name of another case's file. Segment it apart from a_Ball" in done.failures["a"]
    image = _volume(tmp_path / "v_Ball.nii")
    before = image.read_bytes()
    _volume(tmp_path / "v.nii")
    done = segment(tmp_path, bundle=bundle, output_dir=tmp_path, probabilities=["Ball"])
    assert "would replace an input" in done.failures["v"]
    assert image.read_bytes() == before


def test_a_limit_of_memory_goes_with_it(bundle: Path, tmp_path: Path) -> None:
    image, out = _volume(tmp_path / "a.nii.gz"), tmp_path / "out"
    segment(image, bundle=bundle, output_dir=out, probabilities=["Ball"], max_memory_gb=50)
    assert _left(out) == ["a.nii.gz", "a_Ball.nii"]
    np.testing.assert_allclose(np.asarray(nib.load(out / "a_Ball.nii").dataobj), _dense(bundle, image)[2], atol=1e-5)


def test_a_bundle_that_was_built_without_is_refused(bundle: Path, tmp_path: Path) -> None:
    import json
    import shutil

    foreign = Path(shutil.copytree(bundle, tmp_path / "foreign_segmentation"))
    file = foreign / "configs" / "inference.json"
    config = json.loads(file.read_text())
    del config["probabilities"], config["inferer"]["inferer"]["probabilities"]
    file.write_text(json.dumps(config))
    image = _volume(tmp_path / "a.nii.gz")
    with pytest.raises(InputError, match=r"has no entry probabilities\. Build the bundle again"):
        segment(image, bundle=foreign, output_dir=tmp_path / "out", probabilities=["Ball"])
