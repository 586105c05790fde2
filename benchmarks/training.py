"""Training images per second: medbundle against the same network in a plain MONAI loop.

``python -m benchmarks.training`` prints a Markdown table. medbundle is the ``SupervisedTrainer`` that a bundle's
``train.json`` builds, with all its handlers; validation does not count. The plain loop has the same cases, network,
loss, optimiser and random transforms, MONAI's own parts before these, ``CacheDataset``, ``DataLoader`` and float32.
Both cache what is not random. Medians of alternating runs, each a process of its own; the first epoch does not count.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.bounded_memory import peak_mb
from benchmarks.whole_pipeline import network_arguments

WAYS = ("medbundle", "plain MONAI")
PATCHES = (32, 48, 64, 80)
FILTERS = (16, 32, 64, 128)
CASES, EPOCHS, BATCH, CLASSES = 13, 3, 2, 3
MARGIN = 16  # voxels that a volume is longer than a patch
_PLAN = Path(__file__).resolve().parents[1] / "pipeline" / "workflows" / "demo_plan.yaml"


def write_bundle(folder: Path, patch: int, batch: int) -> Path:
    """A bundle whose windows are patches."""
    import yaml

    from pipeline.bundle import build_bundle

    plan = yaml.safe_load(_PLAN.read_text(encoding="utf-8"))
    plan["name"] = f"patches{patch}_segmentation"
    plan["labels"] = [{"value": value, "name": f"label {value}"} for value in range(1, CLASSES)]
    plan["preprocessing"].update(spacing_mm=[1.0] * 3, window=[patch] * 3)
    plan["network"] = {"_target_": "monai.networks.nets.DynUNet", **network_arguments(CLASSES, FILTERS)}
    plan["training"].update(epochs=EPOCHS, batch_size=batch, samples_per_case=1, validate_every=EPOCHS)
    del plan["training"]["augmentation"]  # what plans have where they say nothing
    bundle = folder / str(plan["name"])
    bundle.mkdir()
    (bundle / "plan.yaml").write_text(yaml.safe_dump(plan), encoding="utf-8")
    build_bundle(bundle)
    return bundle


def write_data(folder: Path, patch: int) -> Path:
    """Noise of 1 mm in Hounsfield units, and label maps of two boxes."""
    import nibabel as nib
    import numpy as np

    generator = np.random.default_rng(0)
    size = (patch + MARGIN,) * 3
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True)
    for number in range(CASES):
        labels = np.zeros(size, dtype=np.uint8)
        for value in range(1, CLASSES):
            start = generator.integers(0, patch // 2, 3)
            labels[tuple(slice(at, at + patch // 2) for at in start)] = value
        image = (100 * labels + generator.normal(0, 50, size)).astype(np.int16)
        for what, values in (("images", image), ("labels", labels)):
            nib.save(nib.Nifti1Image(values, np.diag([-1.0, 1.0, 1.0, 1.0])), folder / what / f"case{number:02d}.nii")
    return folder


def medbundle(bundle: Path, data: Path) -> tuple[int, float]:
    """Images, and seconds from the start of each epoch but the first to the end of its last iteration."""
    from ignite.engine import Engine, Events

    from pipeline.bundle import open_workflow, run_workflow

    workflow = open_workflow(bundle, ["train"], training=True, dataset_dir=data)
    workflow.initialize()
    parser = workflow.parser
    trainer, batch = (parser.get_parsed_content(key) for key in ("train::trainer", "batch_size"))
    began, ended = dict[int, float](), dict[int, float]()

    def start(engine: Engine) -> None:
        began[engine.state.epoch] = time.perf_counter()

    def end(engine: Engine) -> None:
        ended[engine.state.epoch] = time.perf_counter()

    trainer.add_event_handler(Events.EPOCH_STARTED, start)  # the last of the handlers
    trainer.add_event_handler(Events.ITERATION_COMPLETED, end)
    workflow.initialize = lambda: None
    run_workflow(workflow)
    counted = [epoch for epoch in began if epoch > 1]
    return len(counted) * trainer.state.epoch_length * batch, sum(ended[one] - began[one] for one in counted)


def _stock(parser: Any) -> list[Any]:
    """What the bundle does before its random transforms, by MONAI's own parts."""
    from monai.bundle import ConfigParser
    from monai.transforms import LoadImaged

    steps: list[Any] = [LoadImaged(["image", "label"], ensure_channel_first=True)]
    for step in parser["train"]["deterministic_transforms"]:
        name = step["_target_"].removeprefix("pipeline.transforms.")
        if name == "Spacingd" or (name == step["_target_"] and name != "LoadImaged"):
            steps.append(ConfigParser({"step": {**step, "_target_": name}}).get_parsed_content("step"))
    return steps


