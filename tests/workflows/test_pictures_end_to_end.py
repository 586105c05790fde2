"""Pictures from training to masks, as a user runs them."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from pipeline.bundle import build_bundle, open_workflow, verify_bundle
from pipeline.cli import main
from pipeline.data import DataSplit

WIDTH, HEIGHT = 48, 40
COLORS = ((0, 0, 0), (255, 0, 0), (0, 160, 40))
SHIPPED = sorted((Path(__file__).parents[2] / "bundles").glob("*/plan.yaml"))
QUIET = dict.fromkeys([f"{name}_probability" for name in ("noise", "blur", "gamma", "low_resolution")], 0)
DOCUMENTS = ("LICENSE", "docs/README.md", "docs/data_license.txt")


def _shapes(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A picture of noise with a bright disc (1) and a less bright square (2), and its labels: (height, width)."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    left, top = generator.integers(26, 34), generator.integers(4, 24)
    labels[top : top + 12, left : left + 12] = 2
    centre, radius = (generator.integers(9, 16), generator.integers(10, 30)), generator.integers(5, 8)
    labels[np.hypot(x - centre[0], y - centre[1]) < radius] = 1
    noise = generator.normal(40, 12, labels.shape)
    return (noise + np.choose(labels, [0, 160, 90])).clip(0, 255).astype(np.uint8), labels


def _save(array: np.ndarray, path: Path, mode: str | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(array)
    if mode == "P":
        image = Image.frombytes("P", image.size, array.tobytes())
        image.putpalette([9, 9, 9, 200, 30, 30, 30, 30, 200])
    elif mode is not None:
        image = image.convert(mode)
    image.save(path)
    return path


def _plan(task: str, classes: dict[int, str], **more: Any) -> dict[str, Any]:
    return {
        **dict.fromkeys(("title", "description", "intended_use", "authors", "copyright"), "text"),
        "name": f"shapes_{task}",
        "version": "0.1.0",
        "task": task,
        "dimensions": 2,
        "data": {
            "modality": "US", "channels": ["grey"], "source": "text", "license": "CC0",
            "patient_pattern": r"(p\d+)_", "test_fraction": 0.2, "folds": 3,
        },
        "labels": [{"value": value, "name": name} for value, name in classes.items()],
        "preprocessing": {"window": [WIDTH, HEIGHT], "normalization": {"kind": "zscore"}},
        "network": {"_target_": "pipeline.networks.UNet", "out_channels": len(classes) + 1, "channels": [8, 16, 32]},
        "training": {"epochs": 25, "batch_size": 4, "validate_every": 25, "learning_rate": 0.01, "ema_momentum": 0.2,
                     "augmentation": {"affine_probability": 0.3, **QUIET}},
        **more,
    }  # fmt: skip


def _bundle(root: Path, plan: dict[str, Any]) -> Path:
    folder = root / plan["name"]
    folder.mkdir(parents=True)
    (folder / "plan.yaml").write_text(yaml.safe_dump(plan))
    build_bundle(folder)
    for name in DOCUMENTS:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("text")
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve patients with two pictures each; the masks hold indices, every other one with a palette."""
    root = tmp_path_factory.mktemp("pictures")
    for case in range(24):
        image, labels = _shapes(case)
        _save(image, root / "images" / f"p{case // 2:02d}_{case % 2}.png")
        _save(labels, root / "masks" / f"p{case // 2:02d}_{case % 2}.png", "P" if case % 2 else None)
    return root


