"""A made-up classification and its page, for the tests of the page and of what a browser makes of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from monai.transforms import Compose, EnsureTyped, LoadImaged
from PIL import Image

from pipeline.evaluation import ClassificationTable
from pipeline.reports.html import report_classes
from pipeline.sources import CaseReader

CLASSES = {0: "Normal & <well>", 1: "Bacterial", 2: "Viral"}
HOSTILE = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>'


def _network() -> torch.nn.Module:
    torch.manual_seed(0)
    layers = [torch.nn.Conv2d(1, 4, 3, padding=1), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(),
              torch.nn.Linear(4, 3)]  # fmt: skip
    return torch.nn.Sequential(*layers)


def _loading() -> Compose:
    reader = CaseReader(dimensions=2)
    return Compose([LoadImaged(keys=["image"], reader=reader, ensure_channel_first=True),
                    EnsureTyped(keys=["image"], dtype=torch.float32)])  # fmt: skip


def written(table: ClassificationTable, folder: Path, cases: list[dict[str, str]] | None = None) -> Path:
    table.write(folder, about={"subset": "test", "bundle": "toy", "weights": "/home/someone/model.pt"})
    options = {} if cases is None else {"network": _network(), "preprocessing": _loading()}
    page = report_classes(table=table, folder=folder, cases=cases or [], **options)
    assert page is not None
    return page


def scored_page(folder: Path) -> tuple[Path, np.ndarray, np.ndarray]:
    """Sixty cases, some wrong, one lost, one without a reference; pictures of all but one."""
    generator = np.random.default_rng(5)
    reference = generator.integers(0, 3, 60)
    scores = generator.random((60, 3))
    scores[np.arange(60), reference] += 0.45
    probabilities = scores / scores.sum(axis=1, keepdims=True)
    table, cases = ClassificationTable(CLASSES), []
    for n in range(60):
        name = HOSTILE if n == 0 else f"case{n:02}"
        p = np.array([0.02, 0.95, 0.03]) if n == 0 else probabilities[n]
        probabilities[n] = p
        reference[0] = 2
        table.add(name, p, int(reference[n]), patient=f"Doe^John{n // 2}")
        file = folder / f"{n}.png"
        Image.fromarray(generator.integers(0, 255, (40, 50), dtype=np.uint8)).save(file)
        cases.append({"name": name, "image": str(file)})
    table.add("unknown", [0.2, 0.5, 0.3])
    table.add_missing({"lost": "its file is <b>empty</b>"}, {"lost": 1}, patients={"lost": "Doe^Jane"})
    return written(table, folder / "out", cases), reference, probabilities
