from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from pydoc import locate
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from monai.bundle import ConfigParser
from monai.bundle.config_item import ComponentLocator, ConfigComponent
from monai.bundle.reference_resolver import ReferenceResolver
from monai.data import MetaTensor
from monai.transforms import Compose

from pipeline.bundle import build_bundle, stale_files
from pipeline.errors import InputError

BUNDLES = sorted((Path(__file__).parents[2] / "bundles").glob("*/plan.yaml"))
SHIPPED = pytest.mark.parametrize("folder", [plan.parent for plan in BUNDLES], ids=lambda folder: folder.name)
NAMES = ["metadata.json", "inference.json", "train.json", "evaluate.json", "multi_gpu_train.json", "logging.conf"]
CONFIGS = ["inference", "train", "evaluate", "multi_gpu_train"]
TRAIN_IDS = [
    *("bundle_root", "device", "dataset_dir", "train::trainer", "train::trainer::max_epochs", "train::dataset"),
    *("train::inferer", "network_def", "loss", "optimizer", "initialize", "run", "validate::evaluator"),
]
INFERENCE_IDS = [
    *("bundle_root", "device", "dataset_dir", "dataset", "evaluator", "network_def", "inferer", "initialize", "run"),
    *("preprocessing", "postprocessing"),
]
IDS = [("train", TRAIN_IDS), ("inference", INFERENCE_IDS)]


def _parser(folder: Path, name: str) -> ConfigParser:
    """A config as it is read for a run: evaluate.json and multi_gpu_train.json lie over train.json."""
    names = [name] if name in ("inference", "train") else ["train", name]
    parser = ConfigParser()
    parser.read_config([str(folder / "configs" / f"{one}.json") for one in names])
    return parser


def test_there_are_shipped_bundles() -> None:
    assert BUNDLES


@SHIPPED
def test_the_configs_of_a_shipped_bundle_are_those_of_its_plan(folder: Path) -> None:
    assert stale_files(folder) == []
    assert sorted(path.name for path in (folder / "configs").iterdir()) == sorted(NAMES)


def test_building_again_changes_nothing_and_leaves_nothing(bundle: Path) -> None:
    built = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in (bundle / "configs").iterdir()}
    assert sorted(built) == sorted(NAMES)
    assert build_bundle(bundle) == []
    assert {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in (bundle / "configs").iterdir()} == built


def test_only_what_differs_is_written_again(bundle: Path) -> None:
    edited, gone = bundle / "configs" / "train.json", bundle / "configs" / "logging.conf"
    before = edited.read_text()
    edited.write_text(before.replace('"epochs": 200', '"epochs": 3'))
    gone.unlink()
    assert sorted(stale_files(bundle)) == sorted([edited, gone])
    assert sorted(build_bundle(bundle)) == sorted([edited, gone])
    assert stale_files(bundle) == []
    assert edited.read_text() == before


def test_a_change_of_the_plan_makes_the_configs_stale(bundle: Path) -> None:
    plan = bundle / "plan.yaml"
    plan.write_text(plan.read_text().replace("width_hu: 400", "width_hu: 350"))
    assert sorted(path.name for path in stale_files(bundle)) == ["evaluate.json", "inference.json", "train.json"]


def test_a_folder_that_cannot_be_written_is_told_in_one_line(bundle: Path) -> None:
    for path in (bundle / "configs").iterdir():
        path.unlink()
    (bundle / "configs").rmdir()
    (bundle / "configs").write_text("a file")
    with pytest.raises(InputError, match=r"configs.metadata\.json: cannot be written"):
        build_bundle(bundle)