@pytest.fixture(scope="module")
def bundle(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = _bundle(tmp_path_factory.mktemp("a study with spaces"), _plan("segmentation", {1: "disc", 2: "square"}))
    assert main(["train", str(folder), "--data", str(data)]) == 0
    return folder


def _segment(bundle: Path, source: Path, output: Path) -> int:
    return main(["segment", str(source), "--bundle", str(bundle), "-o", str(output)])


def _dice(mask: np.ndarray, labels: np.ndarray) -> list[float]:
    pairs = [(mask == value, labels == value) for value in (1, 2)]
    return [float(2 * (a & b).sum() / (a.sum() + b.sum())) for a, b in pairs]


def _error(capsys: pytest.CaptureFixture[str]) -> str:
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_the_held_out_pictures_are_scored(bundle: Path, data: Path, tmp_path: Path) -> None:
    assert main(["evaluate", str(bundle), "--data", str(data), "-o", str(tmp_path)]) == 0
    listed = json.loads((bundle / "models" / "datalist.json").read_text())
    tested = {entry["name"] for entry in listed["test"]}
    scores = json.loads((tmp_path / "dice.json").read_text())
    assert {row["case"] for row in scores["cases"]} == tested
    assert {name[:3] for name in tested}.isdisjoint(entry["patient"] for entry in listed["training"])
    assert scores["summary"]["mean"]["mean"] > 0.9


def test_a_mask_of_indices_and_an_overlay_lie_on_the_pictures_own_grid(bundle: Path, tmp_path: Path) -> None:
    image, labels = _shapes(500)
    source = _save(np.pad(image, ((0, 7), (0, 21)), mode="reflect"), tmp_path / "in" / "fresh.png")
    assert _segment(bundle, source, tmp_path / "out") == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["fresh.png", "fresh_overlay.png"]
    mask = Image.open(tmp_path / "out" / "fresh.png")
    assert (mask.mode, mask.size) == ("P", (WIDTH + 21, HEIGHT + 7))
    assert min(_dice(np.asarray(mask)[:HEIGHT, :WIDTH], labels)) > 0.9
    assert Image.open(tmp_path / "out" / "fresh_overlay.png").mode == "RGB"


def test_each_format_of_one_picture_gives_one_mask(bundle: Path, tmp_path: Path) -> None:
    image, labels = _shapes(501)
    _save(image, tmp_path / "in" / "grey.png")
    for name, mode in (("rgb.png", "RGB"), ("rgba.png", "RGBA"), ("bmp.bmp", None), ("tiff.tif", None)):
        _save(image, tmp_path / "in" / name, mode)
    _save(image.astype(np.uint16) * 257, tmp_path / "in" / "sixteen.png")
    _save(image, tmp_path / "in" / "jpeg.jpg")
    assert _segment(bundle, tmp_path / "in", tmp_path / "out") == 0
    masks = {
        path.stem: np.asarray(Image.open(path))
        for path in (tmp_path / "out").iterdir()
        if not path.stem.endswith("_overlay")
    }
    assert masks.keys() == {"grey", "rgb", "rgba", "bmp", "tiff", "sixteen", "jpeg"}
    assert min(_dice(masks["jpeg"], labels)) > 0.85
    for name in ("rgb", "rgba", "bmp", "tiff", "sixteen"):
        np.testing.assert_array_equal(masks[name], masks["grey"], err_msg=name)


def test_a_bad_picture_of_a_folder_is_listed_and_the_others_are_finished(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed in (502, 503):
        _save(_shapes(seed)[0], tmp_path / "in" / f"s{seed}.png")
    bad = tmp_path / "in" / "s502.png"
    bad.write_bytes(bad.read_bytes()[:300])
    _save(np.full((HEIGHT, WIDTH), 7, np.uint8), tmp_path / "in" / "blank.png")
    assert _segment(bundle, tmp_path / "in", tmp_path / "out") == 3
    first, *lines = capsys.readouterr().err.splitlines()
    assert first == "medbundle: 2 of 3 cases failed:"
    assert "blank.png: all voxels have one value" in lines[0]
    assert "s502.png: cannot be read" in lines[1]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["s503.png", "s503_overlay.png"]


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_a_picture_is_never_replaced_by_its_mask(bundle: Path, tmp_path: Path, suffix: str) -> None:
    source = _save(_shapes(504)[0], tmp_path / f"mine.{suffix}")
    before = source.read_bytes()
    assert _segment(bundle, source, tmp_path) == (1 if suffix == "png" else 0)
    assert source.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == (1 if suffix == "png" else 3)


def test_bundle_run_segments_from_another_folder(bundle: Path, tmp_path: Path) -> None:
    here = tmp_path / "another place"
    _save(_shapes(505)[0], here / "my pictures" / "a.png")
    arguments = ["--config_file", str(bundle / "configs" / "inference.json"), "--dataset_dir", "my pictures"]
    command = [sys.executable, "-m", "monai.bundle", "run", *arguments, "--output_dir", "out"]
    run = subprocess.run(command, cwd=here, capture_output=True, text=True, check=False, timeout=300)
    assert run.returncode == 0, run.stderr
    assert sorted(path.name for path in (here / "out").iterdir()) == ["a.png", "a_overlay.png"]
    assert min(_dice(np.asarray(Image.open(here / "out" / "a.png")), _shapes(505)[1])) > 0.85


@pytest.mark.parametrize(
    ("gone", "message"),
    [("masks", "images/p03_1.png: image has no label"), ("images", "masks/p03_1.png: label has no image")],
)
def test_a_picture_or_mask_without_a_partner_is_refused_by_name(
    bundle: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], *, gone: str, message: str
) -> None:
    copy = Path(shutil.copytree(data, tmp_path / "data"))
    (copy / gone / "p03_1.png").unlink()
    assert main(["train", str(bundle), "--data", str(copy), "-o", str(tmp_path / "out")]) == 1
    assert message in _error(capsys)
    assert not (tmp_path / "out" / "model.pt").exists()


MASKS: dict[str, tuple[dict[int, str], Any, Any, Any]] = {
    # the labels, how a mask is stored, what it means, a value that means nothing
    "indices": ({1: "disc", 2: "square"}, lambda labels: labels, lambda labels: labels, 7),
    "white": ({1: "shape"}, lambda labels: np.uint8(255) * (labels > 0), lambda labels: labels > 0, 7),
    "colors": (
        {1: "disc", 2: "square"},
        lambda labels: np.array(COLORS, np.uint8)[labels],
        lambda labels: labels,
        (1, 2, 3),
    ),
}


@pytest.mark.parametrize("kind", MASKS)
def test_masks_are_learnt_as_they_are_meant_and_an_unknown_value_is_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    classes, stored, meant, unknown = MASKS[kind]
    plan = _plan("segmentation", classes)
    if kind == "colors":
        plan["labels"] = [{**label, "mask_colors": [list(COLORS[label["value"]])]} for label in plan["labels"]]
    folder, data = _bundle(tmp_path, plan), tmp_path / "data"
    for case in range(8):
        image, labels = _shapes(case)
        _save(image, data / "images" / f"p{case}_0.png")
        _save(stored(labels), data / "labels" / f"p{case}_0.png")
    workflow = open_workflow(folder, ["train"], training=True, dataset_dir=data)
    workflow.initialize()
    for case in workflow.parser.get_parsed_content("validate::dataset"):
        (number,) = [n for n in range(8) if f"p{n}_" in case["name"]]
        np.testing.assert_array_equal(case["label"][0].numpy().T, meant(_shapes(number)[1]))
    assert main(["train", str(folder), "--data", str(data), "--epochs", "1"]) == 0
    capsys.readouterr()
    split = DataSplit(dataset_dir=data, datalist_file=folder / "models" / "datalist.json")
    victim = Path(split.training(0)[0]["label"])
    mask = np.asarray(Image.open(victim)).copy()
    mask[0, :5] = unknown
    _save(mask, victim)
    assert main(["train", str(folder), "--data", str(data), "--epochs", "1", "-o", str(tmp_path / "again")]) == 1
    line = _error(capsys)
    assert f"{victim.name}: " in line
    assert f"{unknown} (5 pixels)" in line


@pytest.fixture(scope="module")
def multi_label(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A classifier of pictures whose upper half, lower half, both or neither are bright; and its data."""
    root, data = (tmp_path_factory.mktemp(name) for name in ("labels with spaces", "flags"))
    rows = [["image", "upper", "lower"]]
    for case in range(48):
        flags = (case % 2, case // 2 % 2)
        image = np.random.default_rng(case).normal(60, 15, (HEIGHT, WIDTH))
        image[: HEIGHT // 2] += 80 * flags[0]
        image[HEIGHT // 2 :] += 80 * flags[1]
        _save(image.clip(0, 255).astype(np.uint8), data / "files" / f"p{case:02d}_0.png")
        rows.append([f"files/p{case:02d}_0.png", *map(str, flags)])
    with (data / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    plan = _plan("classification", {0: "upper", 1: "lower"}, multi_label=True)
    plan["network"] = {"_target_": "pipeline.networks.ConvNet", "out_channels": 2, "features": [8, 16], "hidden": 16}
    plan["preprocessing"] = {"resize": [32, 32], "window": [32, 32], "normalization": {"kind": "unit"}}
    bundle = _bundle(root, plan)
    assert main(["train", str(bundle), "--data", str(data)]) == 0
    return bundle, data


def test_several_labels_of_a_picture_are_learnt_from_a_table(multi_label: tuple[Path, Path], tmp_path: Path) -> None:
    bundle, data = multi_label
    assert main(["evaluate", str(bundle), "--data", str(data), "-o", str(tmp_path)]) == 0
    found = json.loads((tmp_path / "classification.json").read_text())
    listed = json.loads((bundle / "models" / "datalist.json").read_text())
    assert found["counts"]["cases"] == len(listed["test"])
    assert found["summary"]["exact_match"]["value"] > 0.85
    assert found["summary"]["roc_auc_macro"]["value"] > 0.95
    with (tmp_path / "probabilities.csv").open() as file:
        rows = list(csv.DictReader(file))
    for row in rows:  # the reference is what the name says
        case = int(row["case"].removeprefix("files_p")[:2])
        assert row["reference"] == "; ".join(
            name for name, flag in (("upper", case % 2), ("lower", case // 2 % 2)) if flag
        )


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.parent.name)
def test_a_shipped_bundle_lacks_at_most_its_weights_and_documents(path: Path) -> None:
    failed = {name for name, reason in verify_bundle(path.parent).items() if reason is not None}
    assert failed <= {"weights load and fit", "documents are there"}


def test_bundles_for_pictures_pass_every_check(bundle: Path, multi_label: tuple[Path, Path]) -> None:
    for folder in (bundle, multi_label[0]):
        assert list(verify_bundle(folder).values()) == [None] * 8
        assert main(["verify", str(folder)]) == 0
