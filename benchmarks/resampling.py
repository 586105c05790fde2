"""Resampling side by side with MONAI, SimpleITK and SciPy: ``python -m benchmarks.resampling``.

Each size is one volume of float32, resampled to another spacing. SimpleITK takes all cores, the others as many threads
as PyTorch has; SimpleITK and SciPy get the volume in their own form, and the grid, for free. SciPy's is
``affine_transform`` with a diagonal matrix, the routine of ``zoom`` at MONAI's positions; MONAI's own B-splines are
SciPy's ``map_coordinates``. Medians of alternating runs, wall time and the CPU time of all threads: read the ratios.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import statistics
import subprocess
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import monai.transforms
import numpy as np
import scipy.ndimage
import SimpleITK as sitk  # noqa: N813
import torch
from monai.data import MetaTensor

from pipeline.transforms import Spacing

CASES = (  # shape, spacing and wanted spacing in mm, rounds
    ((64, 64, 64), (1.0, 1.0, 1.0), 1.5, 5),
    ((128, 128, 128), (1.0, 1.0, 1.0), 1.5, 3),
    ((192, 192, 192), (1.0, 1.0, 1.0), 1.5, 3),
    ((256, 256, 200), (0.8, 0.8, 2.5), 1.5, 3),
    ((128, 128, 128), (1.0, 1.0, 1.0), 0.8, 3),
    ((192, 192, 192), (1.0, 1.0, 1.0), 0.8, 1),
    ((256, 256, 200), (0.8, 0.8, 2.5), 1.0, 1),
)
MODES: tuple[tuple[str, str | int, int, int], ...] = (  # name, MONAI's, SimpleITK's, SciPy's order
    ("linear", "bilinear", sitk.sitkLinear, 1),
    ("cubic B-spline", 3, sitk.sitkBSpline, 3),
    ("nearest", "nearest", sitk.sitkNearestNeighbor, 0),
)
OTHERS = ("MONAI", "SimpleITK", "SciPy")
Seconds = tuple[float, float]


def seconds(ways: dict[str, Callable[[], object]], rounds: int) -> dict[str, Seconds]:
    """Median wall and CPU seconds of each way, in alternating runs after one that is not counted."""
    taken: dict[str, list[Seconds]] = {name: [] for name in ways}
    for _ in range(rounds + 1):
        for name, way in ways.items():
            wall, cpu = time.perf_counter(), time.process_time()
            way()
            taken[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    return {
        name: (statistics.median(one[0] for one in runs[1:]), statistics.median(one[1] for one in runs[1:]))
        for name, runs in taken.items()
    }


def smooth(shape: tuple[int, ...]) -> np.ndarray:
    """Noise with a grain of a few voxels, float32."""
    noise = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    return scipy.ndimage.gaussian_filter(noise, 1.0)


def ways(values: np.ndarray, spacing: tuple[float, ...], wanted: float, mode: Any) -> dict[str, Callable[[], Any]]:
    """The same resampling by all four."""
    _, name, interpolator, order = mode
    affine = torch.diag(torch.tensor([*spacing, 1.0], dtype=torch.float64))
    image = MetaTensor(torch.as_tensor(values)[None], affine=affine)
    ours, theirs = (kind((wanted,) * 3, mode=name) for kind in (Spacing, monai.transforms.Spacing))
    size = [int(n) for n in ours(image).shape[1:]]
    itk = sitk.GetImageFromArray(np.ascontiguousarray(values.T))
    itk.SetSpacing(spacing)
    grid = (size, sitk.Transform(), interpolator, itk.GetOrigin(), (wanted,) * 3)
    scales = [wanted / one for one in spacing]
    return {
        "ours": lambda: ours(image),
        "MONAI": lambda: theirs(image),
        "SimpleITK": lambda: sitk.Resample(itk, *grid),
        "SciPy": lambda: scipy.ndimage.affine_transform(
            values, scales, output_shape=tuple(size), order=order, mode="nearest"
        ),
    }


def row(shape: tuple[int, ...], spacing: tuple[float, ...], wanted: float, rounds: int, mode: Any) -> str:
    """One size and one interpolation as a line of the table."""
    values = smooth(shape)
    by = ways(values, spacing, wanted, mode)
    result, expected = by["ours"](), by["MONAI"]()
    difference = float((result - expected).abs().max() / (values.max() - values.min()))
    took = seconds(by, rounds)
    ratios = [f"{took[who][0] / took['ours'][0]:.1f} ({took[who][1] / took['ours'][1]:.1f})" for who in OTHERS]
    before, after = (" x ".join(map(str, one)) for one in (shape, result.shape[1:]))
    times = [f"{1000 * one:.0f}" for one in took["ours"]]
    return f"| {before} to {after} | {mode[0]} | {' | '.join([*times, *ratios])} | {difference:.0e} |"


def heading() -> str:
    """What was measured and where."""
    git = shutil.which("git") or "git"
    commit = subprocess.run([git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout
    libraries = ", ".join(f"{name} {version(name)}" for name in ("torch", "monai", "SimpleITK", "scipy"))
    return (
        f"Commit {commit.strip() or 'unknown'}, {os.cpu_count()} cores, {torch.get_num_threads()} threads for PyTorch, "
        f"{sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()} for SimpleITK, {platform.machine()}, "
        f"Python {platform.python_version()}, {libraries}.\n"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="of PyTorch")
    parser.add_argument("--quick", action="store_true", help="the smallest size alone")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    warnings.simplefilter("ignore")
    print(heading())
    titles = ["voxels", "interpolation", "ours (ms)", "ours (CPU ms)", *(f"{one} / ours (CPU)" for one in OTHERS)]
    print(f"| {' | '.join(titles)} | difference from MONAI / range |")
    print(f"|---|---|{'---:|' * 6}")
    for *size, rounds in CASES[:1] if options.quick else CASES:
        for mode in MODES:
            print(row(*size, rounds, mode), flush=True)


if __name__ == "__main__":
    main()