def _values(node: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield key, value
            yield from _values(value)
    elif isinstance(node, list):
        for value in node:
            yield "", value
            yield from _values(value)


@SHIPPED
def test_each_config_is_literal(folder: Path) -> None:
    for name in NAMES[:-1]:
        text = (folder / "configs" / name).read_text()
        content = json.loads(text)
        # A macro resolves against the working directory; MONAI turns any # into ::.
        assert not [value for _, value in _values(content) if isinstance(value, str) and value.startswith("%")]
        assert not [key for key, _ in _values(content) if "#" in key]
        assert str(folder.parent) not in text


@SHIPPED
def test_monai_reads_each_config_and_finds_each_target(folder: Path) -> None:
    locator = ComponentLocator()
    for name in CONFIGS:
        parser = _parser(folder, name)
        components = [node for _, node in _values({"": parser.get()}) if isinstance(node, dict) and "_target_" in node]
        assert components, name
        for component in components:
            target = ConfigComponent(component, locator=locator).resolve_module_name()
            assert callable(locate(target)), f"{name}: {component['_target_']}"


@pytest.mark.parametrize(("config", "ids"), IDS, ids=["train", "inference"])
@SHIPPED
def test_the_ids_that_monai_requires_are_there(folder: Path, config: str, ids: list[str]) -> None:
    parser = _parser(folder, config)
    assert [name for name in ids if name not in parser] == []


@SHIPPED
@pytest.mark.parametrize("config", CONFIGS)
def test_each_reference_names_something(folder: Path, config: str) -> None:
    """One that is misspelt would fail only at run time."""
    parser = _parser(folder, config)
    strings = [value for _, value in _values({"": parser.get()}) if isinstance(value, str)]
    references = {reference for value in strings for reference in _references(value)}
    assert references
    assert [reference for reference in sorted(references) if reference not in parser] == []


def _references(value: str) -> set[str]:
    found = ReferenceResolver.match_refs_pattern(value) if value.startswith(("@", "$")) else {}
    return set(found)


CT = np.array([-400.0, -150.0, 0.0, 50.0, 250.0, 900.0], dtype=np.float32)
RAMP = np.arange(101.0, dtype=np.float32)
MR = np.array([0.0, 0.0, 2.0, 4.0, 6.0, 8.0], dtype=np.float32)
SIGNED = np.array([0.0, 0.0, -3.0, -1.0, 1.0, 3.0, 500.0, -500.0] + [0.0] * 24, dtype=np.float32)


def _z(values: np.ndarray, like: np.ndarray) -> np.ndarray:
    return (values - like.mean()) / like.std()


@pytest.mark.parametrize(
    ("rule", "image", "expected"),
    [
        # 50 HU in the middle of a window of 400: -150 is 0, 250 is 1.
        ({"kind": "ct_window", "center_hu": 50, "width_hu": 400}, CT, [0, 0, 0.375, 0.5, 1, 1]),
        # Percentiles of 0, 1, ..., 100 are their own numbers.
        ({"kind": "percentile", "lower": 10, "upper": 90}, RAMP, np.clip((RAMP - 10) / 80, 0, 1)),
        ({"kind": "zscore"}, MR, _z(MR, MR)),
        ({"kind": "zscore", "region": "image", "clip_percentiles": [10, 90]}, RAMP,
         _z(np.clip(RAMP, 10, 90), np.clip(RAMP, 10, 90))),
        ({"kind": "zscore", "region": "foreground"}, MR, np.where(MR == 0, 0, _z(MR, MR[MR != 0]))),
        # 2 of 32 voxels are beyond -3 and 3, and the percentiles lie on those; the background of 0 must stay apart.
        ({"kind": "zscore", "region": "foreground", "clip_percentiles": [100 / 31, 3000 / 31]}, SIGNED,
         np.where(SIGNED == 0, 0, np.clip(SIGNED, -3, 3) / np.sqrt((9 * 4 + 2) / 6))),
        ({"kind": "fixed", "mean": 100, "deviation": 50}, CT, (CT - 100) / 50),
        ({"kind": "fixed", "mean": 100, "deviation": 50, "clip": [-200, 300]}, CT, (np.clip(CT, -200, 300) - 100) / 50),
    ],
    ids=["ct window", "percentile", "z-score", "z-score clipped", "z-score foreground", "z-score foreground clipped",
         "fixed", "fixed clipped"],
)  # fmt: skip
@pytest.mark.parametrize(
    "place",
    [
        ("inference", "preprocessing::transforms"),
        ("train", "train::deterministic_transforms"),
        ("evaluate", "validate::preprocessing::transforms"),
    ],
    ids=lambda place: place[0],
)
def test_a_normalization_gives_these_numbers(
    bundle: Path, place: tuple[str, str], rule: dict[str, Any], image: np.ndarray, expected: Any
) -> None:
    plan = yaml.safe_load((bundle / "plan.yaml").read_text())
    plan["preprocessing"]["normalization"] = rule
    (bundle / "plan.yaml").write_text(yaml.safe_dump(plan))
    build_bundle(bundle)
    config, steps_id = place
    steps = _parser(bundle, config)[steps_id]
    geometry = ("LoadImaged", "Orientationd", "SpatialPadd", "CheckImaged", "CheckLabeld", "Spacingd")
    steps = [step for step in steps if not step["_target_"].endswith(geometry)]
    assert steps
    transform = ConfigParser({"transform": {"_target_": "Compose", "transforms": steps}}).get_parsed_content(
        "transform"
    )
    assert isinstance(transform, Compose)
    voxels = MetaTensor(torch.tensor(image.reshape(1, -1, 1, 1)))  # a copy: MONAI normalises in place
    result = transform({"image": voxels, "label": voxels})["image"].numpy().ravel()
    # float32 throughout; MONAI adds up to 1e-8 to some divisors.
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-6)


def test_the_metadata_tells_what_the_plan_tells(bundle: Path) -> None:
    plan = yaml.safe_load((bundle / "plan.yaml").read_text())
    metadata = json.loads((bundle / "configs" / "metadata.json").read_text())
    assert metadata["version"] == plan["version"]
    assert metadata["version"] in metadata["changelog"]
    output = metadata["network_data_format"]["outputs"]["pred"]
    assert output["channel_def"] == {"0": "background", "1": "kidney", "2": "lesion"}
    assert output["num_channels"] == plan["network"]["out_channels"] == 3
    image = metadata["network_data_format"]["inputs"]["image"]
    assert image["spatial_shape"] == plan["preprocessing"]["window"]
    assert image["channel_def"] == {"0": "CT"}
