"""Segment whatever lies at a path."""

from __future__ import annotations

from pathlib import Path

from pipeline.bundle import run_workflow
from pipeline.workflows.apply import Applied, applied, open_inference

__all__ = ["segment"]


def segment(
    source: Path, *, bundle: str | Path, output_dir: Path, series: str | None = None, weights: Path | None = None
) -> Applied:
    """Segment a file, a folder of files, a DICOM series or a folder of series.

    Args:
        source: see :func:`pipeline.data.find_inputs`.
        bundle: folder or name of a segmentation bundle.
        output_dir: gets the files that :class:`pipeline.transforms.SaveSegmentationd` writes for each case.
        series: the DICOM series to take where there are several.
        weights: other weights than the bundle's.

    Raises:
        InputError: nothing could be segmented.
    """
    workflow = open_inference(
        source, bundle=bundle, task="segmentation", output_dir=output_dir, series=series, weights=weights
    )
    run_workflow(workflow, finalize=False)
    return applied(workflow, output_dir)
