"""The classic mistakes of medical image networks, each tried on a whole bundle."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import yaml
from ignite.engine import Events
from PIL import Image

from pipeline.bundle import build_bundle, open_workflow
from pipeline.errors import InputError
from pipeline.evaluation import ScoreTable

SHIPPED = sorted((Path(__file__).parents[1] / "bundles").glob("*/plan.yaml"))
EACH_SHIPPED = pytest.mark.parametrize("folder", [path.parent for path in SHIPPED], ids=lambda folder: folder.name)
INTERPOLATING = ("Spacingd", "Resized", "Zoomd", "Rotated", "Affined", "RandAffined", "Rand2DElasticd",
                 "Rand3DElasticd", "RandRotated", "RandZoomd", "RandGridDistortiond")  # fmt: skip
PLAN: dict[str, Any] = {
    **dict.fromkeys(("title", "description", "intended_use", "authors", "copyright"), "text"),
    "name": "dots_segmentation",
    "version": "0.1.0",
    "task": "segmentation",
    "dimensions": 2,
    "data": {
        "modality": "CT", "channels": ["slice"], "source": "text", "license": "CC0",
        "patient_pattern": r"(p\d+)s", "test_fraction": 0.2, "folds": 3,
    },
    "labels": [{"value": 1, "name": "dot"}],
    "preprocessing": {"window": [32, 32], "normalization": {"kind": "unit"}},
    "network": {"_target_": "pipeline.networks.UNet", "out_channels": 2, "channels": [4, 8]},
    "training": {"epochs": 4, "batch_size": 4, "learning_rate": 0.02, "warmup": 0, "ema_momentum": 0.5},
}  # fmt: skip
FROZEN = {
    "name": "dots_classification",
    "task": "classification",
    "labels": [{"value": 0, "name": "dark"}, {"value": 1, "name": "light"}],
    "network": {"_target_": "pipeline.networks.MobileNetV2", "in_channels": 1, "out_channels": 2, "width": 0.25},
}
DICE_OF_EPOCHS = (0.2, 0.9, 0.5, 0.1)  # the validation's, while the training loss falls


def _bundle(root: Path, **changes: Any) -> Path:
    plan = copy.deepcopy(PLAN) | changes
    folder = root / plan["name"]
    folder.mkdir()
    (folder / "plan.yaml").write_text(yaml.safe_dump(plan))
    build_bundle(folder)
    return folder


def _steps(folder: Path) -> list[dict[str, Any]]:
    """Every step of every list of transforms in a bundle's configs."""
    found: list[dict[str, Any]] = []

    def walk(node: Any) -> None:
        if isinstance(node, dict):
            if "keys" in node and "_target_" in node:
                found.append(node)
            node = list(node.values())
        for value in node if isinstance(node, list) else []:
            walk(value)

    for config in ("train", "inference", "evaluate"):
        walk(json.loads((folder / "configs" / f"{config}.json").read_text()))
    return found


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten patients of three slices; the last slice of p0 is filed under p9 as well."""
    root = tmp_path_factory.mktemp("data")
    for patient in range(10):
        for number in range(3):
            generator = np.random.default_rng(3 * patient + number)
            mask = np.zeros((32, 32), np.uint8)
            mask[8:20, number + 4 : number + 20] = 1
            image = (generator.integers(0, 90, mask.shape) + 150 * mask).astype(np.uint8)
            places = [(patient, number)] + ([(9, 3)] if (patient, number) == (0, 2) else [])
            for owner, slice_number in places:
                for kind, array in (("images", image), ("labels", mask)):
                    (root / kind).mkdir(exist_ok=True)
                    Image.fromarray(array).save(root / kind / f"p{owner}s{slice_number}.png")
    return root


class Run(NamedTuple):
    bundle: Path
    losses: list[float]
    averages: list[dict[str, torch.Tensor]]  # the weights that each epoch validated
    files: list[bytes]  # model.pt after each epoch


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A training whose validations find DICE_OF_EPOCHS."""
    bundle = _bundle(tmp_path_factory.mktemp("bundle"))
    workflow = open_workflow(bundle, ["train"], training=True, dataset_dir=data, device="cpu")
    workflow.initialize()
    parser = workflow.parser
    validator, average = parser.get_parsed_content("validate::evaluator"), parser.get_parsed_content("ema").ema_model
    made = Run(bundle, [], [], [])

    @validator.on(Events.EPOCH_COMPLETED)
    def find(engine: Any) -> None:
        engine.state.metrics["val_mean_dice"] = DICE_OF_EPOCHS[len(made.averages)]
        made.averages.append({key: value.clone() for key, value in average.state_dict().items()})

    @validator.on(Events.COMPLETED)
    def look(_: Any) -> None:
        made.files.append((bundle / "models" / "model.pt").read_bytes())

    workflow.run()
    made.losses.extend(row["training_loss"] for row in parser.get_parsed_content("train::curves").rows)
    return made


