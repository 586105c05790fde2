"""A bundle's config opened as MONAI's ``ConfigWorkflow``: what ``monai.bundle run`` does, with our logging."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.bundle import ConfigWorkflow

from pipeline.bundle.literal import literal
from pipeline.errors import InputError, find_input_error

__all__ = ["open_workflow", "run_workflow"]


def open_workflow(
    bundle: Path,
    configs: Sequence[str],
    *,
    training: bool = False,
    entries: Mapping[str, Any] | None = None,
    **values: Any,
) -> ConfigWorkflow:
    """Open a bundle's config; ``initialize``, ``run`` and ``finalize`` it as any MONAI workflow.

    Args:
        bundle: the bundle's folder.
        configs: names in ``configs/``, later ones laid over earlier ones, such as ``["train", "evaluate"]``.
        training: whether it is a training; decides which properties MONAI looks for.
        entries: replace entries by others in the terms of a config: components, references and expressions.
        values: replace top-level entries by what is meant literally, such as names and paths, which are never read as
            references or expressions; None leaves an entry as the config has it.

    Raises:
        InputError: the bundle has no such config.
    """
    files = [bundle / "configs" / f"{name}.json" for name in configs]
    for file in files:
        if not file.is_file():
            raise InputError("no such config", where=file, cure=f"Run: medbundle build {bundle.name}")
    monai_logger = logging.getLogger("monai.bundle.workflows")
    monai_logger.setLevel(logging.ERROR)  # it warns that logging was left to us
    return ConfigWorkflow(
        config_file=[str(file) for file in files],
        logging_file=False,
        workflow_type="train" if training else "infer",
        **{**(entries or {}), **{key: literal(value) for key, value in values.items() if value is not None}},
    )


def run_workflow(workflow: ConfigWorkflow, *, finalize: bool = True) -> None:
    """Initialise, run and finalise a workflow.

    Args:
        workflow: from :func:`open_workflow`.
        finalize: False leaves the workflow's last step out.

    Raises:
        InputError: the user's error itself, which MONAI wraps into errors of its own.
    """
    try:
        workflow.initialize()
        workflow.run()
        if finalize:
            workflow.finalize()
    except Exception as error:
        known = find_input_error(error)
        if known is None:
            raise
        raise known from error
