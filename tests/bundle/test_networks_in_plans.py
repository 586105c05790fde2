"""Networks that a plan may name train through the built configs."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from pipeline.bundle import build_bundle, open_workflow

FLAT: dict[str, Any] = {"spatial_dims": 2, "in_channels": 1, "out_channels": 3}
SOLID = {**FLAT, "spatial_dims": 3}
DYNUNET = {"kernel_size": [3, 3, 3], "strides": [1, 2, 2], "upsample_kernel_size": [2, 2], "filters": [4, 8, 8]}
SCALES = {"channels": [4, 8, 8], "strides": [2, 2]}
SWIN = {"feature_size": 12, "depths": [1, 1, 1, 1], "num_heads": [1, 2, 3, 4]}
DEEPLAB = {"encoder_width": 0.25, "decoder_channels": 16}
NEEDS_EINOPS = pytest.mark.skipif(importlib.util.find_spec("einops") is None, reason="SwinUNETR needs einops")
SEGMENTATION: list[Any] = [
    ("monai.networks.nets.UNet", {**FLAT, **SCALES}),
    ("monai.networks.nets.UNet", {**SOLID, **SCALES}),
    ("monai.networks.nets.AttentionUnet", {**FLAT, **SCALES}),
    ("monai.networks.nets.DynUNet", {**FLAT, **DYNUNET}),
    ("monai.networks.nets.DynUNet", {**SOLID, **DYNUNET}),
    ("monai.networks.nets.SegResNet", {**FLAT, "init_filters": 8, "blocks_down": [1, 1], "blocks_up": [1]}),
    ("monai.networks.nets.SegResNet", {**SOLID, "init_filters": 8, "blocks_down": [1, 1], "blocks_up": [1]}),
    pytest.param("monai.networks.nets.SwinUNETR", {**FLAT, **SWIN}, marks=NEEDS_EINOPS),
    ("pipeline.networks.UNet", {**FLAT, "channels": [4, 8, 8]}),
    ("pipeline.networks.UNet", {**SOLID, "channels": [4, 8, 8]}),
    ("pipeline.networks.DeepLabV3Plus", {**FLAT, **DEEPLAB, "encoder": "resnet18"}),
    ("pipeline.networks.DeepLabV3Plus", {**FLAT, **DEEPLAB, "encoder": "mobilenetv2"}),
    ("pipeline.networks.SegNet", {**FLAT, "width": 0.125}),
    ("pipeline.networks.FCN", {**FLAT, "width": 0.125}),
]
CLASSIFICATION: list[Any] = [
    ("monai.networks.nets.DenseNet121", {**FLAT, "init_features": 8, "growth_rate": 4, "block_config": [2, 2]}),
    ("pipeline.networks.MobileNetV2", {**FLAT, "width": 0.25}),
    ("pipeline.networks.ConvNet", FLAT),
    ("pipeline.networks.ConvNet", {**SOLID, "features": [4, 8], "hidden": 8}),
    ("pipeline.networks.ResNet", {**FLAT, "depth": 18, "width": 0.125}),
]
NETWORKS = [
    pytest.param(
        task, *values, marks=getattr(case, "marks", ()), id=f"{values[0]}-{values[1]['spatial_dims']}d-{number}"
    )
    for task, cases in (("segmentation", SEGMENTATION), ("classification", CLASSIFICATION))
    for number, case in enumerate(cases)
    for values in [getattr(case, "values", case)]
]


def _save(array: np.ndarray, folder: Path, name: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if array.ndim == 2:
        Image.fromarray(array).save(folder / f"{name}.png")
    else:
        nib.save(nib.Nifti1Image(array, np.eye(4)), folder / f"{name}.nii.gz")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Noise, brighter where it is labelled, in two and three dimensions, for either task."""
    root, generator = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    for dimensions, side in ((2, 64), (3, 32)):
        for case in range(6):
            labels = np.zeros((side,) * dimensions, np.uint8)
            labels[: side // 2, : side // 3], labels[side // 2 :, side // 3 :] = 1, 2
            image = (generator.integers(0, 80, labels.shape) + 80 * labels).astype(np.uint8)
            _save(image, root / f"segmentation{dimensions}" / "images", str(case))
            _save(labels, root / f"segmentation{dimensions}" / "labels", str(case))
        for case in range(12):
            image = generator.integers(0, 80 * (case % 3) + 80, (side,) * dimensions).astype(np.uint8)
            _save(image, root / f"classification{dimensions}" / "abc"[case % 3], str(case))
    return root


def _plan(task: str, network: dict[str, Any]) -> dict[str, Any]:
    dimensions, first = network["spatial_dims"], int(task == "segmentation")
    return {
        **dict.fromkeys(("title", "description", "intended_use", "authors", "copyright"), "text"),
        "name": f"tiny_{task}",
        "version": "0.1.0",
        "task": task,
        "dimensions": dimensions,
        "data": {"modality": "OT", "channels": ["noise"], "source": "text", "license": "CC0", "folds": 2},
        "labels": [{"value": first + number, "name": name} for number, name in enumerate("abc"[: 3 - first])],
        "preprocessing": {
            "window": [64, 64] if dimensions == 2 else [32, 32, 32],
            "normalization": {"kind": "zscore"},
        },
        "network": network,
        # The scores of FCN begin at zero: what lies before them learns from the second step on.
        "training": {"epochs": 3, "batch_size": 2, "warmup": 0, "learning_rate": 0.01, "weight_decay": 0},
    }


@pytest.mark.parametrize(("task", "target", "arguments"), NETWORKS)
def test_a_network_that_a_plan_names_learns_from_its_first_steps(
    data: Path, tmp_path: Path, task: str, target: str, arguments: dict[str, Any]
) -> None:
    bundle = tmp_path / f"tiny_{task}"
    bundle.mkdir()
    plan = _plan(task, {"_target_": target, **arguments})
    (bundle / "plan.yaml").write_text(yaml.safe_dump(plan))
    build_bundle(bundle)
    workflow = open_workflow(
        bundle, ["train"], training=True, dataset_dir=data / f"{task}{plan['dimensions']}", device="cpu"
    )
    workflow.initialize()
    network = workflow.parser.get_parsed_content("network")
    before = {name: value.detach().clone() for name, value in network.named_parameters()}
    workflow.run()
    losses = [row["training_loss"] for row in workflow.parser.get_parsed_content("train::curves").rows]
    assert len(losses) == 3
    assert np.isfinite(losses).all()
    weights = {name: value for name, value in network.named_parameters() if value.ndim > 1}
    assert [name for name, value in weights.items() if torch.equal(value, before[name])] == []
    kept = torch.load(bundle / "models" / "model.pt", weights_only=True)
    assert kept.keys() == network.state_dict().keys()
    assert all(torch.isfinite(value).all() for value in kept.values())
