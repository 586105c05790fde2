"""Segmentation measures side by side with MONAI's: ``OMP_NUM_THREADS=1 python -m benchmarks.metrics [LABELS]``.

For each size one case of ellipsoids, and a prediction of them that is moved, frayed and has a few false positives.
medbundle computes every measure; MONAI only Dice, the 95 % Hausdorff distance and the surface Dice, from one-hot masks
that it is given for free. Medians of alternating runs: read the ratios. The second table has ten labels in one field of
view, voxel by voxel finer, and the power of the number of voxels by which the time grows; ``--light`` leaves out the
largest of them.

Then all that ``medbundle evaluate --predictions DIR --references DIR`` does, on 260 pairs of files: those label maps of
LABELS, a folder such as ``Task04_Hippocampus/labelsTr``, one voxel off; made-up ones without it.
"""

from __future__ import annotations

import argparse
import itertools
import math
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import numpy.typing as npt
import scipy.ndimage
import torch
from monai.metrics import DiceMetric, HausdorffDistanceMetric, SurfaceDiceMetric

from pipeline.metrics import measure
from pipeline.metrics.surfaces import Definition
from pipeline.workflows.evaluate import evaluate_folders

Map = npt.NDArray[np.uint8]

CASES = (  # name, shape, labels, spacing in mm, rounds
    ("X-ray", (512, 512), 3, (0.5, 0.5), 5),
    ("hippocampus", (35, 50, 36), 2, (1.0, 1.0, 1.0), 9),
    ("prostate", (320, 320, 20), 2, (0.625, 0.625, 3.6), 3),
)
GROWING = tuple(  # one field of view of 205 x 205 x 320 mm, in ever smaller voxels
    ("abdomen", (n, n, n // 2), 10, (204.8 / n, 204.8 / n, 640 / n), rounds)
    for n, rounds in ((64, 5), (96, 3), (128, 3), (192, 1), (256, 1))
)
HEADER = "| case | labels | voxel (ms) | surface element (ms) | MONAI (ms) | MONAI / voxel | MONAI / surface element |"
HIPPOCAMPI = 260


def case(shape: tuple[int, ...], labels: int, seed: int = 0) -> tuple[Map, Map]:
    """A prediction and a reference: ellipsoids over two fifths of each axis, later ones over earlier ones."""
    generator = np.random.default_rng(seed)
    reference = np.zeros(shape, dtype=np.uint8)
    grid = [axis / size for axis, size in zip(np.ogrid[tuple(map(slice, shape))], shape, strict=True)]
    for label in range(1, labels + 1):
        centre, radius = generator.uniform(0.25, 0.75, len(shape)), generator.uniform(0.1, 0.2, len(shape))
        square = sum(((g - c) / r) ** 2 for g, c, r in zip(grid, centre, radius, strict=True))
        reference[np.broadcast_to(np.asarray(square) <= 1, shape)] = label
    moved = np.roll(reference, (1,) * len(shape), tuple(range(len(shape))))
    rough = scipy.ndimage.gaussian_filter(generator.normal(size=shape).astype(np.float32), 1.0)
    prediction = np.where(rough > rough.std(), moved, reference)
    for label in range(1, labels + 1):
        prediction[tuple(slice(int(at), int(at) + 2) for at in generator.uniform(0, 0.95, len(shape)) * shape)] = label
    return prediction, reference


def monai(one_hot: tuple[torch.Tensor, torch.Tensor], labels: int, spacing: tuple[float, ...]) -> None:
    """Three of MONAI's metrics for one case."""
    DiceMetric(reduction="none", include_background=False)(*one_hot)
    HausdorffDistanceMetric(reduction="none", percentile=95)(*one_hot, spacing=spacing)
    SurfaceDiceMetric([1.0] * labels, reduction="none")(*one_hot, spacing=spacing)


def seconds(ways: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median seconds of each way, in alternating runs after one that is not counted."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds + 1):
        for name, way in ways.items():
            began = time.perf_counter()
            way()
            taken[name].append(time.perf_counter() - began)
    return {name: statistics.median(values[1:]) for name, values in taken.items()}


def times(shape: tuple[int, ...], labels: int, spacing: tuple[float, ...], rounds: int) -> dict[str, float]:
    """Median seconds for one size."""
    prediction, reference = case(shape, labels)
    one_hot = tuple(
        torch.nn.functional.one_hot(torch.as_tensor(values).long(), labels + 1).movedim(-1, 0)[None].bool()
        for values in (prediction, reference)
    )

    def ours(definition: Definition) -> Callable[[], object]:
        options = {"labels": range(1, labels + 1), "spacing_mm": spacing, "definition": definition}
        return lambda: measure(prediction, reference, **options)

    return seconds(
        {
            "voxel": ours("voxel"),
            "surface": ours("surface_element"),
            "monai": lambda: monai((one_hot[0], one_hot[1]), labels, spacing),
        },
        rounds,
    )


def row(name: str, shape: tuple[int, ...], labels: int, took: dict[str, float]) -> str:
    """One size as a line of the table."""
    size = " x ".join(map(str, shape))
    ratios = " | ".join(f"{took['monai'] / took[who]:.1f}" for who in ("voxel", "surface"))
    shown = " | ".join(f"{1000 * took[who]:.1f}" for who in ("voxel", "surface", "monai"))
    return f"| {name}, {size} | {labels} | {shown} | {ratios} |"


def growth(found: dict[tuple[int, ...], dict[str, float]]) -> str:
    """The power of the number of voxels by which each way's time grows: the slope of the logarithms."""
    voxels = [math.log(math.prod(shape)) for shape in found]
    slopes = {
        who: statistics.linear_regression(voxels, [math.log(took[who]) for took in found.values()]).slope
        for who in ("voxel", "surface", "monai")
    }
    return " | ".join(f"voxels^{slope:.2f}" for slope in slopes.values())


def pairs(labels: Path | None) -> Iterator[tuple[Map, Map]]:
    """Predictions and references: a folder's label maps, one voxel off, or made-up ones."""
    if labels is None:
        yield from (case((35, 50, 36), 2, seed) for seed in itertools.count())
        return
    files = [path for path in sorted(labels.iterdir()) if not path.name.startswith(".")]
    for number, path in enumerate(itertools.cycle(files)):
        reference = np.asarray(nib.load(path).dataobj).astype(np.uint8)
        yield np.roll(reference, 1, axis=number % 3), reference


def evaluation(labels: Path | None) -> float:
    """Seconds to evaluate two folders, from reading the files to writing the tables."""
    with tempfile.TemporaryDirectory() as folder:
        roots = [Path(folder) / name for name in ("predictions", "references")]
        for root in roots:
            root.mkdir()
        for number, maps in enumerate(itertools.islice(pairs(labels), HIPPOCAMPI)):
            for root, values in zip(roots, maps, strict=True):
                nib.save(nib.Nifti1Image(values, np.eye(4)), root / f"case{number:03d}.nii.gz")
        began = time.perf_counter()
        evaluate_folders(*roots, output_dir=Path(folder) / "evaluation")
        return time.perf_counter() - began


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("labels", nargs="?", type=Path, metavar="LABELS")
    parser.add_argument("--light", action="store_true", help="without the largest size")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    print(f"{HEADER}\n|---|---:|---:|---:|---:|---:|---:|")
    for name, shape, labels, spacing, rounds in CASES:
        print(row(name, shape, labels, times(shape, labels, spacing, rounds)), flush=True)
    print(f"\n{HEADER}\n|---|---:|---:|---:|---:|---:|---:|")
    found = {}
    for name, shape, labels, spacing, rounds in GROWING[: -1 if options.light else None]:
        found[shape] = times(shape, labels, spacing, rounds)
        print(row(name, shape, labels, found[shape]), flush=True)
    print(f"| growth | | {growth(found)} | | |")
    cases = [case((35, 50, 36), 2, seed) for seed in range(HIPPOCAMPI)]
    began = time.perf_counter()
    for prediction, reference in cases:
        measure(prediction, reference, labels=[1, 2], spacing_mm=(1.0, 1.0, 1.0))
    print(f"\n{HIPPOCAMPI} hippocampi, one after the other: {time.perf_counter() - began:.2f} s")
    took = evaluation(options.labels)
    print(f"{HIPPOCAMPI} pairs of files, with intervals, tables and the report: {took:.1f} s")


if __name__ == "__main__":
    main()