def plain(bundle: Path, data: Path) -> tuple[int, float]:
    """The same with MONAI's own parts and nothing around them."""
    import torch
    from monai import transforms as mt
    from monai.bundle import ConfigParser
    from monai.data import CacheDataset, DataLoader

    parser = ConfigParser()
    parser.read_config(str(bundle / "configs" / "train.json"))
    parser["dataset_dir"], parser["bundle_root"] = str(data), str(bundle)
    parsed = parser.get_parsed_content
    network, loss, batch, rate = (parsed(key) for key in ("network_def", "loss", "batch_size", "learning_rate"))
    optimizer = torch.optim.AdamW(network.parameters(), rate, weight_decay=parser["optimizer"]["weight_decay"])
    transform = mt.Compose([*_stock(parser), *parsed("train::random_transforms")])
    dataset = CacheDataset(parsed("split").training(parsed("fold")), transform, num_workers=2, progress=False)
    loader = DataLoader(dataset, batch_size=batch, shuffle=True, drop_last=True)
    network.train()
    images, seconds = 0, 0.0
    for epoch in range(EPOCHS):
        began = time.perf_counter()
        for data_ in loader:
            optimizer.zero_grad()
            loss(network(data_["image"]), data_["label"]).backward()
            optimizer.step()
            images += len(data_["image"]) if epoch else 0
        seconds += time.perf_counter() - began if epoch else 0.0
    return images, seconds


def one(way: str, bundle: Path, data: Path, threads: int) -> dict[str, float]:
    """One training."""
    import torch

    torch.set_num_threads(threads)
    images, seconds = (medbundle if way == WAYS[0] else plain)(bundle, data)
    return {"images": images, "seconds": seconds, "peak_mb": peak_mb()}


def row(patch: int, batch: int, options: argparse.Namespace) -> str:
    """A line of the table."""
    runs: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as name:
        bundle, data = write_bundle(Path(name), patch, batch), write_data(Path(name) / "data", patch)
        for _ in range(options.rounds):
            for way in WAYS:
                command = [sys.executable, "-m", "benchmarks.training", "--one", way, str(bundle), str(data)]
                command += ["--threads", str(options.threads)]
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                if done.returncode:
                    raise RuntimeError(f"{way}: {done.stderr[-4000:]}")
                runs[way].append(json.loads(done.stdout.splitlines()[-1]))
    rates, peaks = (
        [statistics.median(value(run) for run in runs[way]) for way in WAYS]
        for value in (lambda run: run["images"] / run["seconds"], lambda run: run["peak_mb"])
    )
    cells = [f"{patch} x {patch} x {patch}", str(batch), *(f"{rate:.2f}" for rate in rates)]
    return f"| {' | '.join([*cells, f'{rates[0] / rates[1]:.2f}', *(f'{peak:.0f}' for peak in peaks)])} |"


def main() -> None:
    """Print the table, or what one training takes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patches", nargs="+", type=int, default=list(PATCHES), help="voxels along each axis")
    parser.add_argument("--batch", type=int, default=BATCH)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--one", nargs=3, metavar=("WAY", "BUNDLE", "DATA"), help="a single training")
    options = parser.parse_args()
    if options.one:
        way, bundle, data = options.one
        print(json.dumps(one(way, Path(bundle), Path(data), options.threads)))
        return
    import torch

    from pipeline.inferers import bf16_is_fast

    native = "native" if bf16_is_fast(torch.device("cpu")) else "not native, so that both compute in float32"
    print(
        f"A `DynUNet` with {', '.join(map(str, FILTERS))} filters, {options.threads} threads each; medbundle trains\n"
        f"in bfloat16 where the processor has it (here: {native}), the plain loop in float32.\n"
    )
    head = ["patch", "batch", "medbundle (images/s)", "plain MONAI (images/s)", "medbundle / plain"]
    print(f"| {' | '.join(head)} | medbundle (MB) | plain MONAI (MB) |\n|---|{'---:|' * 6}")
    for patch in options.patches:
        print(row(patch, options.batch, options), flush=True)


if __name__ == "__main__":
    main()
