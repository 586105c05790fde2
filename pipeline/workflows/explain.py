"""Show which part of each picture speaks for its class."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.bundle import ConfigParser

from pipeline.bundle import run_workflow
from pipeline.bundle.applying import Applied, applied, open_inference
from pipeline.data.channels import check_case
from pipeline.errors import InputError
from pipeline.inferers.gradcam import ClassMaps, on_input_grid
from pipeline.networks.weights import load_weights
from pipeline.reports.heatmaps import Explanation, draw_explanation
from pipeline.sources.paths import first_of, paths_of

__all__ = ["explain"]

logger = logging.getLogger(__name__)


def explain(
    source: Path,
    *,
    bundle: str | Path,
    output_dir: Path,
    label: str | None = None,
    layer: str | None = None,
    series: str | None = None,
    weights: Path | None = None,
    untilt: bool = False,
) -> Applied:
    """Draw a Grad-CAM map of each picture, see :class:`pipeline.inferers.gradcam.ClassMaps`.

    The map is made of what the network sees, and brought back to the picture by inverting the preprocessing; what the
    network does not see, such as a margin that is cut off, has none. The network is applied once, in float32: its
    probabilities may differ a little from those of :func:`pipeline.workflows.classify.classify`, which takes bfloat16
    where it is fast and averages over the plan's mirror axes.

    Args:
        source: see :func:`pipeline.data.find_inputs`.
        bundle: folder or name of a classification bundle for pictures.
        output_dir: gets ``<case>_gradcam.png``.
        label: the class that is explained; None takes the most probable one of each case.
        layer: the module whose output is weighted; None takes the last that gives a map.
        series: the DICOM series to take where there are several.
        weights: other weights than the bundle's.
        untilt: whether to bring DICOM series of a tilted gantry to an upright grid; else they are refused.

    Raises:
        InputError: nothing could be explained, or there is no such class or layer.
    """
    workflow = open_inference(
        source,
        bundle=bundle,
        task="classification",
        output_dir=output_dir,
        series=series,
        weights=weights,
        untilt=untilt,
        entries={"run": []},  # only the checks: the maps are made here
    )
    run_workflow(workflow, finalize=False)
    parser = workflow.parser
    classes = parser.get_parsed_content("scores").classes
    number = None if label is None else _number(label, classes)
    network = load_weights(parser.get_parsed_content("network_def"), Path(parser.get_parsed_content("weights")))
    maps = ClassMaps(network.to(parser.get_parsed_content("device")), layer=layer)
    cases, failures = (parser.get_parsed_content(key) for key in ("cases", "failures"))
    failures.total = len(cases)
    for case in cases:
        error = _explain_case(case, parser, maps, classes, number)
        if error is not None:
            failures.record(case["name"], error)
    return applied(workflow, output_dir)


def _explain_case(*arguments: Any) -> Exception | None:
    """See :func:`_draw_case`; what went wrong, so that the other cases go on."""
    try:
        _draw_case(*arguments)
    except Exception as error:  # noqa: BLE001 - whatever it is
        return error
    return None


def _draw_case(
    case: Mapping[str, Any], parser: ConfigParser, maps: ClassMaps, classes: Sequence[str], number: int | None
) -> None:
    target = Path(parser.get_parsed_content("output_dir")) / f"{case['name']}_gradcam.png"
    cases = parser.get_parsed_content("cases")
    if target.resolve() in {path.resolve() for other in cases for path in paths_of(other["image"])}:
        raise InputError("the map would replace an input", where=target, cure="Give another output folder")
    preprocessing, postprocessing, device = (
        parser.get_parsed_content(key) for key in ("preprocessing", "postprocessing", "device")
    )
    check_case(case)
    shown = first_of(case["image"])[0]
    loaded = preprocessing(dict(case))
    image = loaded["image"]
    logits = maps.logits(image.to(device))
    if not torch.isfinite(logits).all():
        raise InputError("the network's output is not finite", where=shown)
    probabilities = postprocessing({**loaded, "pred": logits})["pred"].tolist()
    predicted = int(np.argmax(probabilities))
    chosen = predicted if number is None else number
    heat, seen = on_input_grid(maps(image.to(device), chosen), image, preprocessing)
    if not heat.any():
        logger.warning("%s: layer %s has nothing that speaks for %s", case["name"], maps.layer, classes[chosen])
    draw_explanation(
        heat,
        target,
        picture=shown,
        seen=seen > 0.5,  # noqa: PLR2004 - interpolated between 0 and 1
        series=parser.get_parsed_content("series"),
        explained=Explanation(classes[chosen], probabilities[chosen], classes[predicted], probabilities[predicted]),
    )
    logger.info("%s: %s %.3f, layer %s", case["name"], classes[chosen], probabilities[chosen], maps.layer)


def _number(label: str, classes: Sequence[str]) -> int:
    if label not in classes:
        near = difflib.get_close_matches(label, classes, n=1)
        cure = f"Did you mean {near[0]}?" if near else f"Known: {', '.join(classes)}"
        raise InputError("the bundle has no such class", where=label, cure=cure)
    return classes.index(label)
