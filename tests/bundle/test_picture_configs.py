"""What the configs of a bundle for pictures do with a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from monai.transforms import Compose, LoadImaged
from PIL import Image
from scipy import ndimage
from skimage.exposure import equalize_adapthist

from pipeline.bundle import build_bundle

PLACES = {
    "inference": "preprocessing",
    "train": "train::deterministic_transforms",
    "validate": "validate::preprocessing",
    "evaluate": "validate::preprocessing",
}
IMAGENET_MEAN, IMAGENET_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
QUIET = dict.fromkeys(
    [f"{name}_probability" for name in ("noise", "blur", "brightness", "shift", "gamma", "low_resolution")], 0
)


def _plan(*, channels: int = 1, task: str = "segmentation", **preprocessing: Any) -> dict[str, Any]:
    labels = [{"value": value, "name": name} for value, name in enumerate(["disc", "square", "bar"], start=1)]
    if task == "classification":
        labels = [{**label, "value": label["value"] - 1} for label in labels]
    return {
        **dict.fromkeys(("title", "description", "intended_use", "authors", "copyright"), "text"),
        "name": f"shapes_{task}",
        "version": "0.1.0",
        "task": task,
        "dimensions": 2,
        "data": {"modality": "XC", "channels": ["c"] * channels, "source": "text", "license": "CC0"},
        "labels": labels,
        "preprocessing": {"window": [32, 32], "normalization": {"kind": "unit"}, **preprocessing},
        "network": {"_target_": "pipeline.networks.UNet", "in_channels": channels, "out_channels": 4},
        "training": {"epochs": 1, "samples_per_case": 2, "augmentation": {"mirror_axes": [0, 1]}},
    }


def _parser(folder: Path, plan: dict[str, Any], config: str) -> ConfigParser:
    folder.mkdir(exist_ok=True)
    (folder / "plan.yaml").write_text(yaml.safe_dump(plan))
    build_bundle(folder)
    names = {"validate": ["train"], "evaluate": ["train", "evaluate"]}.get(config, [config])
    parser = ConfigParser()
    parser.read_config([str(folder / "configs" / f"{name}.json") for name in names])
    return parser


def _steps(parser: ConfigParser, config: str) -> list[dict[str, Any]]:
    content = parser[PLACES[config]]
    return content if isinstance(content, list) else content["transforms"]


def _transform(parser: ConfigParser, config: str) -> Compose:
    content = parser.get_parsed_content(PLACES[config])
    return Compose(content) if isinstance(content, list) else content


def _write_case(folder: Path, image: np.ndarray, label: np.ndarray | None = None) -> dict[str, str]:
    """A picture and its mask, of shape (height, width[, channels])."""
    case = {"image": str(folder / "image.png"), "name": "case"}
    Image.fromarray(image).save(case["image"])
    if label is not None:
        case["label"] = str(folder / "label.png")
        Image.fromarray(label).save(case["label"])
    return case


def _zscore(values: np.ndarray) -> np.ndarray:
    return (values - values.mean()) / values.std()


def _stretched(values: np.ndarray, lower: float, upper: float) -> np.ndarray:
    low, high = np.percentile(values, [lower, upper])
    return (values.clip(low, high) - low) / (high - low)


def _imagenet(values: np.ndarray) -> np.ndarray:
    mean, deviation = (np.reshape(three, (3, 1, 1)) for three in (IMAGENET_MEAN, IMAGENET_DEVIATION))
    return (values / 255 - mean) / deviation


def _equalized(values: np.ndarray) -> np.ndarray:
    return np.stack(
        [equalize_adapthist(_stretched(one, 0.5, 99.5).astype(np.float32), (12, 10), 0.02) for one in values]
    )


def _each(function: Any) -> Any:
    return lambda values: np.stack([function(channel) for channel in values])


@pytest.mark.parametrize(
    ("rule", "channels", "formula"),
    [
        ({"kind": "unit"}, 1, lambda values: values / 255),
        ({"kind": "unit"}, 3, lambda values: values / 255),
        ({"kind": "imagenet"}, 3, _imagenet),
        ({"kind": "percentile", "lower": 5, "upper": 90}, 1, _each(lambda one: _stretched(one, 5, 90))),
        ({"kind": "percentile", "lower": 5, "upper": 90}, 3, _each(lambda one: _stretched(one, 5, 90))),
        ({"kind": "zscore"}, 1, _zscore),
        ({"kind": "zscore"}, 3, _each(_zscore)),
        ({"kind": "zscore", "clip_percentiles": [2, 98]}, 1, lambda values: _zscore(_stretched(values, 2, 98))),
        ({"kind": "clahe", "clip_limit": 0.02, "tiles": 4}, 1, _equalized),
        ({"kind": "clahe", "clip_limit": 0.02, "tiles": 4}, 3, _equalized),
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    "place", [(task, config) for task in ("segmentation", "classification") for config in PLACES], ids="-".join
)
def test_a_normalization_of_a_picture_gives_these_numbers(
    tmp_path: Path, place: tuple[str, str], rule: dict[str, Any], channels: int, formula: Any
) -> None:
    task, config = place
    generator = np.random.default_rng(0)
    image = (generator.gamma(2, 25, (40, 48, channels)) + 10 * np.arange(channels)).clip(0, 255).astype(np.uint8)
    case = _write_case(tmp_path, image.squeeze(), np.zeros((40, 48), np.uint8))
    if task == "classification":
        case |= {"label": 1}
    plan = _plan(channels=channels, task=task, normalization=rule, window=[48, 40])
    parser = _parser(tmp_path / f"shapes_{task}", plan, config)
    found = _transform(parser, config)(case)["image"]
    assert found.shape == (channels, 48, 40)
    expected = formula(image.transpose(2, 1, 0).astype(np.float64))
    # float32 throughout; MONAI adds up to 1e-8 to some divisors.
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4, atol=1e-4 if rule["kind"] == "clahe" else 1e-5)


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ({}, []),
        ({"resize": [24, 20]}, ["Resized"]),
        ({"resize": [24, 24], "keep_aspect": True}, ["Resized", "SpatialPadd"]),
        ({"center_crop": [16, 16]}, ["CenterSpatialCropd"]),
        ({"median_radius": 1, "resize": [24, 24], "keep_aspect": True, "center_crop": [20, 20]},
         ["MedianSmoothd", "Resized", "SpatialPadd", "CenterSpatialCropd"]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("config", PLACES)
def test_the_steps_of_the_geometry_stand_in_the_order_of_the_fields(
    tmp_path: Path, config: str, rules: dict[str, Any], expected: list[str]
) -> None:
    steps = _steps(_parser(tmp_path / "shapes_segmentation", _plan(**rules), config), config)
    kept = ("MedianSmoothd", "Resized", "SpatialPadd", "CenterSpatialCropd")
    names = [step["_target_"] for step in steps]
    assert [name for name in names if name in kept][: len(expected)] == expected
    assert names.index("pipeline.transforms.UnitRanged") == len(names) - 1 - (
        0 if config != "train" else 1  # training pads to its window at last
    )
    moved = [step["keys"] for step in steps if step["_target_"] in kept[1:]]
    assert all(keys == (["image", "label"] if config in ("train", "validate") else ["image"]) for keys in moved)


def test_the_aspect_is_kept_and_the_crop_is_central(tmp_path: Path) -> None:
    """A picture of 48x24 in a square of 24: halved, with 6 black rows above and below, of which a crop keeps 2."""
    case = _write_case(tmp_path, np.full((24, 48), 200, np.uint8) - np.eye(24, 48, dtype=np.uint8))
    rules = {"resize": [24, 24], "keep_aspect": True, "center_crop": [16, 16]}
    found = _transform(_parser(tmp_path / "b", _plan(**rules), "inference"), "inference")(case)["image"][0]
    assert found.shape == (16, 16)
    assert (found[:, :2] == 0).all()
    assert (found[:, -2:] == 0).all()
    np.testing.assert_allclose(found[:, 3:-3], 200 / 255, atol=0.01)  # the smoothing takes from the black beyond


def test_the_median_is_taken_before_the_picture_is_resized(tmp_path: Path) -> None:
    """A single bright pixel is gone before it can spread."""
    image = np.random.default_rng(0).integers(50, 60, (40, 40)).astype(np.uint8)
    image[20, 20] = 255
    case = _write_case(tmp_path, image)
    plan = _plan(median_radius=1, resize=[20, 20])
    found = _transform(_parser(tmp_path / "b", plan, "inference"), "inference")(case)["image"][0].numpy() * 255
    assert found.max() < 61
    expected = ndimage.median_filter(image.T.astype(float), 3)[6:-6, 6:-6].mean()
    assert abs(found[3:-3, 3:-3].mean() - expected) < 0.3, "beyond the border, filters take zeros"


@pytest.fixture(scope="module")
def deform(tmp_path_factory: pytest.TempPathFactory) -> Compose:
    """The steps of a training whose every change of the geometry is large, and that leaves intensities alone."""
    plan = _plan(resize=[40, 40], keep_aspect=True)
    plan["training"]["foreground_fraction"] = 0.5
    plan["training"]["augmentation"] |= QUIET | {"affine_probability": 1, "rotation_degrees": 180, "scaling": 0.3}
    folder = tmp_path_factory.mktemp("deform") / "shapes_segmentation"
    return _parser(folder, plan, "train").get_parsed_content("train::preprocessing")


@pytest.fixture(scope="module")
def unlike(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Compose]:
    """The steps of a validation and of an evaluation that resize without keeping the aspect."""
    folder = tmp_path_factory.mktemp("unlike") / "shapes_segmentation"
    plan = _plan(resize=[25, 31])
    return {config: _transform(_parser(folder, plan, config), config) for config in ("validate", "evaluate")}


@settings(max_examples=20, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(seed=st.integers(0, 2**31 - 1), size=st.tuples(st.integers(33, 90), st.integers(33, 90)))
def test_no_step_invents_a_label(
    tmp_path_factory: pytest.TempPathFactory,
    deform: Compose,
    unlike: dict[str, Compose],
    seed: int,
    size: tuple[int, int],
) -> None:
    """Labels 1 and 3 side by side: any interpolation gives a 2 between them."""
    folder, (width, height) = tmp_path_factory.mktemp("case"), size
    label = np.random.default_rng(seed).choice(np.array([0, 1, 3], np.uint8), (height, width))
    label[: height // 2, : width // 2], label[: height // 2, width // 2 :] = 1, 3
    case = _write_case(folder, (label * 60 + 10).astype(np.uint8), label)
    deform.set_random_state(seed=seed)
    for sample in [one for _ in range(3) for one in deform(case)]:
        assert sample["label"].shape == (1, 32, 32)
        assert set(np.unique(sample["label"])) <= {0, 1, 3}
    for config, transform in unlike.items():
        seen = transform(case)["label"]
        assert set(np.unique(seen)) <= {0, 1, 3}
        assert seen.shape == ((1, 25, 31) if config == "validate" else (1, width, height))


def test_image_and_mask_meet_every_random_change_alike(tmp_path: Path, deform: Compose) -> None:
    """The picture is its own mask: what a change does to one and not to the other shows at once."""
    generator = np.random.default_rng(3)
    label = (ndimage.gaussian_filter(generator.normal(size=(70, 60)), 5) > 0).astype(np.uint8)
    case = _write_case(tmp_path, label * 255, label)
    deform.set_random_state(seed=0)
    samples = [sample for _ in range(30) for sample in deform(case)]
    agree = [float(((one["image"] > 0.5) == (one["label"] > 0)).float().mean()) for one in samples]
    assert min(agree) > 0.93, "but for the pixels at the edges, where one is interpolated and the other is nearest"
    assert np.mean(agree) > 0.97
    shuffled = zip(samples, samples[2:], strict=False)
    apart = [float(((one["image"] > 0.5) == (other["label"] > 0)).float().mean()) for one, other in shuffled]
    assert np.mean(apart) < 0.75, "changes that are not shared would show"
    assert len({one["label"].numpy().tobytes() for one in samples}) > 55, "and they are random"


def test_a_classifier_sees_the_centre_but_in_training_a_random_part(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (60, 60), dtype=np.uint8)
    case = {**_write_case(tmp_path, image), "label": 2}
    plan = _plan(task="classification")
    plan["training"]["augmentation"] = {**QUIET, "affine_probability": 0}
    centre = torch.as_tensor(image.T[14:46, 14:46] / 255)
    for config in ("inference", "validate", "evaluate"):
        found = _transform(_parser(tmp_path / "b", plan, config), config)(case)
        torch.testing.assert_close(found["image"][0].as_tensor().double(), centre, atol=1e-6, rtol=0)
        assert found["label"] == 2
    transform = _parser(tmp_path / "b", plan, "train").get_parsed_content("train::preprocessing")
    whole = LoadImaged("image")(case)["image"].numpy() / 255
    windows = np.lib.stride_tricks.sliding_window_view(whole, (32, 32))
    places = set()
    for sample in [one for _ in range(5) for one in transform(case)]:
        assert isinstance(sample["image"], MetaTensor)
        (hits,) = [np.argwhere(np.isclose(windows[..., 0, 0], sample["image"][0, 0, 0]))]
        (place,) = [tuple(hit) for hit in hits if np.allclose(windows[tuple(hit)], sample["image"][0], atol=1e-6)]
        places.add(place)
    assert len(places) > 5
