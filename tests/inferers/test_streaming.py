"""StreamingInferer against MONAI's SlidingWindowInferer, Invertd and AsDiscreted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.bundle import ConfigParser
from monai.data import MetaTensor, decollate_batch, list_data_collate
from monai.inferers import SimpleInferer, SlidingWindowInferer
from monai.transforms import (
    AsDiscreted,
    CenterSpatialCropd,
    Compose,
    Identityd,
    Invertd,
    LoadImaged,
    NormalizeIntensityd,
    Orientationd,
    Resized,
    Spacingd,
    SpatialPadd,
)

from pipeline.inferers import AutocastInferer, MirroredInferer, StreamingInferer

_AXES = [["L", "R"], ["P", "A"], ["I", "S"]]


def _network(channels: int = 4, *, dimensions: int = 3, inputs: int = 1, seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    convolution = torch.nn.Conv3d if dimensions == 3 else torch.nn.Conv2d
    layers = [convolution(inputs, 6, 3, padding=1), torch.nn.Tanh(), convolution(6, channels, 3, padding=1)]
    return torch.nn.Sequential(*layers).eval()


def _smooth(size: Sequence[int], *, channels: int = 1, seed: int = 0) -> torch.Tensor:
    """Noise of a few voxels' width, so that there are areas and borders of all classes."""
    torch.manual_seed(seed)
    coarse = torch.randn(1, channels, *(max(n // 3, 1) for n in size))
    mode = "trilinear" if len(size) == 3 else "bilinear"
    return 3 * torch.nn.functional.interpolate(coarse, tuple(size), mode=mode)[0] + 0.1 * torch.randn(channels, *size)


def _affine(rotation: Sequence[float], spacing: Sequence[float], *, shear: float = 0.0) -> torch.Tensor:
    x, y, z = rotation
    turns = [
        np.array([[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]]),
        np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]]),
        np.array([[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]]),
    ]
    affine = np.eye(4)
    affine[:3, :3] = turns[0] @ turns[1] @ turns[2] @ np.diag(spacing)
    affine[:3, 2] += shear * affine[:3, 1]
    affine[:3, 3] = [-31.0, 12.5, 7.0]
    return torch.as_tensor(affine)


def _batch(image: torch.Tensor, affine: torch.Tensor, steps: Compose) -> dict[str, Any]:
    meta: dict[str, Any] = {"original_affine": affine.numpy().copy(), "spatial_shape": np.array(image.shape[1:])}
    return list_data_collate([steps({"image": MetaTensor(image, affine=affine, meta=meta)})])


def _dense(batch: dict[str, Any], steps: Compose, network: Any, **layout: Any) -> torch.Tensor:
    with torch.no_grad():
        logits = SlidingWindowInferer(**layout)(batch["image"], network)
    (case,) = decollate_batch({"image": batch["image"], "pred": logits})
    undo = Invertd("pred", steps, "image", nearest_interp=False)
    return AsDiscreted("pred", argmax=True)(undo(case))["pred"]


def _compare(steps: Compose, image: torch.Tensor, affine: torch.Tensor, network: Any, **options: Any) -> MetaTensor:
    """Both ways; the labels must be equal, but for one voxel in 100 000."""
    batch = _batch(image, affine, steps)
    layout = {key: options[key] for key in ("roi_size", "sw_batch_size", "overlap", "mode") if key in options}
    expected = _dense(batch, steps, network, **layout)
    result = StreamingInferer(**options)(batch["image"], network)
    assert result.dtype == torch.uint8
    (labels,) = decollate_batch(result)
    assert labels.shape == (1, *image.shape[1:]) == expected.shape
    torch.testing.assert_close(labels.affine.double(), affine, rtol=0, atol=1e-9)
    different = int((labels.as_tensor() != expected.as_tensor()).sum())
    assert different <= labels.numel() * 1e-5
    assert len(labels.unique()) > 1
    return labels


