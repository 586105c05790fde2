"""A whole-body CT with 118 classes through ``medbundle segment`` in an address space of 2 GB, PyTorch included.

``python -m benchmarks.whole_body`` writes a made-up CT of 512 x 512 x 824 voxels and a bundle of one 3x3x3 convolution,
so that memory is what is measured and not the arithmetic of a network, limits the address space as ``ulimit -v`` does,
and prints what was forecast and what was taken. It takes a quarter of an hour; ``--slices`` makes it shorter.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.random_bundle import write_random_bundle

CLASSES, PLANE, SLICES, WINDOW = 118, (512, 512), 824, 64
LIMIT_GB, FORECAST_GB = 2.0, 1.9  # what the process may have, and what it is told to keep to


def write_bundle(folder: Path) -> Path:
    """A bundle with random weights for 1.5 mm."""
    return write_random_bundle(
        folder,
        "whole_body_segmentation",
        classes=CLASSES,
        preprocessing={"spacing_mm": [1.5] * 3, "window": [WINDOW] * 3},
        network={
            "_target_": "torch.nn.Conv3d",
            "in_channels": 1,
            "out_channels": CLASSES,
            "kernel_size": 3,
            "padding": 1,
        },
        inference={"overlap": 0.25},
    )


def write_volume(path: Path, slices: int) -> Path:
    """Noise in Hounsfield units, int16, of 0.977 x 0.977 x 1 mm."""
    import nibabel as nib
    import numpy as np

    plane = np.random.default_rng(0).integers(-1000, 1000, (*PLANE, 1), dtype=np.int16)
    voxels = np.empty((*PLANE, slices), dtype=np.int16, order="F")
    voxels[:] = plane + np.arange(slices, dtype=np.int16)
    nib.save(nib.Nifti1Image(voxels, np.diag([-0.977, -0.977, 1.0, 1.0])), path)
    return path


def limited(command: list[str], limit_gb: float) -> tuple[str, float]:
    """Run a program in an address space of that size; what it said, and its processor time in seconds."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (int(limit_gb * 1e9),) * 2)

    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    # With more threads the same memory is needed and, for their stacks and heaps, some more address space.
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, preexec_fn=limit)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return done.stdout, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure(slices: int) -> dict[str, Any]:
    """Forecast, wall and processor time, and how many labels came out."""
    import nibabel as nib
    import numpy as np

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bundle, image = write_bundle(folder), write_volume(folder / "body.nii", slices)
        command = [sys.executable, "-m", "pipeline.cli", "segment", str(image), "--bundle", str(bundle), "-o",
                   str(folder / "masks"), "--max-memory", str(FORECAST_GB)]  # fmt: skip
        began = time.perf_counter()
        said, processor = limited(command, LIMIT_GB)
        seconds = time.perf_counter() - began
        mask = np.asarray(nib.load(folder / "masks" / "body.nii.gz").dataobj)
    forecast = re.search(r"forecast (about [0-9.]+ GB)", said)
    return {
        "voxels": " x ".join(map(str, mask.shape)),
        "classes": CLASSES,
        "labels in the mask": len(np.unique(mask)),
        "limit (GB)": LIMIT_GB,
        "forecast": forecast[1] if forecast else "",
        "wall (s)": round(seconds),
        "CPU (s)": round(processor),
    }


def main() -> None:
    """Measure, and print a line of a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slices", type=int, default=SLICES)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result = measure(options.slices)
    if options.json:
        print(json.dumps(result))
        return
    print(f"| {' | '.join(result)} |\n|{'---:|' * len(result)}\n| {' | '.join(map(str, result.values()))} |")


if __name__ == "__main__":
    main()
