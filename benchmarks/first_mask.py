"""One volume from a cold start to a saved mask, by medpipe or by stock MONAI parts, timed by phase.

``python -m benchmarks.first_mask medpipe|stock IMAGE OUT`` prints one line of JSON. Both take the weights, the window,
the mirroring and the preprocessing of the hippocampus bundle; stock is what MONAI's model zoo bundles are made of:
``LoadImaged``, ``SlidingWindowInferer`` in float32, ``Invertd`` and ``SaveImaged``.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

BUNDLE = Path(__file__).resolve().parents[1] / "bundles" / "hippocampus_mr_segmentation"


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


def medpipe(image: Path, out: Path, phases: Phases) -> None:
    """What ``medpipe segment`` does."""
    began = time.perf_counter()
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


def main() -> None:
    """Run one of the two and print its phases, total seconds and peak memory."""
    who, image, out = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    began = time.perf_counter()
    phases = Phases()
    {"medpipe": medpipe, "stock": stock}[who](image, out, phases)
    total = time.perf_counter() - began
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # KB on Linux
    rest = total - sum(phases.seconds.values())
    print(json.dumps({**phases.seconds, "rest": rest, "total": total, "peak_mb": peak_mb}))


if __name__ == "__main__":
    main()