def _standard(spacing: Sequence[float], axcodes: str = "RAS") -> Compose:
    return Compose([Orientationd("image", axcodes, labels=_AXES), Spacingd("image", spacing)])


_WINDOWS: dict[str, Any] = {"roi_size": (8, 10, 6), "sw_batch_size": 3, "overlap": 0.5, "mode": "gaussian"}


@pytest.mark.parametrize("mode", ["gaussian", "constant"])
@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.6, (0.5, 0.25, 0.7)])
def test_labels_are_those_of_the_dense_path(mode: str, overlap: Any) -> None:
    options = _WINDOWS | {"mode": mode, "overlap": overlap, "out_channels": 4}
    affine = _affine((0.2, -0.1, 0.4), (0.9, 1.4, 2.5))
    _compare(_standard((1.2, 1.2, 1.2)), _smooth((29, 23, 17)), affine, _network(), **options)


@pytest.mark.parametrize("axcodes", ["RAS", "LPS", "SRA", "ILP", "PSL"])
@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, 1, -1), (-1, -1, -1)])
def test_flipped_and_permuted_axes_come_back(axcodes: str, signs: tuple[int, ...]) -> None:
    affine = _affine((0.1, 0.3, 1.4), [sign * mm for sign, mm in zip(signs, (1.0, 0.7, 2.0), strict=True)])
    _compare(_standard((1.1, 1.0, 1.3), axcodes), _smooth((21, 19, 13)), affine, _network(), out_channels=4, **_WINDOWS)


def _three(values: Any) -> Any:
    return st.tuples(values, values, values)


@st.composite
def _cases(draw: Any) -> dict[str, Any]:
    lengths, signs = draw(_three(st.floats(0.5, 3.0))), draw(_three(st.sampled_from([-1, 1])))
    spacing = [mm * sign for mm, sign in zip(lengths, signs, strict=True)]
    return {
        "affine": _affine(draw(_three(st.floats(-3.1, 3.1))), spacing, shear=draw(st.sampled_from([0.0, 0.0, 0.2]))),
        "size": draw(_three(st.integers(2, 22))),
        "steps": _standard(draw(_three(st.floats(0.6, 2.5))), draw(st.sampled_from(["RAS", "LPI", "SRA"]))),
        "seed": draw(st.integers(0, 99)),
        "slab": draw(st.sampled_from([2048.0, 1e-3])),
        "layout": {
            "roi_size": draw(_three(st.sampled_from([4, 7, 9, 16]))),
            "sw_batch_size": draw(st.integers(1, 4)),
            "overlap": draw(st.sampled_from([0.0, 0.25, 0.5, 0.8])),
            "mode": draw(st.sampled_from(["constant", "gaussian"])),
        },
    }


@settings(max_examples=25, deadline=None)
@given(case=_cases())
def test_any_geometry(case: dict[str, Any]) -> None:
    batch = _batch(_smooth(case["size"], seed=case["seed"]), case["affine"], case["steps"])
    network = _network(seed=case["seed"])
    expected = _dense(batch, case["steps"], network, **case["layout"])
    inferer = StreamingInferer(out_channels=4, max_slab_mb=case["slab"], **case["layout"])
    result = inferer(batch["image"], network)
    assert result.shape == (1, 1, *case["size"])
    # Fewer than 100 000 voxels: one may be at a tie that rounding decides.
    assert int((result[0].as_tensor() != expected.as_tensor()).sum()) <= 1


@pytest.mark.parametrize("size", [(5, 4, 3), (5, 30, 4), (1, 12, 9), (8, 10, 6), (9, 11, 7)])
def test_volumes_smaller_than_the_window_are_padded_alike(size: tuple[int, ...]) -> None:
    options = _WINDOWS | {"out_channels": 4}
    _compare(_standard((1.0, 1.0, 1.0)), _smooth(size), _affine((0, 0, 0), (1, 1.5, 1)), _network(), **options)


