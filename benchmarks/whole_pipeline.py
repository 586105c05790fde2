"""From a file to a saved label map with one and the same network: medbundle, stock MONAI parts and nnU-Net v2.

``python -m benchmarks.whole_pipeline --nnunet VENV -o FILE`` writes Markdown tables. ``VENV`` is a virtual environment
of its own with ``nnunetv2`` and ``monai``, made for example by
``python -m venv VENV && VENV/bin/pip install nnunetv2 monai``; without it nnU-Net is left out.

One network with random weights, one window, overlap and grid for all, no mirroring, as many threads for each. Stock is
what bundles of MONAI's model zoo are made of: ``LoadImaged``, ``Orientationd``, ``Spacingd``, ``SlidingWindowInferer``
in float32, ``Invertd`` of the logits, argmax and ``SaveImaged``. Every number is of a process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.random_bundle import write_random_bundle
from benchmarks.whole_pipeline_tables import page

ROOT = Path(__file__).resolve().parents[1]
SIZES = ("128x128x100", "160x160x125", "208x208x162", "256x256x200")
CLASSES = (3, 30)
FILTERS = (32, 64, 128, 256)  # nnU-Net begins with 32, too
VOXEL_MM, TILT_DEGREES = (0.8, 0.8, 1.5), 7.0
WINDOW, OVERLAP, SPACING, CLIP, MEAN, DEVIATION = 96, 0.5, 1.5, (-800.0, 800.0), 0.0, 300.0
COMMON = {"window": WINDOW, "overlap": OVERLAP, "spacing": SPACING, "clip": CLIP, "mean": MEAN, "deviation": DEVIATION}


def network_arguments(classes: int, filters: Sequence[int]) -> dict[str, Any]:
    """Of the ``DynUNet`` that all use, a stage for each of the filters."""
    stages = len(filters)
    return {
        "spatial_dims": 3,
        "in_channels": 1,
        "out_channels": classes,
        "kernel_size": [3] * stages,
        "strides": [1] + [2] * (stages - 1),
        "upsample_kernel_size": [2] * (stages - 1),
        "filters": list(filters),
        "norm_name": ["INSTANCE", {"affine": True}],
    }


def write_bundle(folder: Path, classes: int, filters: Sequence[int]) -> Path:
    """A medbundle bundle with random weights."""
    return write_random_bundle(
        folder,
        f"random{classes}_segmentation",
        classes=classes,
        preprocessing={
            "spacing_mm": [SPACING] * 3,
            "window": [WINDOW] * 3,
            "normalization": {"kind": "fixed", "mean": MEAN, "deviation": DEVIATION, "clip": list(CLIP)},
        },
        network={"_target_": "monai.networks.nets.DynUNet", **network_arguments(classes, filters)},
        inference={"overlap": OVERLAP},
    )


def write_volume(path: Path, size: tuple[int, ...]) -> Path:
    """A smooth body with noise in Hounsfield units, int16, its table tilted a little."""
    import nibabel as nib
    import numpy as np
    import scipy.ndimage

    generator = np.random.default_rng(0)
    coarse = generator.normal(0, 400, [max(n // 16, 2) for n in size]).astype(np.float32)
    smooth = scipy.ndimage.zoom(coarse, [n / m for n, m in zip(size, coarse.shape, strict=True)], order=1)
    values = smooth + generator.normal(0, 20, size).astype(np.float32)
    angle = np.deg2rad(TILT_DEGREES)
    affine = np.eye(4)
    affine[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    affine[:3, :3] *= VOXEL_MM
    nib.save(nib.Nifti1Image(np.clip(values, -1024, 3000).astype(np.int16), affine), path)
    return path


def run(who: str, job: dict[str, Any], python: Path) -> dict[str, float]:
    """One run in a process of its own."""
    nnunet = who == "nnU-Net"
    module = "benchmarks.nnunet_predict" if nnunet else "benchmarks.whole_pipeline_runs"
    given = [json.dumps(job)] if nnunet else [who, json.dumps(job)]
    threads = str(job["threads"])
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": threads,
        "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": threads,
        "nnUNet_def_n_proc": threads,
    }
    done = subprocess.run(
        [str(python), "-m", module, *given], capture_output=True, text=True, check=False, cwd=ROOT, env=environment
    )
    if done.returncode:
        raise RuntimeError(f"{who}: {done.stderr[-4000:]}")
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def agreement(paths: dict[str, Path]) -> dict[str, float]:
    """The share of voxels to which medbundle and another give the same label."""
    import nibabel as nib
    import numpy as np

    maps = {who: np.asarray(nib.load(path).dataobj) for who, path in paths.items()}
    return {who: float((maps["medbundle"] == labels).mean()) for who, labels in maps.items() if who != "medbundle"}


def measure(classes: int, pythons: dict[str, Path], options: argparse.Namespace) -> list[dict[str, Any]]:
    """Medians over alternating runs, for each size; one run of each on the smallest size is not counted."""
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bundle = write_bundle(folder, classes, options.filters)
        for number, size in enumerate(options.sizes):
            image = write_volume(folder / f"{size}.nii.gz", tuple(map(int, size.split("x"))))
            outs = {who: folder / who / image.name for who in pythons}
            runs: dict[str, list[dict[str, float]]] = {who: [] for who in pythons}
            job = {
                "image": str(image),
                "bundle": str(bundle),
                "weights": str(bundle / "models" / "model.pt"),
                "network": network_arguments(classes, options.filters),
                "classes": classes,
                "threads": options.threads,
                **COMMON,
            }
            for turn in range(options.rounds + (number == 0)):
                for who, python in pythons.items():
                    outs[who].parent.mkdir(exist_ok=True)
                    result = run(who, {**job, "out": str(outs[who])}, python)
                    runs[who] += [result] if turn >= (number == 0) else []
                    print(f"{size}, {classes} classes, {who}: {result['total']:.1f} s", file=sys.stderr, flush=True)
            medians = {
                who: {key: statistics.median(one[key] for one in results) for key in results[0]}
                for who, results in runs.items()
            }
            rows.append({"size": size, "classes": classes, "results": medians, "agreement": agreement(outs)})
    return rows


def arguments(parser: argparse.ArgumentParser) -> None:
    """What a measurement can be told."""
    parser.add_argument("--nnunet", type=Path, help="the virtual environment with nnunetv2 and monai")
    parser.add_argument("--sizes", nargs="+", default=list(SIZES), help="voxels, such as 256x256x200; smallest first")
    parser.add_argument("--classes", nargs="+", type=int, default=list(CLASSES), help="background included")
    parser.add_argument("--filters", nargs="+", type=int, default=list(FILTERS), help="of its stages, 3 or more")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)


def section(options: argparse.Namespace) -> tuple[str, list[dict[str, Any]]]:
    """The tables as a section of a Markdown page, and all numbers."""
    pythons = {"medbundle": Path(sys.executable), "stock": Path(sys.executable)}
    if options.nnunet is not None:
        # Not resolved: a virtual environment is told by the place of its link to Python.
        pythons["nnU-Net"] = options.nnunet.absolute() / "bin" / "python"
    versions = _nnunet_versions(pythons.get("nnU-Net"))
    rows = [row for classes in options.classes for row in measure(classes, pythons, options)]
    return page(rows, options, nnunet=versions), rows


def main() -> None:
    """Measure and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments(parser)
    parser.add_argument("-o", "--output", type=Path, help="the Markdown file; a JSON file with all numbers beside it")
    options = parser.parse_args()
    text, rows = section(options)
    print(text)
    if options.output is not None:
        options.output.write_text(text, encoding="utf-8")
        options.output.with_suffix(".json").write_text(json.dumps(rows, indent=1), encoding="utf-8")


def _nnunet_versions(python: Path | None) -> str:
    if python is None:
        return ""
    code = "from importlib.metadata import version as v; print(f\"nnunetv2 {v('nnunetv2')} on torch {v('torch')}\")"
    done = subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


if __name__ == "__main__":
    main()
