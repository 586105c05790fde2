"""Forecasts of memory: from headers alone, and kept to."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import itk
import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import (
    CenterSpatialCropd,
    Compose,
    LoadImage,
    NormalizeIntensityd,
    Orientationd,
    Resized,
    Spacingd,
    SpatialPadd,
)
from PIL import Image

from pipeline.data.phantoms import make_phantom, write_phantom_dicom
from pipeline.errors import InputError
from pipeline.inferers import AutocastInferer, StreamingInferer
from pipeline.inferers.quality import QualityInferer
from pipeline.planning.forecast import Probe, forecast
from pipeline.planning.grids import GridChange, grid_change
from pipeline.planning.resident import TensorPeak
from pipeline.sources import open_image
from pipeline.workflows.segment import segment

_AFFINE = np.array([[-0.9, 0.1, 0, 11], [0.1, 0.9, 0, -7], [0, 0, 2.5, 3], [0, 0, 0, 1]])


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".mha", ".nrrd", ".mgz"])
def test_the_grid_of_a_volume_is_that_which_monai_loads(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"volume{suffix}"
    voxels = np.zeros((7, 5, 4), np.float32)
    if suffix in (".mha", ".nrrd"):
        image = itk.image_from_array(voxels.transpose(2, 1, 0).copy())
        image.SetSpacing([0.9, 1.1, 2.5])
        image.SetOrigin([3.0, -4.0, 5.0])
        image.SetDirection(np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]))
        itk.imwrite(image, str(path))
    else:
        kind = nib.MGHImage if suffix == ".mgz" else nib.Nifti1Image
        nib.save(kind(voxels, _AFFINE), path)
    size, affine = open_image(path).size, open_image(path).affine
    expected = LoadImage(reader="NibabelReader" if suffix == ".mgz" else None)(str(path))
    assert size == tuple(expected.shape)
    np.testing.assert_allclose(affine, expected.affine, atol=1e-5)


def test_the_grid_of_a_series_and_of_a_picture(tmp_path: Path) -> None:
    phantom = make_phantom(3, shape=(24, 20, 9), spacing_mm=(3.0, 3.0, 5.0))
    series = open_image(write_phantom_dicom(phantom, tmp_path / "series"))
    size, affine = series.size, series.affine
    assert size == (24, 20, 9)
    np.testing.assert_allclose(affine, phantom.affine, atol=1e-4)
    Image.new("L", (31, 17)).save(tmp_path / "picture.png")
    assert open_image(tmp_path / "picture.png").size == (31, 17)


@pytest.mark.parametrize(
    "steps",
    [
        [],
        [Spacingd("image", (1.3, 1.0, 2.0))],
        [Spacingd("image", (1.3, 1.0, 2.0)), CenterSpatialCropd("image", (9, 9, 3))],
        [Resized("image", 16, size_mode="longest", mode="trilinear"), SpatialPadd("image", (16,) * 3)],
    ],
    ids=["turned", "resampled", "cropped", "resized"],
)  # fmt: skip
def test_the_network_s_grid_is_that_of_the_preprocessed_image(steps: list[Any]) -> None:
    labels = [["L", "R"], ["P", "A"], ["I", "S"]]
    preprocessing = Compose([Orientationd("image", "SRA", labels=labels), *steps, NormalizeIntensityd("image")])
    size = (23, 19, 8)
    image = preprocessing({"image": MetaTensor(torch.rand(1, *size), affine=torch.as_tensor(_AFFINE))})["image"]
    change = grid_change(size, _AFFINE, channels=1, preprocessing=preprocessing)
    assert change.network_size == tuple(image.shape[1:])
    assert change.back.grid.input_size == size
    assert change.resampled == bool(steps)


def _plain(size: tuple[int, ...]) -> GridChange:
    return grid_change(size, np.eye(4), channels=1, preprocessing=Compose([]))


def _inferer(channels: int, **options: Any) -> StreamingInferer:
    return StreamingInferer(roi_size=(100, 100, 100), out_channels=channels, overlap=0.5, max_slab_mb=1e6, **options)


_PROBE = Probe(window_bytes=1e9, window_seconds=3.0, base_bytes=5e8)


def test_a_forecast_adds_up_what_is_held() -> None:
    told = forecast(_plain((400, 300, 200)), _inferer(4, sw_batch_size=2), _PROBE)
    assert told.windows == 7 * 5 * 3  # every 50 voxels
    assert told.window_batch == 2
    assert told.seconds == pytest.approx(3.0 * told.windows)
    image, labels, blocks = 24e6 * 4, 24e6, 64e6
    held = 5e8 + image + labels + blocks + 2 * 1e9
    # At least a window's length of the sums of 4 channels and of the weights, and never two.
    slab = 5 * 100 * 300 * 200 * 4
    assert held + slab <= told.peak_gb * 1e9 <= held + 2 * slab


def test_the_peak_is_that_of_loading_where_the_windows_need_less() -> None:
    small = Probe(window_bytes=1e6, window_seconds=1.0, base_bytes=5e8)
    inferer = StreamingInferer(roi_size=(100, 100, 100), out_channels=1, rule="regions")
    told = forecast(_plain((500, 400, 300)), inferer, small)
    assert told.peak_gb == pytest.approx(0.5 + 60e6 * 16 / 1e9)  # four images in float32 while it is normalised


def test_a_limit_takes_fewer_windows_at_a_time_first_and_a_smaller_slab_then() -> None:
    change, most = _plain((400, 400, 1200)), _inferer(40, sw_batch_size=8)
    free = forecast(change, most, _PROBE)
    assert free.window_batch == 8
    fewer = forecast(change, most, _PROBE, max_memory_gb=free.peak_gb - 0.3)
    assert fewer.window_batch == 4
    assert fewer.windows == free.windows
    one = forecast(change, most, _PROBE, max_memory_gb=free.peak_gb - 7.05)
    assert one.window_batch < 4
    assert one.windows > free.windows
    assert fewer.peak_gb <= free.peak_gb - 0.3
    assert one.peak_gb <= free.peak_gb - 7.05


def test_a_limit_that_cannot_be_kept_is_one_line_that_says_what_would_do() -> None:
    change, most = _plain((400, 400, 1200)), _inferer(40, sw_batch_size=8)
    with pytest.raises(InputError, match=r"400 x 400 x 1200 voxels: needs at least (\d\.\d) GB of memory") as caught:
        forecast(change, most, _PROBE, max_memory_gb=0.6)
    assert "got 0.6 GB" in str(caught.value)
    least = float(str(caught.value).split("at least ")[1].split(" GB")[0])
    assert forecast(change, most, _PROBE, max_memory_gb=least).peak_gb <= least
    with pytest.raises(InputError, match="needs at least"):
        forecast(change, most, _PROBE, max_memory_gb=least - 0.1)


def test_tensors_are_counted_while_they_live() -> None:
    with TensorPeak() as tensors:
        first = torch.zeros(1000)
        second = first + 1
        del first
        third = second.view(10, 100)
        assert tensors.bytes == 4000
        del second, third
        torch.zeros(500)
    assert (tensors.peak, tensors.bytes) == (8000, 0)


def test_a_probe_sees_what_the_network_holds() -> None:
    class Wide(torch.nn.Module):
        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            return torch.cat([batch] * 64, dim=1).sum(dim=1, keepdim=True).expand(-1, 4, -1, -1, -1)

    inferer = AutocastInferer(StreamingInferer(roi_size=(20, 20, 20), out_channels=4), enabled=False)
    probe = Probe.of(inferer, Wide(), channels=1, device=torch.device("cpu"))
    assert probe.window_bytes > 63 * 8000 * 4
    assert probe.window_seconds > 0


def test_a_probe_sees_the_passes_that_tell_how_good_labels_are(monkeypatch: pytest.MonkeyPatch) -> None:
    # Tensors are counted exactly; how the process grows also depends on what ran in it before.
    monkeypatch.setattr("pipeline.planning.forecast.resident_bytes", lambda: (5e8, 6e8))
    seen: list[int] = []

    class Counted(torch.nn.Conv3d):
        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            seen.append(len(batch))
            return super().forward(batch)

    plain, found = StreamingInferer(roi_size=(20, 20, 20), out_channels=4), []
    for inferer in (plain, QualityInferer(plain)):
        probe = Probe.of(inferer, Counted(1, 4, 3, padding=1), channels=1, device=torch.device("cpu"))
        found.append((probe.window_bytes, len(seen)))
        seen.clear()
    (less, once), (more, twice) = found
    assert twice == 2 * once
    assert more > less + 4 * 8000 * 4  # the logits of the second pass


def test_a_forecast_is_of_the_inferer_that_predicts_the_quality(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nib.save(nib.Nifti1Image(np.ones((20, 20, 20), np.int16), np.eye(4)), tmp_path / "a.nii.gz")
    probed: list[Any] = []
    monkeypatch.setattr(Probe, "of", lambda inferer, *_, **__: probed.append(inferer) or _PROBE)
    with pytest.raises(InputError, match="one value"):
        segment(tmp_path / "a.nii.gz", bundle="hippocampus_mr_segmentation", output_dir=tmp_path, max_memory_gb=50)
    assert isinstance(probed[0], QualityInferer)


def test_masks_under_a_limit_are_the_same_and_each_case_is_forecast(
    bundle: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "in").mkdir()
    generator = np.random.default_rng(0)
    for name, size in (("a", (30, 28, 14)), ("b", (20, 33, 9))):
        voxels = generator.integers(-100, 200, size, dtype=np.int16)
        nib.save(nib.Nifti1Image(voxels, _AFFINE), tmp_path / "in" / f"{name}.nii.gz")
    (tmp_path / "in" / "c.nii.gz").write_bytes(b"no image")
    segment(tmp_path / "in", bundle=bundle, output_dir=tmp_path / "free")
    with caplog.at_level(logging.INFO, logger="pipeline.planning.forecast"):
        done = segment(tmp_path / "in", bundle=bundle, output_dir=tmp_path / "limited", max_memory_gb=50)
    assert list(done.failures) == ["c"]
    for name in ("a", "b"):
        free, limited = (np.asarray(nib.load(tmp_path / one / f"{name}.nii.gz").dataobj) for one in ("free", "limited"))
        np.testing.assert_array_equal(free, limited)
        assert len(np.unique(free)) > 1
    lines = [record.getMessage() for record in caplog.records if record.name == "pipeline.planning.forecast"]
    assert [line[:4] for line in lines] == ["a: f", "b: f", "c: n"]
    assert all(" GB and " in line for line in lines[:2])
    assert "no forecast" in lines[2]


def test_a_limit_below_what_a_case_needs_is_refused_before_it_is_loaded(bundle: Path, tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(np.zeros((30, 28, 14), np.int16), _AFFINE), tmp_path / "a.nii.gz")
    with pytest.raises(InputError, match=r"30 x 28 x 14 voxels: needs at least \d\.\d GB of memory \(got 0\.01 GB\)"):
        segment(tmp_path / "a.nii.gz", bundle=bundle, output_dir=tmp_path / "out", max_memory_gb=0.01)
    with pytest.raises(InputError, match="max_memory_gb: is no amount of memory"):
        segment(tmp_path / "a.nii.gz", bundle=bundle, output_dir=tmp_path / "out", max_memory_gb=0)
    assert not list(tmp_path.glob("out/*"))
