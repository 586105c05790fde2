"""The ways that ``benchmarks.whole_pipeline`` compares, each run in a process of its own, and its clock.

``python -m benchmarks.whole_pipeline_runs medbundle|stock JOB`` prints one line of JSON.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.bounded_memory import peak_mb
from benchmarks.first_mask import Phases


class NetworkClock:
    """Seconds inside a network, and how often it was called."""

    def __init__(self, network: Any) -> None:
        self.seconds, self.calls, self._began = 0.0, 0, 0.0
        network.register_forward_pre_hook(self._begin)
        network.register_forward_hook(self._end)

    def _begin(self, *_: Any) -> None:
        self._began = time.perf_counter()

    def _end(self, *_: Any) -> None:
        self.seconds += time.perf_counter() - self._began
        self.calls += 1


class Run(Phases):
    """The phases of one run, which begins now."""

    def __init__(self) -> None:
        super().__init__()
        self.began, self.cpu_began = time.perf_counter(), time.process_time()

    def imported(self) -> None:
        """All imports are done."""
        self.seconds["import"] = time.perf_counter() - self.began

    @contextmanager
    def paused(self) -> Iterator[None]:
        """What is done here does not count."""
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        self.began += time.perf_counter() - wall
        self.cpu_began += time.process_time() - cpu

    def result(self, clock: NetworkClock) -> dict[str, float]:
        """The stages: what is neither import, load nor network comes after the network or between its windows."""
        seconds, total = self.seconds, time.perf_counter() - self.began
        return {
            "import": seconds["import"],
            "load": seconds["load"],
            "network": clock.seconds,
            "blend": seconds["sliding"] - clock.seconds,
            "finish": seconds.get("finish", 0.0),
            "rest": total - sum(seconds.values()),
            "total": total,
            "cpu": time.process_time() - self.cpu_began,
            "windows": clock.calls,
            "peak_mb": peak_mb(),
        }


def medbundle(job: dict[str, Any]) -> dict[str, float]:
    """What ``medbundle segment`` does, from its first import on."""
    phases = Run()
    from pipeline.patches.quick_import import import_monai

    import_monai()
    import torch

    from pipeline.bundle import run_workflow
    from pipeline.bundle.applying import applied, open_inference

    phases.imported()
    torch.set_num_threads(job["threads"])
    out = Path(job["out"])
    workflow = open_inference(
        Path(job["image"]),
        bundle=Path(job["bundle"]),
        task="segmentation",
        output_dir=out.parent,
        series=None,
        weights=None,
    )
    workflow.initialize()
    parser = workflow.parser
    clock = NetworkClock(parser.get_parsed_content("network"))
    dataset, evaluator = parser.get_parsed_content("dataset"), parser.get_parsed_content("evaluator")
    dataset.transform = phases.wrap("load", dataset.transform)
    evaluator.inferer = phases.wrap("sliding", evaluator.inferer)
    postprocessing = parser.get_parsed_content("postprocessing")
    postprocessing.transforms = tuple(phases.wrap("finish", step) for step in postprocessing.transforms)
    workflow.initialize = lambda: None
    run_workflow(workflow, finalize=False)
    applied(workflow, out.parent)
    return phases.result(clock)


def stock(job: dict[str, Any]) -> dict[str, float]:
    """The same with MONAI's own parts."""
    phases = Run()
    import torch
    from monai import transforms as mt
    from monai.data import DataLoader, Dataset, decollate_batch
    from monai.inferers import SlidingWindowInferer
    from monai.networks.nets import DynUNet

    phases.imported()
    torch.set_num_threads(job["threads"])
    network = DynUNet(**job["network"]).eval()
    network.load_state_dict(torch.load(job["weights"], weights_only=True))
    clock = NetworkClock(network)
    low, high = job["clip"]
    before = mt.Compose(
        [
            mt.LoadImaged("image", ensure_channel_first=True),
            mt.Orientationd("image", "RAS", labels=(("L", "R"), ("P", "A"), ("I", "S"))),
            mt.Spacingd("image", (job["spacing"],) * 3),
            mt.ThresholdIntensityd("image", low, above=True, cval=low),
            mt.ThresholdIntensityd("image", high, above=False, cval=high),
            mt.NormalizeIntensityd("image", job["mean"], job["deviation"]),
        ]
    )
    out = Path(job["out"])
    after = mt.Compose(
        [
            mt.Invertd("pred", before, "image", nearest_interp=False),
            mt.AsDiscreted("pred", argmax=True),
            mt.SaveImaged(
                "pred", output_dir=str(out.parent), output_postfix="", separate_folder=False, output_dtype="uint8",
                print_log=False,
            ),
        ]
    )  # fmt: skip
    inferer = SlidingWindowInferer((job["window"],) * 3, 1, job["overlap"], "gaussian")
    loader = iter(DataLoader(Dataset([{"image": job["image"]}], before), batch_size=1))
    batch = phases.wrap("load", next)(loader)
    with torch.no_grad():
        batch["pred"] = phases.wrap("sliding", inferer)(batch["image"], network)
    for case in decollate_batch(batch):
        phases.wrap("finish", after)(case)
    return phases.result(clock)


WAYS: dict[str, Callable[[dict[str, Any]], dict[str, float]]] = {"medbundle": medbundle, "stock": stock}


if __name__ == "__main__":
    print(json.dumps(WAYS[sys.argv[1]](json.loads(sys.argv[2]))))
