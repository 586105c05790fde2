"""Calibrate the predicted quality of a segmentation bundle, or check it on cases that it was not calibrated on."""

from __future__ import annotations

import logging
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.bundle import ConfigWorkflow
from monai.data import MetaTensor, decollate_batch, list_data_collate
from monai.transforms import Compose

from pipeline.bundle import find_bundle, open_workflow
from pipeline.errors import InputError, find_input_error, one_line
from pipeline.evaluation import provenance
from pipeline.evaluation.quality import FILE, model_rows, read_calibration
from pipeline.evaluation.quality_fit import KnownCase, figures, fit_calibration
from pipeline.evaluation.tables import aligned
from pipeline.inferers.quality import IMAGE_FEATURES, LABEL_FEATURES, QualityInferer
from pipeline.metrics import dice_per_label
from pipeline.networks.weights import load_weights
from pipeline.sources.given import given_path
from pipeline.transforms.degrading import DEGRADATIONS, Degradation, degrade

__all__ = ["calibrate", "check_calibration"]

logger = logging.getLogger(__name__)

# What comes before the grid and the intensities change: degradations are of the image as it was read.
_READING = ("LoadImaged", "CheckImaged", "LoadLabeld", "DecodeMaskd", "CheckLabeld")


def calibrate(
    bundle: str | Path, *, data: Path, weights: Path | None = None, fold: int | None = None, seed: int = 0
) -> Path:
    """Write ``quality.json`` beside a bundle's weights, from the validation cases, as they are and degraded.

    Args:
        bundle: its folder or name.
        data: see :func:`pipeline.data.find_pairs`.
        weights: other weights than the bundle's; a datalist beside them tells what they were trained on.
        fold: of the validation.
        seed: of the degradations, the parts and the models.

    Returns:
        The file.

    Raises:
        InputError: no such bundle, data or fold, no segmentation, or too few patients.
    """
    workflow, facts = _open(bundle, data=data, weights=weights, subset="validation", fold=fold)
    labels = _labels(workflow)
    cases = workflow.parser.get_parsed_content("cases")
    known = list(_known_cases(workflow, cases, seed=seed))
    made = fit_calibration(
        known, labels=labels, label_features=LABEL_FEATURES, image_features=IMAGE_FEATURES, seed=seed
    )
    told = {key: facts[key] for key in ("medbundle", "bundle", "bundle_version", "weights_sha256")}
    made.about.update(
        told,
        fold=workflow.parser.get_parsed_content("fold"),
        cases=[case["name"] for case in cases],
        degradations=[str(how) for how in DEGRADATIONS],
    )
    path = made.write(Path(workflow.parser.get_parsed_content("weights")).with_name(FILE))
    logger.info(_text(made.about["figures"]))
    return path


def check_calibration(bundle: str | Path, *, data: Path, weights: Path | None = None, seed: int = 0) -> dict[str, Any]:
    """How good a calibration is on held-out cases, degraded as the validation cases were.

    Args:
        bundle: its folder or name.
        data: see :func:`pipeline.data.find_pairs`.
        weights: other weights than the bundle's.
        seed: of the degradations.

    Returns:
        See :func:`pipeline.evaluation.quality_fit.figures`, and ``outside``, the share of cases that are flagged.

    Raises:
        InputError: there is no calibration, or see :func:`calibrate`.
    """
    workflow, facts = _open(bundle, data=data, weights=weights, subset="test", fold=None)
    file = Path(workflow.parser.get_parsed_content("weights")).with_name(FILE)
    if not file.is_file():
        raise InputError("no calibration", where=file, cure="Run: medbundle calibrate, without --check")
    made = read_calibration(
        file, weights_sha256=facts["weights_sha256"], label_features=LABEL_FEATURES, image_features=IMAGE_FEATURES
    )
    known = list(_known_cases(workflow, workflow.parser.get_parsed_content("cases"), seed=seed))
    scored = dict[str, Any]()
    for index, label in enumerate(made.labels.values()):
        features = np.stack([model_rows(case.of_labels, case.of_image)[index] for case in known])
        scored[label.name] = (np.array([case.dice[index] for case in known]), *label.predict(features))
    found = figures(scored, [case.degradation for case in known])
    outside = [bool(made.predict(case.of_labels, case.of_image).outside) for case in known]
    found["outside"] = round(float(np.mean(outside)), 4)
    logger.info("%s\n%.1f %% of the cases are outside of the calibrated range", _text(found), 100 * found["outside"])
    return found


