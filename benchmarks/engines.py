"""The engines of inference on the shipped networks: ``python -m benchmarks.engines -o FILE.md [--data TASK04]``.

For each engine the seconds of one window (medians of alternating rounds; ``OMP_NUM_THREADS=1`` and the CPU time tell
more on a machine with other work), the seconds more of the first one, and the
share of the labels that are those of float32; ``torch.compile`` beside them, with a cache of its own that starts empty.
With ``--data``, also the Dice of each engine on the held-out cases of the hippocampus bundle.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser
from monai.data import list_data_collate
from monai.networks.nets import DynUNet

from pipeline.bundle import open_workflow
from pipeline.inferers import FastestInferer, bf16_is_fast
from pipeline.inferers.engines import ENGINES, make_engine
from pipeline.inferers.measured import measure
from pipeline.patches.freed_memory import keep_freed_memory
from pipeline.patches.openvino import openvino_is_installed
from pipeline.planning import load_plan

BUNDLES = Path(__file__).resolve().parents[1] / "bundles"
COMPILE = "torch.compile"
_PAGE = """\
# Engines of inference

`python -m benchmarks.engines -o FILE.md` measures this again. {machine}, {threads} threads, torch {torch},
OpenVINO {openvino}, bfloat16 {native}; medians of {rounds} alternating rounds.

`wall` and `CPU` are of one window. Where other work is on the machine, as it was here, read the CPU time of one thread.
`start` is what the first window takes more than the others. `labels` is the share of the labels of a window of noise
that are those of float32; for the untrained network, whose logits lie close together, it is no measure of quality.

