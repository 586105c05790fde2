"""Segment whatever lies at a path."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from monai.bundle import ConfigWorkflow

from pipeline.bundle import literal, run_workflow
from pipeline.bundle.applying import Applied, applied, open_inference
from pipeline.errors import InputError

__all__ = ["segment"]


def segment(
    source: Path,
    *,
    bundle: str | Path,
    output_dir: Path,
    series: str | None = None,
    weights: Path | None = None,
    untilt: bool = False,
    max_memory_gb: float | None = None,
    engine: str | None = None,
    probabilities: Sequence[str] = (),
) -> Applied:
    """Segment a file, a folder of files, a DICOM series or a folder of series.

    Args:
        source: see :func:`pipeline.data.find_inputs`.
        bundle: folder or name of a segmentation bundle.
        output_dir: gets the files that :class:`pipeline.transforms.SaveSegmentationd` writes for each case.
        series: the DICOM series to take where there are several.
        weights: other weights than the bundle's.
        untilt: whether to bring DICOM series of a tilted gantry to an upright grid; else they are refused.
            Masks are brought back to the tilted slices.
        max_memory_gb: the most resident memory to use, in units of 10 ** 9 bytes. Each case is then forecast from its
            header, one line of the log, and takes as large a slab and as many windows at a time as fit; see
            :class:`pipeline.planning.MemoryLimit`. No case is read or written beside another then.
        engine: what runs the network instead of the bundle's own choice; see
            :class:`pipeline.inferers.FastestInferer`. With ``max_memory_gb`` none is measured.
        probabilities: the labels whose probabilities are written too, or ``all``.

    Raises:
        InputError: nothing could be segmented, or the bundle has no such label.
    """
    limit = {} if max_memory_gb is None else {"dataset::transform": _limited(max_memory_gb, untilt=untilt)}
    workflow = open_inference(
        source,
        bundle=bundle,
        task="segmentation",
        output_dir=output_dir,
        series=series,
        weights=weights,
        untilt=untilt,
        in_turn=max_memory_gb is not None,
        engine=engine,
        entries=limit,
    )
    if max_memory_gb is not None:
        _leave_unmeasured(workflow)
    if probabilities:
        _keep_probabilities(workflow, probabilities)
    run_workflow(workflow, finalize=False)
    return applied(workflow, output_dir)


def _keep_probabilities(workflow: ConfigWorkflow, names: Sequence[str]) -> None:
    if "probabilities" not in workflow.parser:
        cure = "Build the bundle again with medbundle build, or leave --probabilities out"
        raise InputError("has no entry probabilities", where="inference.json", cure=cure)
    workflow.parser["probabilities"] = literal(names)


def _leave_unmeasured(workflow: ConfigWorkflow) -> None:
    """A measurement of engines takes memory that no forecast knows of."""
    inferer = workflow.parser["inferer"]
    if isinstance(inferer, dict) and "engine" in inferer:
        workflow.parser["inferer::measure"] = False


def _limited(max_memory_gb: float, *, untilt: bool) -> dict[str, Any]:
    """What takes the place of the preprocessing in ``inference.json``."""
    return {
        "_target_": "pipeline.planning.MemoryLimit",
        "transform": "@preprocessing",
        # The evaluator's: it may be one around @inferer that also tells how good the labels may be.
        "inferer": "@evaluator#inferer",
        "network": "@network",
        "device": "@device",
        "series": "@series",
        "untilt": untilt,
        "max_memory_gb": max_memory_gb,
    }
