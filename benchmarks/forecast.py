"""Forecast against measured peak memory of ``medbundle segment --max-memory``: ``python -m benchmarks.forecast``.

A bundle with random weights and a small network labels made-up CT volumes; each number is of a process of its own. Peak
is the high-water mark of its resident memory (Linux).
"""

from __future__ import annotations

import argparse
import json
import logging
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.bounded_memory import peak_mb
from benchmarks.random_bundle import write_random_bundle

# Classes and voxels.
CASES: list[tuple[int, tuple[int, ...]]] = [(3, (512, 512, 60)), (3, (512, 512, 200)), (30, (256, 256, 200))]
LIMIT_GB = 64.0


def write_bundle(folder: Path, classes: int) -> Path:
    """A bundle for that many classes, background included, at 1.5 mm, with windows of 64 voxels."""
    return write_random_bundle(
        folder,
        f"many{classes}_segmentation",
        classes=classes,
        preprocessing={"spacing_mm": [1.5] * 3, "window": [64] * 3},
        network={
            "_target_": "monai.networks.nets.UNet",
            "spatial_dims": 3,
            "in_channels": 1,
            "out_channels": classes,
            "channels": [4, 8],
            "strides": [2],
        },
        inference={"overlap": 0.25, "window_batch": 2},
    )


def write_volume(path: Path, size: tuple[int, ...]) -> Path:
    """Noise in Hounsfield units, int16, of 0.9 x 0.9 x 1 mm."""
    import nibabel as nib
    import numpy as np

    plane = np.random.default_rng(0).integers(-1000, 1000, (*size[:2], 1), dtype=np.int16)
    nib.save(nib.Nifti1Image(plane + np.arange(size[2], dtype=np.int16), np.diag([-0.9, -0.9, 1.0, 1.0])), path)
    return path


def one(bundle: Path, image: Path, out: Path) -> dict[str, Any]:
    """What was forecast for an image, and what it then took."""
    from pipeline.workflows.segment import segment

    said: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("pipeline.planning.forecast")
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    began = time.perf_counter()
    segment(image, bundle=bundle, output_dir=out, max_memory_gb=LIMIT_GB)
    match = re.search(r"about ([0-9.]+) GB and (\d+):(\d\d) minutes", said[0])
    if match is None:
        raise RuntimeError(said[0])
    return {
        "forecast_gb": float(match[1]),
        "peak_gb": peak_mb() / 1e3,
        "forecast_s": 60 * int(match[2]) + int(match[3]),
        "seconds": time.perf_counter() - began,
    }


def measure(cases: list[tuple[int, tuple[int, ...]]]) -> Iterator[dict[str, Any]]:
    """Forecast and peak of each case."""
    for classes, size in cases:
        with tempfile.TemporaryDirectory() as folder:
            bundle = write_bundle(Path(folder), classes)
            image = write_volume(Path(folder) / "volume.nii", size)
            command = [sys.executable, "-m", "benchmarks.forecast", "--one", str(bundle), str(image), f"{folder}/out"]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            yield {"classes": classes, "size": size, **json.loads(done.stdout.splitlines()[-1])}


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one small volume")
    parser.add_argument("--one", nargs=3, metavar=("BUNDLE", "IMAGE", "OUT"), help="a single process")
    options = parser.parse_args()
    if options.one:
        print(json.dumps(one(*map(Path, options.one))))
        return
    print("| classes | voxels | forecast (GB) | peak (GB) | forecast / peak | network forecast (s) | whole run (s) |")
    print("|---:" * 7 + "|")
    for row in measure([(3, (128, 128, 40))] if options.quick else CASES):
        size, ratio = " x ".join(map(str, row["size"])), row["forecast_gb"] / row["peak_gb"]
        cells = [row["classes"], size, f"{row['forecast_gb']:.1f}", f"{row['peak_gb']:.2f}", f"{ratio:.2f}"]
        cells += [row["forecast_s"], f"{row['seconds']:.0f}"]
        print(f"| {' | '.join(map(str, cells))} |", flush=True)


if __name__ == "__main__":
    main()
