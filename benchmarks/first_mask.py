"""One volume from a cold start to a saved mask, by medbundle or by stock MONAI parts, timed by phase.

``python -m benchmarks.first_mask [IMAGE]`` prints a Markdown table. Both take the weights, the window, the mirroring
and the preprocessing of the hippocampus bundle; stock is what MONAI's model zoo bundles are made of: ``LoadImaged``,
``SlidingWindowInferer`` in float32, ``Invertd`` and ``SaveImaged``. Without an image a made-up one of that size is
segmented. Medians of alternating runs, each a process of its own, after one of each that is not counted.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

BUNDLE = Path(__file__).resolve().parents[1] / "bundles" / "hippocampus_mr_segmentation"


SIZE = (35, 50, 36)
PHASES = ("import", "load", "network", "save", "rest", "total")


class Phases:
    """Seconds spent in named calls."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def wrap(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, with its time added to a phase."""

        def timed(*args: Any, **kwargs: Any) -> Any:
            began = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - began

        return timed


def medbundle(image: Path, out: Path, phases: Phases) -> None:
    """What ``medbundle segment`` does."""
    began = time.perf_counter()
    from pipeline.patches.quick_import import import_monai

    import_monai()
    from pipeline.bundle import open_workflow, run_workflow

    phases.seconds["import"] = time.perf_counter() - began
    workflow = open_workflow(BUNDLE, ["inference"], dataset_dir=image, output_dir=out)
    workflow.initialize()
    parser = workflow.parser
    dataset, evaluator = parser.get_parsed_content("dataset"), parser.get_parsed_content("evaluator")
    dataset.transform = phases.wrap("load", dataset.transform)
    evaluator.inferer = phases.wrap("network", evaluator.inferer)
    saver = parser.get_parsed_content("postprocessing").transforms[-1]
    parser.get_parsed_content("postprocessing").transforms = (
        *parser.get_parsed_content("postprocessing").transforms[:-1],
        phases.wrap("save", saver),
    )
    workflow.initialize = lambda: None
    run_workflow(workflow)


def stock(image: Path, out: Path, phases: Phases) -> None:
    """The same with MONAI's own parts."""
    began = time.perf_counter()
    import torch
    from monai import transforms as mt
    from monai.bundle import ConfigParser
    from monai.data import DataLoader, Dataset, decollate_batch
    from monai.inferers import SlidingWindowInferer

    phases.seconds["import"] = time.perf_counter() - began
    parser = ConfigParser()
    parser.read_config(str(BUNDLE / "configs" / "inference.json"))
    network = parser.get_parsed_content("network_def").eval()
    network.load_state_dict(torch.load(BUNDLE / "models" / "model.pt", weights_only=True))
    before = mt.Compose(
        [
            mt.LoadImaged("image", ensure_channel_first=True),
            mt.Orientationd("image", "RAS", labels=(("L", "R"), ("P", "A"), ("I", "S"))),
            mt.Spacingd("image", (1.0, 1.0, 1.0)),
            mt.ScaleIntensityRangePercentilesd("image", 0.5, 99.5, 0.0, 1.0, clip=True),
            mt.NormalizeIntensityd("image"),
        ]
    )
    invert = mt.Compose(
        [mt.Invertd("pred", before, "image", nearest_interp=False), mt.AsDiscreted("pred", argmax=True)]
    )
    save = mt.SaveImaged("pred", output_dir=str(out), output_dtype="uint8", print_log=False)
    inferer = SlidingWindowInferer([40, 56, 40], 1, 0.5, "gaussian")

    def predict(volume: torch.Tensor) -> torch.Tensor:
        return (inferer(volume, network) + inferer(volume.flip(2), network).flip(2)) / 2

    loader = iter(DataLoader(Dataset([{"image": str(image)}], before), batch_size=1))
    batch = phases.wrap("load", next)(loader)
    with torch.no_grad():
        batch["pred"] = phases.wrap("network", predict)(batch["image"])
    for case in decollate_batch(batch):
        phases.wrap("save", save)(invert(case))


def one(who: str, image: Path, out: Path) -> dict[str, float]:
    """One run: its phases, total seconds and peak memory."""
    began = time.perf_counter()
    phases = Phases()
    {"medbundle": medbundle, "stock": stock}[who](image, out, phases)
    total = time.perf_counter() - began
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # KB on Linux
    return {**phases.seconds, "rest": total - sum(phases.seconds.values()), "total": total, "peak_mb": peak_mb}


def measure(image: Path, rounds: int) -> dict[str, dict[str, float]]:
    """Medians of both."""
    runs: dict[str, list[dict[str, float]]] = {"medbundle": [], "stock": []}
    for _ in range(rounds + 1):
        for who, results in runs.items():
            with tempfile.TemporaryDirectory() as out:
                command = [sys.executable, "-m", "benchmarks.first_mask", "--one", who, str(image), out]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                results.append(json.loads(done.stdout.splitlines()[-1]))
    keys = (*PHASES, "peak_mb")
    return {
        who: {key: statistics.median(run[key] for run in results[1:]) for key in keys} for who, results in runs.items()
    }


def help_seconds(rounds: int) -> float:
    """Median wall time of ``medbundle --help``."""
    seconds = []
    for _ in range(rounds + 1):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-m", "pipeline.cli", "--help"], capture_output=True, check=True)
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds[1:])


def main() -> None:
    """Print the table, or what one run takes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("image", type=Path, nargs="?", help="a NIfTI volume for the hippocampus bundle")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--one", nargs=3, metavar=("WHO", "IMAGE", "OUT"), help="a single run")
    options = parser.parse_args()
    if options.one:
        who, *paths = options.one
        print(json.dumps(one(who, *map(Path, paths))))
        return
    from benchmarks.whole_pipeline import write_volume

    with tempfile.TemporaryDirectory() as folder:
        image = options.image or write_volume(Path(folder) / "image.nii.gz", SIZE)
        ours, theirs = measure(image, options.rounds).values()
    print("| | medbundle | stock MONAI | ratio |\n|---|---:|---:|---:|")
    for key, unit, digits in [(phase, "s", 2) for phase in PHASES] + [("peak_mb", "MB", 0)]:
        cells = [f"{each[key]:.{digits}f}" for each in (ours, theirs)]
        ratio = f"{ours[key] / theirs[key]:.2f}" if theirs[key] else "-"
        print(f"| {key.removesuffix('_mb')} ({unit}) | {' | '.join(cells)} | {ratio} |")
    print(f"\n`medbundle --help` answers in {help_seconds(options.rounds):.2f} s.")


if __name__ == "__main__":
    main()
