"""Label maps in folders, as two-folder evaluations take them."""

from __future__ import annotations

import csv
from pathlib import Path

import nibabel as nib
import numpy as np

from pipeline.evaluation import ScoreTable
from pipeline.workflows.evaluate import evaluate_folders

AFFINE = np.array([[-1.5, 0, 0, 30], [0, 0.8, 0, -12], [0, 0, 2.5, 7], [0, 0, 0, 1]])


def label_map(seed: int = 0) -> np.ndarray:
    labels = np.zeros((16, 18, 8), dtype=np.uint8)
    labels[3:9, 4 : 9 + seed, 2:6], labels[9:14, 4:12, 2:6] = 1, 2
    return labels


def save_labels(labels: np.ndarray, path: Path, affine: np.ndarray = AFFINE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(labels, affine), path)
    return path


def metric_rows(folder: Path) -> dict[tuple[str, str], dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return {(row["case"], row["label"]): row for row in csv.DictReader(file)}


def evaluate_in(folders: tuple[Path, Path], **options: object) -> tuple[ScoreTable, dict[str, str], Path]:
    output = folders[0].parent / "out"
    table, failures = evaluate_folders(*folders, output_dir=output, **options)
    return table, failures, output