{tables}
"""


def networks(only: list[str]) -> Iterator[tuple[str, torch.nn.Module, torch.Tensor]]:
    """Each network in evaluation mode, with a window of noise."""
    noise = torch.Generator().manual_seed(0)
    name = "DynUNet, filters 32 to 256, 30 classes, untrained"
    if not only or "DynUNet" in only:
        torch.manual_seed(0)
        norm = ("INSTANCE", {"affine": True})
        shape: dict[str, Any] = {"kernel_size": [3] * 4, "strides": [1, 2, 2, 2], "upsample_kernel_size": [2] * 3}
        network = DynUNet(3, 1, 30, filters=[32, 64, 128, 256], norm_name=norm, **shape)
        yield name, network.eval(), torch.randn(1, 1, 96, 96, 96, generator=noise)
    for bundle in sorted(BUNDLES.iterdir()):
        if only and bundle.name not in only:
            continue
        plan = load_plan(bundle / "plan.yaml")
        network = ConfigParser({"network": plan.network}).get_parsed_content("network")
        network.load_state_dict(torch.load(bundle / "models" / "model.pt", weights_only=True))
        yield bundle.name, network.eval(), torch.randn(1, len(plan.data.channels), *plan.preprocessing.window,
                                                       generator=noise)  # fmt: skip


def compiled(network: torch.nn.Module, *, half: bool) -> Callable[[torch.Tensor], torch.Tensor]:
    """The network by ``torch.compile``, in the precision of the rule."""
    fast = torch.compile(network, dynamic=False)

    def run(batch: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
            return fast(batch).float()

    return run


def table(network: torch.nn.Module, window: torch.Tensor, *, rounds: int, with_compile: bool) -> str:
    """Rows of one network."""
    native = bf16_is_fast(window.device)
    names = [name for name in ENGINES if name != "openvino" or openvino_is_installed()]
    starts, agreements, runs = dict[str, float](), dict[str, float](), dict[str, Callable[..., Any]]()
    with torch.no_grad():
        exact = make_engine("float32", network)(window).argmax(1)
        for name in names:
            told, runs[name], logits = measure(name, network, window)
            starts[name], agreements[name] = told.start, float((logits.argmax(1) == exact).float().mean())
        if with_compile:
            began = time.perf_counter()
            runs[COMPILE] = compiled(network, half=native)
            labels = runs[COMPILE](window).argmax(1)
            starts[COMPILE] = time.perf_counter() - began
            agreements[COMPILE] = float((labels == exact).float().mean())
        seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
        for _ in range(rounds):
            for name, run in runs.items():
                began, worked = time.perf_counter(), time.process_time()
                run(window)
                seconds[name].append((time.perf_counter() - began, time.process_time() - worked))
    lines = ["| engine | wall (s) | CPU (s) | start (s) | labels |", "|---|---:|---:|---:|---:|"]
    for name, taken in seconds.items():
        shown = f"{name} ({'bfloat16' if native else 'float32'})" if name in ("openvino", COMPILE) else name
        wall, worked = (statistics.median(one) for one in zip(*taken, strict=True))
        figures = f"{wall:.4f} | {worked:.4f} | {starts[name]:.2f}"
        lines.append(f"| {shown} | {figures} | {100 * agreements[name]:.3f} % |")
    return "\n".join(lines)


def dice(data: Path) -> str:
    """Mean Dice per class and engine on the cases that the hippocampus bundle was not trained on."""
    bundle = BUNDLES / "hippocampus_mr_segmentation"
    with tempfile.TemporaryDirectory() as out:
        parser = open_workflow(bundle, ["train", "evaluate"], dataset_dir=data, output_dir=Path(out)).parser
        parser["bundle_root"] = str(bundle)
        split, network = parser.get_parsed_content("split"), parser.get_parsed_content("network_def").eval()
        network.load_state_dict(torch.load(bundle / "models" / "model.pt", weights_only=True))
        prepare, around = (parser.get_parsed_content(f"validate::{name}") for name in ("preprocessing", "inferer"))
        names = [name for name in ENGINES if name != "openvino" or openvino_is_installed()]
        inferers = {name: FastestInferer(around.inferer, engine=name) for name in names}
        scores: dict[str, list[list[float]]] = {name: [] for name in names}
        for case in [*split.select("validation", 0), *split.select("test", 0)]:
            loaded = prepare(case)
            image, truth = list_data_collate([loaded])["image"], torch.as_tensor(loaded["label"]).round()
            for name, inferer in inferers.items():
                labels = torch.as_tensor(inferer(image, network))[0]
                scores[name].append([_dice(labels == value, truth == value) for value in (1, 2)])
    lines = [
        f"| engine, {len(scores['float32'])} cases | Dice of 1, 2 | mean change | largest change of a case |",
        "|---|---:|---:|---:|",
    ]
    exact = torch.tensor(scores["float32"], dtype=torch.float64)
    for name, rows in scores.items():
        given = torch.tensor(rows, dtype=torch.float64)
        means, change = given.mean(0).tolist(), (given - exact).mean(0).tolist()
        lines.append(f"| {name} | {means[0]:.5f}, {means[1]:.5f} | {change[0]:+.5f}, {change[1]:+.5f} "
                     f"| {float((given - exact).abs().max()):.5f} |")  # fmt: skip
    return "\n".join(lines)


def _dice(one: torch.Tensor, other: torch.Tensor) -> float:
    return 2 * float((one & other).sum()) / max(float(one.sum() + other.sum()), 1.0)


def main() -> None:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--data", type=Path, help="the hippocampus data set")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", nargs="+", default=[], help="DynUNet, or names of bundles")
    parser.add_argument("--no-compile", action="store_true")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    keep_freed_memory()
    tables = []
    with tempfile.TemporaryDirectory() as cache:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache
        for name, network, window in networks(given.only):
            rows = table(network, window, rounds=given.rounds, with_compile=not given.no_compile)
            tables.append(f"## {name}, window {' x '.join(map(str, window.shape[2:]))}\n\n{rows}\n")
            print(tables[-1], flush=True)
    if given.data is not None:
        tables.append(f"## Dice on the hippocampus bundle\n\n{dice(given.data)}\n")
    openvino = "none"
    if openvino_is_installed():
        from importlib.metadata import version

        openvino = version("openvino")
    about = {"machine": platform.machine(), "threads": torch.get_num_threads(), "torch": torch.__version__,
             "openvino": openvino, "native": "native" if bf16_is_fast(torch.device("cpu")) else "emulated",
             "rounds": given.rounds}  # fmt: skip
    given.output.write_text(_PAGE.format(tables="\n".join(tables).rstrip(), **about), encoding="utf-8")
    print(f"wrote {given.output}")


if __name__ == "__main__":
    main()