@pytest.mark.parametrize("padding_mode", ["reflect", "replicate", "constant"])
def test_other_paddings(padding_mode: str) -> None:
    image = _smooth((7, 15, 6))[None]
    options = _WINDOWS | {"roi_size": (12, 8, 9), "padding_mode": padding_mode}
    if padding_mode == "constant":
        options["cval"] = -2.0
    network = _network()
    with torch.no_grad():
        expected = SlidingWindowInferer(**options)(image, network).argmax(dim=1, keepdim=True)
    assert torch.equal(StreamingInferer(out_channels=4, **options)(image, network).as_tensor().long(), expected)


@pytest.mark.parametrize("shear", [0.3, -0.15, 1e-5])
def test_the_shear_of_a_tilted_grid_comes_back(shear: float) -> None:
    affine = _affine((0.1, 0.0, 0.05), (0.8, 0.9, 2.0), shear=shear)
    for slab in (2048.0, 0.01):
        options = _WINDOWS | {"out_channels": 4, "max_slab_mb": slab}
        _compare(_standard((1.0, 1.0, 1.5)), _smooth((24, 22, 15)), affine, _network(), **options)


@pytest.mark.parametrize("slab", [2048.0, 0.01])
def test_a_tilted_grid_that_was_then_resized_and_cropped_comes_back(slab: float) -> None:
    changes = [
        Resized("image", (20, 23, 18), mode="trilinear", anti_aliasing=True),
        SpatialPadd("image", (22, 23, 18)),
        CenterSpatialCropd("image", (19, 21, 15)),
    ]
    steps = Compose([*_standard((1.0, 1.0, 1.5), "LPS").transforms, *changes])
    affine = _affine((0.1, 0.0, 0.05), (0.8, 0.9, 2.0), shear=0.3)
    options = _WINDOWS | {"out_channels": 4, "max_slab_mb": slab}
    _compare(steps, _smooth((24, 22, 15)), affine, _network(), **options)


def test_an_image_nearly_at_the_spacing_is_left_alone_as_monai_does() -> None:
    affine = _affine((0, 0, 0), (1.0002, 1, 1))
    _compare(_standard((1.0, 1.0, 1.0)), _smooth((21, 22, 15)), affine, _network(), out_channels=4, **_WINDOWS)


@pytest.mark.parametrize("slab", [2048.0, 0.005])
def test_pictures(slab: float) -> None:
    image, network = _smooth((37, 53), channels=3), _network(3, dimensions=2, inputs=3)
    layout = {"roi_size": (16, 16), "sw_batch_size": 4, "overlap": 0.5, "mode": "gaussian"}
    affine = torch.eye(4, dtype=torch.float64)
    options = {"out_channels": 3, "max_slab_mb": slab, **layout}
    _compare(Compose([Identityd("image")]), image, affine, network, **options)
    steps = Compose([Spacingd("image", (1.3, 0.8))])
    _compare(steps, image, affine, network, **options)
    steps = Compose([Resized("image", 48, size_mode="longest", mode="bilinear"), SpatialPadd("image", (48, 48))])
    _compare(steps, image, affine, network, **options)


def test_resizing_cropping_and_padding_come_back() -> None:
    steps = Compose(
        [
            *_standard((1.2, 1.0, 1.3), "LPS").transforms,
            Resized("image", (20, 26, 17), mode="trilinear", anti_aliasing=True),
            SpatialPadd("image", (24, 24, 24)),
            CenterSpatialCropd("image", (19, 23, 14)),
        ]
    )
    affine = _affine((0.2, -0.1, 0.4), (0.9, -1.4, 2.5))
    _compare(steps, _smooth((29, 23, 17)), affine, _network(), out_channels=4, **_WINDOWS)


