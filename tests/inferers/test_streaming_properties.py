"""Properties of StreamingInferer: labels and probabilities of any case are those of MONAI's dense path in float32."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor, decollate_batch, list_data_collate
from monai.inferers import SlidingWindowInferer
from monai.transforms import Compose, Invertd, Orientationd, Resized, Spacingd, SpatialPadd

from pipeline.data.mapped import HEADER_BYTES
from pipeline.inferers import ProbabilityMaps, StreamingInferer

_AXES = [["L", "R"], ["P", "A"], ["I", "S"]]
_TIE = 1e-4  # of logits; below, rounding decides
_suite = settings(deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])


class _Share:
    """The voxels of a whole run, and those that differ."""

    def __init__(self) -> None:
        self.voxels = self.different = 0


@pytest.fixture(scope="module")
def share() -> Any:
    counted = _Share()
    yield counted
    assert counted.different <= 1e-5 * counted.voxels


def _affine(draw: Any, rank: int) -> torch.Tensor:
    """Any rotation, flips and spacings; now and then the shear of a tilted gantry."""
    affine = np.eye(4)
    if rank == 3:
        angles = draw(st.tuples(*[st.floats(-3.1, 3.1)] * 3)) if draw(st.booleans()) else (0.0, 0.0, 0.0)
        for axis, angle in enumerate(angles):
            turn = np.eye(4)
            a, b = (axis + 1) % 3, (axis + 2) % 3
            turn[[a, a, b, b], [a, b, a, b]] = [np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)]
            affine = affine @ turn
    signs = draw(st.tuples(*[st.sampled_from([-1, 1])] * rank))
    spacing = draw(st.tuples(*[st.floats(0.7, 3.0)] * rank))
    affine[:3, :rank] *= np.multiply(signs, spacing)
    if rank == 3:
        affine[:3, 2] += draw(st.sampled_from([0.0, 0.0, 0.0, 0.2])) * affine[:3, 1]
    affine[:3, 3] = [-31.0, 12.5, 7.0]
    return torch.as_tensor(affine)


def _steps(draw: Any, rank: int) -> Compose:
    if rank == 2:
        side = draw(st.integers(12, 40))
        fit = Resized("image", side, size_mode="longest", mode="bilinear")
        square = [fit, SpatialPadd("image", (side, side))]
        spacing = [Spacingd("image", draw(st.tuples(*[st.floats(0.6, 2.5)] * 2)))]
        return Compose(draw(st.sampled_from([square, spacing])))
    turned = Orientationd("image", draw(st.sampled_from(["RAS", "LPI", "SRA"])), labels=_AXES)
    spacing = [] if draw(st.booleans()) else [Spacingd("image", draw(st.tuples(*[st.floats(1.2, 3.0)] * 3)))]
    return Compose([turned, *spacing])


@st.composite
def _cases(draw: Any) -> dict[str, Any]:
    rank = draw(st.sampled_from([2, 3, 3]))
    most = 50 if rank == 2 else 18
    return {
        "size": draw(st.tuples(*[st.integers(1 if rank == 3 else 4, most)] * rank)),
        "affine": _affine(draw, rank),
        "steps": _steps(draw, rank),
        "inputs": draw(st.integers(1, 3)),
        "outputs": draw(st.sampled_from([2, 3, 4, 7, 12])),
        "seed": draw(st.integers(0, 99)),
        "slab": draw(st.sampled_from([2048.0, 0.05, 5e-3])),
        "tile": draw(st.sampled_from([64, 5])),
        "block": draw(st.sampled_from([2**20, 2**11])),
        "layout": {
            "roi_size": draw(st.tuples(*[st.sampled_from([6, 7, 9, 16])] * rank)),
            "sw_batch_size": draw(st.integers(1, 5)),
            "overlap": draw(st.sampled_from([0.0, 0.25, 0.5, 0.6])),
            "mode": draw(st.sampled_from(["constant", "gaussian"])),
        },
    }


def _image(size: Sequence[int], channels: int) -> torch.Tensor:
    """Noise of a few voxels' width, so that there are areas and borders of all classes."""
    coarse = torch.randn(1, channels, *(max(n // 3, 1) for n in size))
    mode = "trilinear" if len(size) == 3 else "bilinear"
    return 3 * torch.nn.functional.interpolate(coarse, tuple(size), mode=mode)[0] + 0.1 * torch.randn(channels, *size)


def _both(case: dict[str, Any], **options: Any) -> tuple[torch.Tensor, MetaTensor]:
    """The logits of the dense path on the input's own grid, and the labels of the streaming one."""
    torch.manual_seed(case["seed"])
    image, rank = _image(case["size"], case["inputs"]), len(case["size"])
    convolution = torch.nn.Conv3d if rank == 3 else torch.nn.Conv2d
    layers = [convolution(case["inputs"], 6, 3, padding=1), torch.nn.Tanh(), convolution(6, case["outputs"], 1)]
    network = torch.nn.Sequential(*layers).eval()
    meta = {"original_affine": case["affine"].numpy().copy(), "spatial_shape": np.array(case["size"])}
    batch = list_data_collate([case["steps"]({"image": MetaTensor(image, affine=case["affine"], meta=meta)})])
    with torch.no_grad():
        batch["pred"] = SlidingWindowInferer(**case["layout"])(batch["image"], network)
    (one,) = decollate_batch(batch)
    dense = Invertd("pred", case["steps"], "image", nearest_interp=False)(one)["pred"].as_tensor()
    inferer = StreamingInferer(out_channels=case["outputs"], max_slab_mb=case["slab"], **case["layout"], **options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.inferers.sweep._BLOCK", case["block"])
        patch.setattr("pipeline.inferers.sweep._TILE", case["tile"])
        (labels,) = decollate_batch(inferer(batch["image"], network))
    assert labels.shape == (1, *case["size"])
    return dense, labels


def _count(labels: torch.Tensor, expected: torch.Tensor, margin: torch.Tensor, share: _Share) -> None:
    """At most one voxel may differ, and only where the decision hangs on less than a rounding error."""
    different = labels.long() != expected.long()
    assert int(different.sum()) <= 1
    assert (margin[different] < _TIE).all()
    share.voxels += different.numel()
    share.different += int(different.sum())


@settings(_suite, max_examples=100)
@given(case=_cases())
def test_labels_by_argmax(case: dict[str, Any], share: _Share) -> None:
    dense, labels = _both(case)
    highest = dense.topk(2, dim=0).values
    _count(labels[0].as_tensor(), dense.argmax(dim=0), highest[0] - highest[1], share)


@settings(_suite, max_examples=40)
@given(
    case=_cases(),
    threshold=st.sampled_from([0.3, 0.5, 0.55]),
    values=st.permutations([1, 2, 3, 4, 5, 6, 7, 8, 9, 60, 200, 255]),
)
def test_labels_by_regions(case: dict[str, Any], threshold: float, values: list[int], share: _Share) -> None:
    values = values[: case["outputs"]]
    dense, labels = _both(case, rule="regions", values=values, threshold=threshold)
    expected = torch.zeros(case["size"])
    for logits, value in zip(dense, values, strict=True):
        expected[torch.sigmoid(logits) >= threshold] = value
    margin = (dense - np.log(threshold / (1 - threshold))).abs().amin(dim=0)
    _count(labels[0].as_tensor(), expected, margin, share)


@settings(_suite, max_examples=60)
@given(case=_cases(), rule=st.sampled_from(["argmax", "regions"]), data=st.data())
def test_probabilities(case: dict[str, Any], rule: str, data: st.DataObject) -> None:
    names = [f"class {channel}" for channel in range(case["outputs"])]
    classes = data.draw(st.lists(st.sampled_from(names), min_size=1, unique=True))
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.data.mapped._MAPPED_BYTES", data.draw(st.sampled_from([16e6, 1, 3000])))
        maps = ProbabilityMaps(classes=classes, names=names, folder=folder)
        dense, labels = _both(case, rule=rule, probabilities=maps)
        expected = torch.softmax(dense, dim=0) if rule == "argmax" else torch.sigmoid(dense)
        files = json.loads(labels.meta["probability_maps"])
        assert list(files) == classes
        for name, file in files.items():
            values = np.fromfile(file, dtype="<f4", offset=HEADER_BYTES).reshape(case["size"], order="F")
            np.testing.assert_allclose(values, expected[names.index(name)], rtol=0, atol=1e-5)
        # Room for a header is what nibabel says that both kinds take.
        assert max(nib.Nifti1Header.single_vox_offset, nib.Nifti2Header.single_vox_offset) <= HEADER_BYTES
        assert {Path(file).parent.parent for file in files.values()} == {Path(folder)}
