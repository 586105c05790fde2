"""What applying a bundle to whatever lies at a path has in common, whatever its task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai.bundle import ConfigWorkflow

from pipeline.bundle import find_bundle, open_workflow
from pipeline.documents import read_json
from pipeline.errors import InputError
from pipeline.networks.weights import load_weights
from pipeline.sources.given import given_path

__all__ = ["Applied", "applied", "open_inference"]

_LOADER = "pipeline.handlers.LoadWeights"  # says in one line what does not fit
_VERBS = {"segmentation": "segment", "classification": "classify"}


@dataclass(frozen=True)
class Applied:
    """What a run over cases left behind.

    Attributes:
        cases: names of all cases that were found.
        failures: the reason for each case that failed.
        output_dir: the folder of the results.
    """

    cases: tuple[str, ...]
    failures: dict[str, str]
    output_dir: Path


def open_inference(
    source: Path,
    *,
    bundle: str | Path,
    task: str,
    output_dir: Path,
    series: str | None,
    weights: Path | None,
    untilt: bool = False,
    in_turn: bool = False,
    entries: Mapping[str, Any] | None = None,
    **values: Any,
) -> ConfigWorkflow:
    """Open a bundle's ``inference.json`` on a path.

    Args:
        source: see :func:`pipeline.data.find_inputs`.
        bundle: folder or name of a bundle.
        task: ``segmentation`` or ``classification``.
        output_dir: the folder of the results.
        series: the DICOM series to take where there are several.
        weights: other weights than the bundle's.
        untilt: whether to bring DICOM series of a tilted gantry to an upright grid; else they are refused.
        in_turn: whether to read, compute and write one case after the other, as little memory as that takes.
        entries: other entries of ``inference.json``, see :func:`open_workflow`.
        values: further values of its top-level entries.

    Raises:
        InputError: there is no such bundle, it is for the other task, or it cannot untilt.
    """
    root = find_bundle(bundle)
    _check_task(root, task)
    if untilt:  # passed on only then: a bundle that was not built by medbundle has no such entry
        _check_untilt(root)
        values["untilt"] = True
    if in_turn and "case_threads" in (_entries(root / "configs" / "inference.json") or {}):
        entries = {**(entries or {}), "case_threads": "$None"}
    weights = None if weights is None else given_path(weights).resolve()
    workflow = open_workflow(
        root,
        ["inference"],
        entries=entries,
        dataset_dir=source,
        output_dir=given_path(output_dir).resolve(),
        series=series,
        weights=weights,
        **values,
    )
    loads_itself = _LOADER in str(workflow.parser.get("handlers", ""))
    if weights is not None and weights.is_file() and "network_def" in workflow.parser and not loads_itself:
        load_weights(workflow.parser.get_parsed_content("network_def"), weights)  # stock MONAI's error has many lines
    return workflow


def applied(workflow: ConfigWorkflow, output_dir: Path) -> Applied:
    """What a finished run left behind.

    Raises:
        InputError: the only case failed; its reason.
    """
    failures = workflow.parser.get_parsed_content("failures")
    cases = tuple(case["name"] for case in workflow.parser.get_parsed_content("cases"))
    if len(cases) == 1:
        failures.finish()
    return Applied(cases=cases, failures=dict(failures.reasons), output_dir=output_dir)


def _check_task(root: Path, task: str) -> None:
    """Refuse a bundle whose ``metadata.json`` names the other task; its ``task`` is free text, and may name none."""
    content = _entries(root / "configs" / "metadata.json")
    stated = "" if content is None else str(content.get("task", "")).lower()
    for other, verb in _VERBS.items():
        if other != task and other in stated and task not in stated:
            raise InputError(f"is a {other} bundle", where=root.name, cure=f"Run: medbundle {verb}")


def _check_untilt(root: Path) -> None:
    """Refuse a bundle that does not read ``untilt``: it would refuse tilted series, and ask for ``--untilt`` again."""
    file = root / "configs" / "inference.json"
    content = _entries(file)
    if content is not None and "untilt" not in content:
        cure = f"Build it again with: medbundle build {root.name}, or leave --untilt out"
        raise InputError("has no entry untilt", where=file, cure=cure)


def _entries(file: Path) -> dict[str, Any] | None:
    """What a JSON file holds, nothing where it is no mapping, and None where there is no such file."""
    if not file.is_file():
        return None
    content = read_json(file)
    return content if isinstance(content, dict) else {}