def test_the_input_is_left_as_it_was() -> None:
    batch = _batch(_smooth((12, 13, 9)), _affine((0, 0, 0), (1, 1, 2)), _standard((1.0, 1.0, 1.0)))
    before, meta = batch["image"].clone(), str(batch["image"].meta)
    StreamingInferer(out_channels=4, **_WINDOWS)(batch["image"], _network())
    assert torch.equal(batch["image"].as_tensor(), before.as_tensor())
    assert str(batch["image"].meta) == meta
    assert len(batch["image"].applied_operations[0]) == 2


def test_each_image_of_a_batch_is_labelled_as_if_alone() -> None:
    steps = _standard((1.0, 1.0, 1.0))
    affines = [_affine((0, 0, 0), (1, 1, 2)), _affine((0, 0, 0), (-1, 1, 2))]
    single = [_batch(_smooth((12, 13, 9), seed=n), affine, steps) for n, affine in enumerate(affines)]
    both = list_data_collate([case for one in single for case in decollate_batch(one)])
    inferer, network = StreamingInferer(out_channels=4, **_WINDOWS), _network()
    result = inferer(both["image"], network)
    for labels, one, affine in zip(decollate_batch(result), single, affines, strict=True):
        assert torch.equal(labels.as_tensor(), inferer(one["image"], network)[0].as_tensor())
        torch.testing.assert_close(labels.affine.double(), affine, rtol=0, atol=1e-9)


def test_autocast_may_be_around_it_and_mirroring_inside() -> None:
    image, network = _smooth((24, 20, 18))[None], _network()
    layout = _WINDOWS | {"roi_size": (8, 8, 6), "overlap": 0.5}
    mirrored = MirroredInferer(SimpleInferer(), axes=[0, 1])
    inferer = AutocastInferer(StreamingInferer(out_channels=4, inferer=mirrored, **layout), enabled=False)

    def averaged(batch: torch.Tensor) -> torch.Tensor:
        flips = [[], [2], [3], [2, 3]]
        return torch.stack([torch.flip(network(torch.flip(batch, dims)), dims) for dims in flips]).mean(0)

    with torch.no_grad():
        expected = SlidingWindowInferer(**layout)(image, averaged).argmax(dim=1, keepdim=True)
    different = inferer(image, network).as_tensor().long() != expected
    assert int(different.sum()) <= different.numel() * 1e-5


def test_the_hippocampus_network_on_real_volumes(shared_data: Any) -> None:
    bundle = Path(__file__).parents[2] / "bundles" / "hippocampus_mr_segmentation"
    parser = ConfigParser()
    parser.read_config(str(bundle / "configs" / "inference.json"))
    network = parser.get_parsed_content("network_def").eval()
    network.load_state_dict(torch.load(bundle / "models" / "model.pt", weights_only=True))
    layout = {"roi_size": (40, 56, 40), "sw_batch_size": 1, "overlap": 0.5, "mode": "gaussian"}
    steps = Compose(
        [
            LoadImaged("image", ensure_channel_first=True),
            *_standard((1.0, 1.0, 1.0)).transforms,
            NormalizeIntensityd("image"),
        ]
    )
    other = Compose([*steps.transforms[:1], *_standard((0.8, 0.9, 1.3), "LPS").transforms, *steps.transforms[3:]])
    for path in sorted((shared_data / "Task04_Hippocampus" / "imagesTr").glob("*.nii.gz"))[:2]:
        for preprocessing in (steps, other):
            batch = list_data_collate([preprocessing({"image": str(path)})])
            expected = _dense(batch, preprocessing, network, **layout)
            (labels,) = decollate_batch(StreamingInferer(out_channels=3, **layout)(batch["image"], network))
            assert labels.shape == expected.shape
            assert int((labels.as_tensor() != expected.as_tensor()).sum()) <= labels.numel() * 1e-5
            assert labels.unique().tolist() == [0, 1, 2]
            np.testing.assert_allclose(labels.affine, expected.affine, atol=1e-6)