@EACH_SHIPPED
def test_image_and_mask_are_not_cropped_apart(folder: Path) -> None:
    """What the steps do is seen in bundle/test_picture_configs.py; here, that no bundle has one for a mask alone."""
    if json.loads((folder / "configs" / "metadata.json").read_text())["task"].endswith("classification"):
        assert not any("label" in step["keys"] for step in _steps(folder) if "Rand" in step["_target_"])
        return
    moving = [step for step in _steps(folder) if re.search(r"Rand.*(Crop|Flip|Affine|Elastic|Zoom)", step["_target_"])]
    assert moving
    assert all(step["keys"] == ["image", "label"] for step in moving)


@EACH_SHIPPED
def test_a_mask_is_not_smoothed_by_a_linear_resize(folder: Path) -> None:
    for step in _steps(folder):
        if step["_target_"] in INTERPOLATING and "label" in step["keys"]:
            mode = step["mode"][step["keys"].index("label")]  # a KeyError is MONAI's default, which is linear
            assert mode in ("nearest", "nearest-exact"), step
            assert step.get("anti_aliasing", [False])[-1] is False


def test_the_best_model_is_not_chosen_by_its_training_loss(run: Run) -> None:
    assert run.losses[-1] == min(run.losses) < run.losses[1], "the last epoch has the lowest loss"
    kept = torch.load(run.bundle / "models" / "model.pt", weights_only=True)
    best = run.averages[int(np.argmax(DICE_OF_EPOCHS))]
    assert kept.keys() == best.keys()
    assert all(torch.equal(kept[key], value) for key, value in best.items())


def test_the_best_weights_are_no_reference_to_those_that_train_on(run: Run) -> None:
    assert run.files[0] != run.files[1], "the second validation was better"
    assert run.files[1] == run.files[2] == run.files[3] == (run.bundle / "models" / "model.pt").read_bytes()
    last = run.averages[-1]
    assert any(not torch.equal(value, last[key]) for key, value in run.averages[1].items()), "training went on"


def _parts(run: Run, data: Path) -> dict[str, list[Path]]:
    """The images that are trained on, validated and evaluated, from the configs as a user runs them."""
    training = open_workflow(run.bundle, ["train"], training=True, dataset_dir=data, bundle_root=run.bundle).parser
    split = training.get_parsed_content("split")
    evaluation = open_workflow(run.bundle, ["train", "evaluate"], dataset_dir=data, bundle_root=run.bundle).parser
    parts = {
        "training": split.training(0),
        "validation": split.validation(0),
        "test": evaluation.get_parsed_content("cases"),
    }
    return {part: [Path(case["image"]) for case in cases] for part, cases in parts.items()}


def test_an_evaluation_does_not_take_images_that_were_trained_on(run: Run, data: Path) -> None:
    parts = _parts(run, data)
    seen = parts["training"] + parts["validation"]
    assert parts["test"]
    for what in (lambda path: path.name, lambda path: path.name[:2], lambda path: Image.open(path).tobytes()):
        assert {what(path) for path in parts["test"]}.isdisjoint(what(path) for path in seen)


