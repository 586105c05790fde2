"""Train a bundle on a labelled data set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.bundle import find_bundle, open_workflow, run_workflow
from pipeline.sources.given import given_path

__all__ = ["train"]


def train(bundle: str | Path, *, data: Path, output: Path | None = None, **values: Any) -> Path:
    """Train a bundle; the weights with the best mean validation Dice are kept.

    Args:
        bundle: folder or name of a bundle.
        data: see :func:`pipeline.data.find_pairs`.
        output: folder for ``model.pt``, ``datalist.json``, the resumable state, curves and table. When absent, a bundle
            given by its folder is trained in place (``models/`` and ``output/``), and a bundle given by name, which is
            medbundle's own, into ``<name>_training`` in the working directory.
        values: of top-level entries of ``train.json``, such as ``epochs``, ``time_budget_minutes`` or ``resume``.

    Returns:
        The weights.
    """
    root = find_bundle(bundle)
    if output is None and not given_path(bundle).is_dir():
        output = Path(f"{root.name}_training")
    folder = None if output is None else given_path(output).resolve()
    workflow = open_workflow(
        root, ["train"], training=True, dataset_dir=data, ckpt_dir=folder, output_dir=folder, **values
    )
    run_workflow(workflow)
    return Path(workflow.parser.get_parsed_content("ckpt_dir")) / "model.pt"
