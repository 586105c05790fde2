"""Segment whatever lies at a path."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipeline.bundle import find_bundle, open_workflow, run_workflow

__all__ = ["Segmented", "segment"]


@dataclass(frozen=True)
class Segmented:
    """What a segmentation left behind.

    Attributes:
        cases: names of all cases that were found.
        failures: the reason for each case that failed.
        output_dir: the folder of the masks.
    """

    cases: tuple[str, ...]
    failures: dict[str, str]
    output_dir: Path


def segment(source: Path, *, bundle: str | Path, output_dir: Path, series: str | None = None) -> Segmented:
    """Segment a file, a folder of files, a DICOM series or a folder of series.

    Args:
        source: see :func:`pipeline.data.find_inputs`.
        bundle: folder or name of a bundle.
        output_dir: gets ``<case>.nii.gz`` and, for DICOM, ``<case>.dcm`` (DICOM SEG).
        series: the DICOM series to take where there are several.

    Raises:
        InputError: nothing could be segmented.
    """
    workflow = open_workflow(
        find_bundle(bundle),
        ["inference"],
        dataset_dir=source,
        output_dir=output_dir.expanduser().resolve(),
        series=series,
    )
    run_workflow(workflow, finalize=False)
    failures = workflow.parser.get_parsed_content("failures")
    cases = tuple(case["name"] for case in workflow.parser.get_parsed_content("cases"))
    if len(cases) == 1:
        failures.finish()
    return Segmented(cases=cases, failures=dict(failures.reasons), output_dir=output_dir)