def test_the_slices_of_a_patient_are_not_dealt_apart(run: Run, data: Path) -> None:
    parts = _parts(run, data)
    patients = {part: {path.name[:2] for path in paths} for part, paths in parts.items()}
    assert sorted(patient for names in patients.values() for patient in names) == [f"p{n}" for n in range(10)]
    assert sorted(path.name for paths in parts.values() for path in paths) == sorted(
        path.name for path in (data / "images").iterdir()
    )
    (shared,) = [part for part, names in patients.items() if "p0" in names]
    assert "p9" in patients[shared], "they share a slice"


def test_the_statistics_of_photographs_are_not_laid_on_ct_unsaid(tmp_path: Path) -> None:
    data = {**PLAN["data"], "channels": ["red", "green", "blue"]}
    rule: dict[str, Any] = {"kind": "imagenet"}
    with pytest.raises(InputError, match="statistics are of photographs, not of CT"):
        _bundle(tmp_path, data=data, preprocessing={"window": [32, 32], "normalization": rule})
    assert not (tmp_path / "dots_segmentation" / "configs").exists()
    for path in SHIPPED:
        plan = yaml.safe_load(path.read_text())
        photographs = plan["data"]["modality"] in ("ES", "XC", "OP", "DMS", "GM", "SM")
        said = plan["preprocessing"]["normalization"].get("reason")
        assert photographs or said or "0.485" not in (path.parent / "configs" / "train.json").read_text()


def test_accuracy_does_not_make_an_empty_mask_look_good(run: Run, tmp_path: Path) -> None:
    reference = np.zeros((100, 100), np.uint8)
    reference[40:50, 40:50] = 1
    empty = np.zeros_like(reference)
    assert (empty == reference).mean() > 0.95, "pixel accuracy is content"
    table = ScoreTable({"1": "dot"})
    table.add("case", empty, reference)
    assert table.summary()["mean"]["mean"] == 0
    assert table.text().startswith("Dice")
    table.write(tmp_path)
    content = json.loads((tmp_path / "dice.json").read_text())
    assert content["metric"] == "Dice"
    assert content["cases"][0]["mean"] == 0
    header = (run.bundle / "output" / "training.csv").read_text().splitlines()[0].split(",")
    assert {"val_mean_dice", "dice_dot"} <= set(header)
    for said in (table.text(), json.dumps(content), ",".join(header)):
        assert "accuracy" not in said.lower()


@pytest.mark.parametrize("frozen", [True, False])
def test_a_frozen_backbone_does_not_gather_statistics(data: Path, tmp_path: Path, frozen: bool) -> None:
    """networks/test_imagenet.py has one step of it; here an epoch with its validation, by the built config."""
    lines = [f"images/{path.name},{('dark', 'light')[int(path.stem[1]) % 2]}" for path in (data / "images").iterdir()]
    (tmp_path / "labels.csv").write_text("\n".join(["image,label", *sorted(lines)]))
    (tmp_path / "images").symlink_to(data / "images")
    bundle = _bundle(tmp_path, **FROZEN, training={**PLAN["training"], "freeze_backbone": frozen})
    workflow = open_workflow(bundle, ["train"], training=True, dataset_dir=tmp_path, device="cpu", epochs=1)
    workflow.initialize()
    network = workflow.parser.get_parsed_content("network")
    before = {key: value.clone() for key, value in network.state_dict().items()}
    workflow.run()
    kept = torch.load(bundle / "models" / "model.pt", weights_only=True)
    for after in (network.state_dict(), kept):
        changed = {key for key, value in after.items() if not torch.equal(value, before[key])}
        assert "classifier.1.weight" in changed
        assert any(key.startswith("features.") for key in changed) != frozen
        assert any("running_mean" in key for key in changed) != frozen
