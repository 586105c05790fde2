"""Train a bundle on a labelled data set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.bundle import find_bundle, open_workflow

__all__ = ["train"]


def train(bundle: str | Path, *, data: Path, output: Path | None = None, **overrides: Any) -> Path:
    """Train a bundle; the weights with the best mean validation Dice are kept.

    Args:
        bundle: folder or name of a bundle.
        data: see :func:`pipeline.data.find_pairs`.
        output: folder for ``model.pt``, ``datalist.json``, the resumable state, curves and table; the bundle's own
            ``models/`` and ``output/`` when absent.
        overrides: top-level entries of ``train.json``, such as ``epochs``, ``time_budget_minutes`` or ``resume``.

    Returns:
        The weights.
    """
    places = (
        {}
        if output is None
        else {"ckpt_dir": output.expanduser().resolve(), "output_dir": output.expanduser().resolve()}
    )
    root = find_bundle(bundle)
    workflow = open_workflow(root, ["train"], training=True, dataset_dir=data, **places, **overrides)
    workflow.initialize()
    workflow.run()
    workflow.finalize()
    return Path(workflow.parser.get_parsed_content("ckpt_dir")) / "model.pt"