def _open(
    bundle: str | Path, *, data: Path, weights: Path | None, subset: str, fold: int | None
) -> tuple[ConfigWorkflow, dict[str, Any]]:
    """A bundle's evaluation, initialised, with its weights in the network; and the facts of it."""
    weights = None if weights is None else given_path(weights).resolve()
    workflow = open_workflow(
        find_bundle(bundle),
        ["train", "evaluate"],
        dataset_dir=data,
        subset=subset,
        fold=fold,
        weights=weights,
        datalist_file=None if weights is None else weights.with_name("datalist.json"),
    )
    if workflow.parser["scores"]["_target_"] != "pipeline.evaluation.ScoreTable":
        raise InputError("is no segmentation bundle", where=bundle, cure="Classifications are calibrated by evaluate")
    parsed = workflow.parser.get_parsed_content
    try:
        workflow.initialize()
        _check_listed(Path(parsed("datalist_file")))
        load_weights(parsed("network"), Path(parsed("weights"))).eval()
        parsed("cases")
    except Exception as error:
        known = find_input_error(error)
        if known is None:
            raise
        raise known from error
    facts = {"bundle": "bundle_root", "weights": "weights", "datalist": "datalist_file"}
    return workflow, provenance(**{name: parsed(entry) for name, entry in facts.items()})


def _check_listed(datalist: Path) -> None:
    """Without a datalist the cases would be dealt anew, and some of them may have trained the weights."""
    if not datalist.is_file():
        cure = "Put the datalist.json of the training beside the weights"
        raise InputError("nothing tells which cases the weights have seen", where=datalist, cure=cure)


def _labels(workflow: ConfigWorkflow) -> dict[int, str]:
    return {int(value): name for value, name in workflow.parser.get_parsed_content("labels").items()}


def _known_cases(workflow: ConfigWorkflow, cases: Sequence[Mapping[str, Any]], *, seed: int) -> Iterator[KnownCase]:
    parsed = workflow.parser.get_parsed_content
    steps = list(parsed("validate::preprocessing").transforms)
    reading = list(takewhile(lambda step: type(step).__name__ in _READING, steps))
    read, bring = Compose(reading), Compose(steps[len(reading) :])
    inferer, network, device = QualityInferer(parsed("validate::inferer")), parsed("network"), parsed("device")
    values, began = list(_labels(workflow)), time.monotonic()
    for done, case in enumerate(cases):
        loaded = read(dict(case))
        for number, how in enumerate(DEGRADATIONS):
            # From the case's name, so that neither order nor number of the cases changes what is drawn.
            generator = np.random.default_rng([seed, zlib.crc32(str(case["name"]).encode()), number])
            entry, reference = _degraded(loaded, how, generator)
            try:
                batch = list_data_collate([bring(entry)])
                with torch.no_grad():
                    (labels,) = decollate_batch(inferer(batch["image"].to(device), network))
            except Exception as error:  # noqa: BLE001 - a degraded image that cannot be segmented teaches nothing
                logger.warning("%s, %s: left out: %s", case["name"], how, one_line(error))
                continue
            yield KnownCase(
                patient=str(case["patient"]),
                degradation=str(how),
                of_labels=np.asarray(labels.meta["quality_labels"], dtype=float),
                of_image=np.asarray(labels.meta["quality_image"], dtype=float),
                dice=dice_per_label(np.asarray(labels[0]), reference, values),
            )
        spent = time.monotonic() - began
        left = spent / (done + 1) * (len(cases) - done - 1)
        logger.info("case %d of %d, %.0f s spent, about %.0f s left", done + 1, len(cases), spent, left)


def _degraded(
    case: Mapping[str, Any], how: Degradation, generator: np.random.Generator
) -> tuple[dict[str, Any], np.ndarray]:
    """A case that was read, as if the file had held the degraded image; and its reference label map (X, Y[, Z])."""
    image, labels = case["image"], case["label"].numpy().round().astype(np.uint8)
    worse, moved, corner = degrade(image.numpy().astype(np.float32), labels, how, generator)
    affine = image.affine.numpy().astype(float)
    rank = len(corner)
    affine[:3, -1] += affine[:3, :rank] @ np.array(corner, dtype=float)
    meta = {**image.meta, "original_affine": affine, "spatial_shape": np.array(worse.shape[1:])}
    meta.pop("affine", None)
    entry = MetaTensor(torch.as_tensor(worse), affine=torch.as_tensor(affine), meta=meta)
    return {"name": case["name"], "image": entry}, moved[0]


def _text(found: Mapping[str, Any]) -> str:
    """The figures as a table for people."""
    columns = ("cases", "mae", "coverage", "width", "auroc", "low")
    parts = {"all": found["all"], **found["labels"], **found["degradations"]}
    rows = [["predicted Dice", "label maps", "mean error", "coverage", "width", "AUROC", "under 0.8"]]
    rows += [[name, *(f"{one[column]:g}" for column in columns)] for name, one in parts.items()]
    return "\n".join(aligned(rows))
