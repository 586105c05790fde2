"""Everything once, on made-up data: phantoms, training, evaluation, segmentation, picture."""

from __future__ import annotations

import json
import logging
import shutil
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import numpy.typing as npt

from pipeline.bundle import build_bundle
from pipeline.data.phantoms import PHANTOM_LABELS, Phantom, make_phantom, write_phantom_dicom, write_phantom_labels
from pipeline.errors import InputError
from pipeline.metrics import dice_per_label
from pipeline.planning import load_plan
from pipeline.sources.given import given_path
from pipeline.workflows.evaluate import evaluate
from pipeline.workflows.segment import segment
from pipeline.workflows.train import train
from pipeline.writing import whole_file

__all__ = ["demo"]

logger = logging.getLogger(__name__)

PHANTOMS = 30
NEW_SEED = 1000
_PLAN = Path(__file__).with_name("demo_plan.yaml")


def demo(output: Path, *, minutes: float = 1.2) -> float:
    """Make phantom CT series, train on them, evaluate, segment one more; leave everything in a folder.

    Args:
        output: made when needed; what an earlier demo left there is replaced.
        minutes: time to train.

    Returns:
        The mean Dice over the held-out phantoms and both labels.

    Raises:
        InputError: the folder holds something else.
    """
    began = time.monotonic()
    root = given_path(output).resolve()
    bundle = _fresh_bundle(root)
    logger.info("1/4 makes %d phantom CT series (DICOM) with labels in %s", PHANTOMS, root / "data")
    for seed in range(PHANTOMS):
        phantom = make_phantom(seed)
        write_phantom_dicom(phantom, root / "data" / "images" / f"phantom_{seed:02d}")
        write_phantom_labels(phantom, root / "data" / "labels" / f"phantom_{seed:02d}.nii.gz")
    logger.info("2/4 trains %s for %g minute(s)", bundle.name, minutes)
    train(bundle, data=root / "data", time_budget_minutes=minutes)
    logger.info("3/4 evaluates on held-out phantoms")
    table, _ = evaluate(bundle, data=root / "data", output_dir=root / "evaluation")
    logger.info("4/4 segments a new DICOM series")
    phantom = make_phantom(NEW_SEED)
    series = write_phantom_dicom(phantom, root / "new_series")
    segment(series, bundle=bundle, output_dir=root / "masks")
    mask = np.asarray(nib.load(root / "masks" / "new_series.nii.gz").dataobj)
    draw_overlay(phantom, mask, root / "overlay.png")
    dice = dice_per_label(mask, phantom.labels, list(PHANTOM_LABELS))
    mean = table.summary()["mean"]["mean"]
    with whole_file(root / "demo.json") as temporary:
        temporary.write_text(json.dumps({"mean_dice": mean, "seconds": round(time.monotonic() - began, 1)}) + "\n")
    logger.info(
        "wrote %s (DICOM SEG), %s and %s; Dice of the new series: %s\n%s",
        root / "masks" / "new_series.dcm",
        root / "masks" / "new_series.nii.gz",
        root / "overlay.png",
        ", ".join(f"{name} {value:.3f}" for name, value in zip(PHANTOM_LABELS.values(), dice, strict=True)),
        f"mean Dice {mean:.3f} on {len(table.cases)} held-out phantoms, in {time.monotonic() - began:.0f} s altogether",
    )
    return mean


def _fresh_bundle(root: Path) -> Path:
    plan = load_plan(_PLAN)
    bundle = root / plan.name
    if root.exists() and any(root.iterdir()) and not bundle.is_dir():
        raise InputError("is not empty and not an earlier demo", where=root, cure="Give another folder with -o")
    for name in ("data", "new_series", "masks", "evaluation", plan.name):
        if (root / name).is_dir():
            shutil.rmtree(root / name)
    bundle.mkdir(parents=True)
    with whole_file(bundle / "plan.yaml") as temporary:
        shutil.copy(_PLAN, temporary)
    build_bundle(bundle)
    return bundle


def draw_overlay(phantom: Phantom, mask: npt.NDArray[np.uint8], path: Path) -> None:
    """Draw the axial slice that shows most of both organs: the image, the reference and the prediction over it.

    Args:
        phantom: image in HU and labels, axes (i, j, k) with i to the left and j to the back, as radiologists look.
        mask: the prediction on the same grid.
        path: a PNG.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import ListedColormap
    from matplotlib.figure import Figure

    # Each organ counts for at most what the smaller one has, so that both are seen.
    areas = np.stack([(phantom.labels == value).sum(axis=(0, 1)) for value in PHANTOM_LABELS])
    k = int(np.argmax(areas.min(axis=0)))
    colors = ListedColormap([(0, 0, 0, 0), (230 / 255, 159 / 255, 0, 0.6), (86 / 255, 180 / 255, 233 / 255, 0.6)])
    figure = Figure(figsize=(9, 3.4), layout="constrained", facecolor="black")
    panels = (("CT", None), ("reference", phantom.labels), ("prediction", mask))
    for axes, (title, labels) in zip(figure.subplots(1, 3), panels, strict=True):
        axes.imshow(phantom.image[:, :, k].T, cmap="gray", vmin=-150, vmax=250, interpolation="nearest")
        if labels is not None:
            axes.imshow(labels[:, :, k].T, cmap=colors, vmin=0, vmax=2, interpolation="nearest")
        axes.set_title(title, color="white")
        axes.axis("off")
    with whole_file(path) as temporary:
        FigureCanvasAgg(figure).print_png(str(temporary))
