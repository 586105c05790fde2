"""Classify whatever lies at a path."""

from __future__ import annotations

from pathlib import Path

from pipeline.bundle import run_workflow
from pipeline.bundle.applying import Applied, applied, open_inference

__all__ = ["classify"]


def classify(
    source: Path,
    *,
    bundle: str | Path,
    output_dir: Path,
    series: str | None = None,
    weights: Path | None = None,
    untilt: bool = False,
) -> Applied:
    """Classify a file, a folder of files or of folders of files, a DICOM series or a folder of series.

    Args:
        source: see :func:`pipeline.data.find_inputs`.
        bundle: folder or name of a classification bundle.
        output_dir: gets ``probabilities.csv`` and, for pictures, ``predictions.png``.
        series: the DICOM series to take where there are several.
        weights: other weights than the bundle's.
        untilt: whether to bring DICOM series of a tilted gantry to an upright grid; else they are refused.

    Raises:
        InputError: nothing could be classified.
    """
    workflow = open_inference(
        source,
        bundle=bundle,
        task="classification",
        output_dir=output_dir,
        series=series,
        weights=weights,
        untilt=untilt,
    )
    run_workflow(workflow, finalize=False)
    # A network's output that is not finite is no failure of the run, but of the case.
    failures = workflow.parser.get_parsed_content("failures")
    for name, reason in workflow.parser.get_parsed_content("scores").missing().items():
        failures.reasons.setdefault(name, reason)
    return applied(workflow, output_dir)
