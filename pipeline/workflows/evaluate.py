"""Score a bundle on labelled cases that it has not seen."""

from __future__ import annotations

from pathlib import Path

from pipeline.bundle import find_bundle, open_workflow, run_workflow
from pipeline.evaluation import ScoreTable

__all__ = ["evaluate"]


def evaluate(
    bundle: str | Path,
    *,
    data: Path,
    output_dir: Path | None = None,
    subset: str | None = None,
    fold: int | None = None,
    weights: Path | None = None,
) -> tuple[ScoreTable, dict[str, str]]:
    """Dice per case and label, on the cases' own grids.

    Args:
        bundle: folder or name of a bundle.
        data: see :func:`pipeline.data.find_pairs`.
        output_dir: gets ``dice.csv`` and ``dice.json``; the bundle's ``eval/`` when absent.
        subset: ``test`` (held out, the default), ``validation``, ``training`` or ``all``.
        fold: of the validation.
        weights: other weights than the bundle's; a datalist beside them tells what they were trained on.

    Returns:
        The table and the reason for each case that failed (and counted as 0).
    """
    weights = None if weights is None else weights.expanduser().resolve()
    workflow = open_workflow(
        find_bundle(bundle),
        ["train", "evaluate"],
        dataset_dir=data,
        output_dir=None if output_dir is None else output_dir.expanduser().resolve(),
        subset=subset,
        fold=fold,
        weights=weights,
        datalist_file=None if weights is None else weights.with_name("datalist.json"),
    )
    run_workflow(workflow, finalize=False)
    parser = workflow.parser
    return parser.get_parsed_content("scores"), dict(parser.get_parsed_content("failures").reasons)
