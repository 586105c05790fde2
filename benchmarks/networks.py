"""Train several networks on one data set, side by side: same split, seeds, recipe and time.

``python -m benchmarks.networks BUNDLE --data DIR -o OUT --minutes 8 --seeds 0`` trains each network of the bundle's
``comparison.yaml`` in a copy of the bundle, evaluates it on the validation and the test cases, and writes
``OUT/comparison.md``. What is done already is not done again, so that a stopped comparison goes on.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import re
import shutil
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import torch
import yaml
from monai.bundle import ConfigParser

from pipeline.bundle import build_bundle
from pipeline.evaluation import ClassificationTable
from pipeline.inferers import AutocastInferer
from pipeline.patches.freed_memory import keep_freed_memory
from pipeline.planning import Plan, load_plan
from pipeline.workflows.evaluate import evaluate
from pipeline.workflows.train import train
from pipeline.writing import whole_file

SUBSETS = ("validation", "test")
ROUNDS = 30
UNLIMITED = 100_000  # epochs: the clock ends the training


def compare(bundle: Path, data: Path, out: Path, *, minutes: float, seeds: list[int]) -> str:
    """Train and evaluate what is missing, and give the table."""
    networks: dict[str, dict[str, Any]] = yaml.safe_load((bundle / "comparison.yaml").read_text())
    results: dict[str, list[dict[str, Any]]] = {}
    for seed in seeds:
        for name, network in networks.items():
            folder = out / re.sub(r"\W+", "_", name) / f"seed_{seed}"
            results.setdefault(name, []).append(_one(bundle, data, folder, network, minutes=minutes, seed=seed))
    plan = load_plan(bundle / "plan.yaml")
    seconds = _seconds_per_image(networks, plan)
    table = _table(results, seconds, plan)
    with whole_file(out / "comparison.md") as temporary:
        temporary.write_text(table, encoding="utf-8")
    return table


def _one(
    bundle: Path, data: Path, folder: Path, network: dict[str, Any], *, minutes: float, seed: int
) -> dict[str, Any]:
    done = folder / "result.json"
    if done.is_file():
        return dict(json.loads(done.read_text()))
    copy = _copy_with(bundle, folder, network)
    weights = train(copy, data=data, time_budget_minutes=minutes, epochs=UNLIMITED, seed=seed)
    result: dict[str, Any] = {"epochs": _epochs(copy), "megabytes": weights.stat().st_size / 1e6}
    for subset in SUBSETS:
        table, _ = evaluate(copy, data=data, output_dir=folder / subset, subset=subset)
        result[subset] = _score(table)
    with whole_file(done) as temporary:
        temporary.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return result


def _copy_with(bundle: Path, folder: Path, network: dict[str, Any]) -> Path:
    plan = yaml.safe_load((bundle / "plan.yaml").read_text())
    copy = folder / plan["name"]
    if copy.exists():
        shutil.rmtree(copy)
    copy.mkdir(parents=True)
    (copy / "plan.yaml").write_text(yaml.safe_dump({**plan, "network": network}))
    build_bundle(copy)
    return copy


def _epochs(bundle: Path) -> int:
    return len((bundle / "output" / "training.csv").read_text().splitlines()) - 1


def _score(table: Any) -> dict[str, Any]:
    """The mean over cases of Dice or accuracy, with its interval over patients, and what it stands for."""
    if isinstance(table, ClassificationTable):
        return {**table.summary()["accuracy"], "cases": len(table.cases)}
    mean = table.summary()["mean"]
    patients = len(set(table.patients.values()))
    score = {"value": mean["mean"], "low": mean["low"], "high": mean["high"]}
    return {**score, "cases": len(table.cases), "patients": patients}


def _seconds_per_image(networks: dict[str, dict[str, Any]], plan: Plan) -> dict[str, tuple[float, int]]:
    """Median seconds of one pass over one image of the window's size, in turns, and the number of parameters."""
    keep_freed_memory()
    image = torch.rand(1, len(plan.data.channels), *plan.preprocessing.window)
    models: dict[str, torch.nn.Module] = {
        name: ConfigParser({"network": network}).get_parsed_content("network").eval()
        for name, network in networks.items()
    }
    inferer = AutocastInferer(lambda inputs, network: network(inputs))
    seconds: dict[str, list[float]] = {name: [] for name in models}
    with torch.inference_mode():
        for _ in range(ROUNDS + 3):
            for name, model in models.items():
                began = time.perf_counter()
                inferer(image, model)
                seconds[name].append(time.perf_counter() - began)
    return {
        name: (statistics.median(seconds[name][3:]), sum(p.numel() for p in model.parameters()))
        for name, model in models.items()
    }


def _table(results: dict[str, list[dict[str, Any]]], seconds: dict[str, tuple[float, int]], plan: Plan) -> str:
    metric = "accuracy" if plan.task == "classification" else "Dice"
    first = next(iter(results.values()))[0]
    head = [f"{metric}, {part} ({_amount(first[part])})" for part in SUBSETS]
    lines = [
        f"| network | {' | '.join(head)} | parameters | seconds per image | epochs |",
        "|---|" + "---|" * (len(head) + 3),
    ]
    for name, runs in results.items():
        cells = [" / ".join(_interval(run[part]) for run in runs) for part in SUBSETS]
        cost, size = seconds[name]
        epochs = " / ".join(str(run["epochs"]) for run in runs)
        lines.append(f"| {name} | {' | '.join(cells)} | {size / 1e6:.2f} M | {cost:.4f} | {epochs} |")
    machine = f"{platform.machine()}, {torch.get_num_threads()} of {os.cpu_count()} cores, torch {torch.__version__}"
    return "\n".join([*lines, "", f"Measured on {machine}."]) + "\n"


def _amount(score: dict[str, Any]) -> str:
    patients = f" of {score['patients']} patients" if score.get("patients", score["cases"]) != score["cases"] else ""
    return f"{score['cases']} images{patients}"


def _interval(score: dict[str, Any]) -> str:
    return f"{score['value']:.4f} ({score['low']:.3f} to {score['high']:.3f})"


def main() -> None:
    """Parse and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=8.0, help="of each training")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    given = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, stream=sys.stdout, format="%(asctime)s %(message)s")
    logging.getLogger("pipeline").setLevel(logging.INFO)
    print(compare(given.bundle, given.data, given.output, minutes=given.minutes, seeds=given.seeds))


if __name__ == "__main__":
    main()
