from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from monai.bundle import ConfigParser
from PIL import Image

import pipeline.workflows.demo as demo_workflow
from pipeline.bundle import build_bundle
from pipeline.data.phantoms import Phantom, make_phantom, write_phantom_dicom, write_phantom_labels
from pipeline.workflows.train import train

SHAPE, SPACING_MM = (40, 40, 20), (3.2, 3.2, 4.8)


@dataclass(frozen=True)
class Trained:
    """A small bundle, trained for seconds: enough that its masks are about right."""

    bundle: Path
    data: Path

    def phantom(self, seed: int) -> Phantom:
        return make_phantom(seed, shape=SHAPE, spacing_mm=SPACING_MM)


@pytest.fixture(scope="session")
def trained(built_once: Callable[[str, Callable[[Path], object]], Path]) -> Trained:
    root = built_once("a study with spaces", _train_phantoms)
    return Trained(root / "phantom_ct_segmentation", root / "data")


def _train_phantoms(root: Path) -> None:
    made = Trained(root / "phantom_ct_segmentation", root / "data")
    for seed in range(16):
        phantom = made.phantom(seed)
        write_phantom_dicom(phantom, root / "data" / "images" / f"case{seed:02d}")
        write_phantom_labels(phantom, root / "data" / "labels" / f"case{seed:02d}.nii.gz")
    made.bundle.mkdir()
    plan = yaml.safe_load(Path(demo_workflow.__file__).with_name("demo_plan.yaml").read_text())
    plan["preprocessing"].update(spacing_mm=list(SPACING_MM), window=[24, 24, 12])
    plan["training"].update(epochs=60, validate_every=20)
    (made.bundle / "plan.yaml").write_text(yaml.safe_dump(plan))
    build_bundle(made.bundle)
    train(made.bundle, data=made.data)


CLASSES = ("disc", "square", "bar")
WIDTH, HEIGHT = 48, 36
_PLACES = {"disc": (11, 10), "square": (36, 11), "bar": (24, 27)}  # the centres, x and y
CLASS_PLAN = """
name: shape_png_classification
title: Shape classification
version: 0.1.0
description: Tells a disc, a square and a bar apart.
intended_use: Tests.
authors: the tests
copyright: none
task: classification
dimensions: 2
data: {modality: OT, channels: [grey], source: made up, license: none, test_fraction: 0.1, folds: 3}
labels: [{value: 0, name: disc}, {value: 1, name: square}, {value: 2, name: bar}]
preprocessing: {resize: [40, 40], window: [36, 36], normalization: {kind: unit}}
network: {_target_: pipeline.networks.ConvNet, out_channels: 3, features: [8, 16], pooled_size: 1, dropout: 0}
training:
  epochs: 40
  batch_size: 4
  learning_rate: 1.0e-2
  ema_momentum: 0.2
  validate_every: 40
  augmentation: {affine_probability: 0, blur_probability: 0, low_resolution_probability: 0, noise_std: 0.02,
                 brightness_probability: 0, shift_probability: 0, gamma_probability: 0}
"""


@dataclass(frozen=True)
class Classified:
    """A small bundle of three classes, trained for seconds: an even disc, a square of rows, a bar of columns.

    Each has its place, but the network averages over places, so that only the object itself tells the class.
    """

    bundle: Path

    def draw(self, name: str, seed: int, path: Path) -> np.ndarray:
        """Write a picture of a class; returns where its object is, shape (height, width)."""
        generator = np.random.default_rng(seed)
        x, y = np.asarray(_PLACES[name]) + generator.integers(-2, 3, 2)
        down, right = np.mgrid[:HEIGHT, :WIDTH]
        down, right = down - y, right - x
        inside = {
            "disc": down**2 + right**2 <= 36,
            "square": np.maximum(abs(down), abs(right)) <= 5,
            "bar": (abs(down) <= 2) & (abs(right) <= 9),
        }[name]
        shade = {"disc": 1.0, "square": down % 4 < 2, "bar": right % 4 < 2}[name]
        values = 20 + 200 * shade * inside + generator.normal(0, 6, inside.shape)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(values.clip(0, 255).astype(np.uint8)).save(path)
        return inside


@pytest.fixture(scope="session")
def classified(built_once: Callable[[str, Callable[[Path], object]], Path]) -> Classified:
    return Classified(built_once("shapes in a row", _train_shapes) / "shape_png_classification")


def _train_shapes(root: Path) -> None:
    made = Classified(root / "shape_png_classification")
    for name in CLASSES:
        for seed in range(12):
            made.draw(name, seed, root / "data" / name / f"{seed:02d}.png")
    made.bundle.mkdir()
    (made.bundle / "plan.yaml").write_text(CLASS_PLAN)
    build_bundle(made.bundle)
    train(made.bundle, data=root / "data")


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small bundle with random weights."""
    folder = tmp_path_factory.mktemp("bundles") / "phantom_ct_segmentation"
    (folder / "models").mkdir(parents=True)
    plan = yaml.safe_load(Path(demo_workflow.__file__).with_name("demo_plan.yaml").read_text())
    plan["preprocessing"].update(window=[16, 16, 8])
    plan["network"] = {"_target_": "monai.networks.nets.UNet", "spatial_dims": 3, "in_channels": 1, "out_channels": 3,
                       "channels": [4, 8], "strides": [2]}  # fmt: skip
    (folder / "plan.yaml").write_text(yaml.safe_dump(plan))
    build_bundle(folder)
    parser = ConfigParser()
    parser.read_config(str(folder / "configs" / "inference.json"))
    torch.manual_seed(0)
    torch.save(parser.get_parsed_content("network_def").state_dict(), folder / "models" / "model.pt")
    return folder


@pytest.fixture
def phantom() -> Phantom:
    return make_phantom(7, shape=(24, 20, 9), spacing_mm=(4.0, 4.5, 5.0))


@pytest.fixture
def series(phantom: Phantom, tmp_path: Path) -> Path:
    return write_phantom_dicom(phantom, tmp_path / "series")


@pytest.fixture
def label_map(phantom: Phantom, tmp_path: Path) -> Path:
    return write_phantom_labels(phantom, tmp_path / "labels.nii.gz")


@pytest.fixture
def dicom(tmp_path: Path) -> tuple[Phantom, Path]:
    """A phantom and the folder of its slices."""
    phantom = make_phantom(7, shape=(24, 20, 9), spacing_mm=(2.0, 2.5, 3.0))
    return phantom, write_phantom_dicom(phantom, tmp_path / "study")
