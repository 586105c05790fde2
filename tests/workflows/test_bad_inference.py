"""What goes wrong while a bundle is applied: one line for each, and no file that is not whole."""

from __future__ import annotations

import errno
import json
import re
import shutil
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
import yaml
from monai.bundle import ConfigParser

import pipeline.workflows.demo as demo_workflow
from pipeline.bundle import build_bundle
from pipeline.cli import main
from pipeline.errors import InputError
from pipeline.workflows.segment import segment
from pipeline.writing import temporary_path

_NETWORK = {
    "_target_": "monai.networks.nets.UNet",
    "spatial_dims": 3,
    "in_channels": 1,
    "out_channels": 3,
    "channels": [4, 8],
    "strides": [2],
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundles") / "phantom_ct_segmentation"
    folder.mkdir()
    plan = yaml.safe_load(Path(demo_workflow.__file__).with_name("demo_plan.yaml").read_text())
    plan["preprocessing"].update(window=[16, 16, 8])
    (folder / "plan.yaml").write_text(yaml.safe_dump(plan | {"network": _NETWORK}))
    build_bundle(folder)
    _save_weights(folder)
    return folder


def _save_weights(bundle: Path, *, value: float | None = None) -> None:
    parser = ConfigParser()
    parser.read_config(str(bundle / "configs" / "inference.json"))
    torch.manual_seed(0)
    network = parser.get_parsed_content("network_def")
    if value is not None:
        torch.nn.init.constant_(next(network.parameters()), value)
    (bundle / "models").mkdir(exist_ok=True)
    torch.save(network.state_dict(), bundle / "models" / "model.pt")


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return _write(tmp_path / "image.nii.gz", (20, 18, 12))


def _write(path: Path, size: tuple[int, ...]) -> Path:
    voxels = np.random.default_rng(0).integers(-100, 200, size, dtype=np.int16)
    nib.save(nib.Nifti1Image(voxels, np.diag([-2.0, 2.0, 3.0, 1.0])), path)
    return path


def _refused(image: Path, bundle: Path, out: Path) -> str:
    """The one line; nothing may lie in the output folder."""
    with pytest.raises(InputError) as caught:
        segment(image, bundle=bundle, output_dir=out)
    assert "\n" not in str(caught.value)
    assert not out.exists() or list(out.iterdir()) == []
    return str(caught.value)


@pytest.mark.parametrize("size", [(9, 7, 3), (40, 5, 2), (2, 30, 20)])
def test_a_volume_smaller_than_the_window_has_a_mask_of_its_size(
    built: Path, tmp_path: Path, size: tuple[int, ...]
) -> None:
    segment(_write(tmp_path / "small.nii.gz", size), bundle=built, output_dir=tmp_path / "out")
    assert nib.load(tmp_path / "out" / "small.nii.gz").shape == size


def test_an_axis_of_no_length_is_refused(built: Path, tmp_path: Path) -> None:
    path = tmp_path / "empty.nii"
    header = nib.Nifti1Image(np.zeros((4, 4, 1), np.int16), np.eye(4)).header
    header["dim"][3] = 0
    path.write_bytes(header.binaryblock + bytes(4))
    assert "empty.nii" in _refused(path, built, tmp_path / "out")


def test_a_network_with_other_channels_than_the_plan_is_refused(built: Path, tmp_path: Path, image: Path) -> None:
    bundle = Path(shutil.copytree(built, tmp_path / built.name))
    config = bundle / "configs" / "inference.json"
    content = json.loads(config.read_text())
    content["network_def"]["out_channels"] = 5
    config.write_text(json.dumps(content))
    _save_weights(bundle)
    message = _refused(image, bundle, tmp_path / "out")
    assert "the network's output has the wrong shape (expected (4, 3, 16, 16, 8), got (4, 5, 16, 16, 8))" in message


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_network_that_gives_no_numbers_is_refused(built: Path, tmp_path: Path, image: Path, value: float) -> None:
    bundle = Path(shutil.copytree(built, tmp_path / built.name))
    _save_weights(bundle, value=value)
    assert "the network gives NaN or infinite logits" in _refused(image, bundle, tmp_path / "out")


def test_too_little_memory_is_said(built: Path, tmp_path: Path, image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forward(*_: Any) -> torch.Tensor:
        return torch.empty(10**15)  # bytes that no machine has

    monkeypatch.setattr("monai.networks.nets.UNet.forward", forward)
    assert "not enough memory" in _refused(image, built, tmp_path / "out")


def test_a_full_disk_leaves_nothing_and_the_other_cases_go_on(
    built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a", "b", "c"):
        _write(tmp_path / "in" / f"{name}.nii.gz", (20, 18, 12))
    save, saved = nib.save, list[Path]()

    def full(image: Any, path: Any) -> None:
        save(image, path)
        saved.append(Path(path))
        if len(saved) == 2:
            whole = Path(path).read_bytes()
            Path(path).write_bytes(whole[: len(whole) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("pipeline.sources.nifti.nib.save", full)
    done = segment(tmp_path / "in", bundle=built, output_dir=tmp_path / "out")
    assert list(done.failures) == ["b"]
    assert "b.nii.gz: cannot be written (got No space left on device)" in done.failures["b"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.nii.gz", "c.nii.gz"]


def test_a_disk_that_is_full_from_the_start_is_one_line(
    built: Path, tmp_path: Path, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: Any, path: Any) -> None:
        Path(path).write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("pipeline.sources.nifti.nib.save", full)
    assert "cannot be written (got No space left on device)" in _refused(image, built, tmp_path / "out")


def test_a_network_whose_output_has_another_size_is_refused(
    built: Path, tmp_path: Path, image: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = Path(shutil.copytree(built, tmp_path / built.name))
    config = bundle / "configs" / "inference.json"
    content = json.loads(config.read_text())
    halving = {"in_channels": 1, "out_channels": 3, "kernel_size": 2, "stride": 2}
    content["network_def"] = {"_target_": "torch.nn.Conv3d", **halving}
    config.write_text(json.dumps(content))
    _save_weights(bundle)
    assert main(["segment", str(image), "--bundle", str(bundle), "-o", str(tmp_path / "out")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "the network's output has the wrong shape (expected (4, 3, 16, 16, 8), got (4, 3, 8, 8, 4))" in line
    assert not list(tmp_path.glob("out/*"))


@pytest.mark.parametrize("place", ["monai.networks.nets.UNet.forward", "pipeline.sources.nifti.nib.save"])
def test_an_interruption_leaves_no_half_file(  # noqa: PLR0917
    built: Path,
    tmp_path: Path,
    image: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    place: str,
) -> None:
    def interrupted(*given: Any) -> None:
        if len(given) > 1 and isinstance(given[1], Path):
            given[1].write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(place, interrupted)
    arguments = ["segment", str(image), "--bundle", str(built), "-o", str(tmp_path / "out")]
    assert main([*arguments, "--probabilities", "all"]) == 130
    assert capsys.readouterr().err.splitlines()[-1] == "medbundle: interrupted"
    assert not list(tmp_path.glob("out/*"))


def test_each_run_clears_what_killed_ones_left_in_its_folder(built: Path, tmp_path: Path, image: Path) -> None:
    out = tmp_path / "out"
    segment(image, bundle=built, output_dir=out)
    gone = re.sub(r"-\d+-", "-999999999-", temporary_path(out, suffix=".nii.gz").name)
    (out / gone).write_text("half of a mask")
    (out / f"{gone.removesuffix('.nii.gz')}1").mkdir()
    (out / f"{gone.removesuffix('.nii.gz')}1" / "0.nii").write_text("half of a map")
    (out / ".notes").write_text("the user's")
    segment(image, bundle=built, output_dir=out)
    assert sorted(path.name for path in out.iterdir()) == [".notes", "image.nii.gz"]
