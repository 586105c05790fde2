"""Which network was scored on which cases: the facts that stand in every table."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pipeline
from pipeline.documents import read_mapping
from pipeline.errors import InputError
from pipeline.evaluation.bootstrap import RESAMPLES, SEED

__all__ = ["FACTS", "about_text", "fact_columns", "provenance"]

FACTS = ("subset", "fold", "bundle", "bundle_version", "weights_sha256", "split_seed", "bootstrap_seed")
"""What stands in every table, whatever it is cut from."""

_BLOCK = 1 << 20
_SHOWN = 12  # digits of a hash, for people


def provenance(
    *, bundle: str | Path | None = None, weights: str | Path | None = None, datalist: str | Path | None = None
) -> dict[str, Any]:
    """What made the predictions of an evaluation.

    Args:
        bundle: the bundle's folder.
        weights: the file of the weights.
        datalist: the file that says which cases the weights have seen.

    Returns:
        ``medbundle`` (its version), ``bundle``, ``bundle_version``, ``weights``, ``weights_sha256``, ``datalist``, and
        from that ``split_seed`` and ``fold``, which the training left out; None for what is not given or not there.
    """
    root, file, listed = (None if path is None else Path(path) for path in (bundle, weights, datalist))
    facts = dict.fromkeys(("medbundle", "bundle", "bundle_version", "weights", "weights_sha256", "datalist",
                           "split_seed", "fold"))  # fmt: skip
    facts["medbundle"] = pipeline.__version__
    if root is not None:
        version = _json(root / "configs" / "metadata.json").get("version")
        facts |= {"bundle": root.name, "bundle_version": version}
    if file is not None:
        facts |= {"weights": str(file), "weights_sha256": _sha256(file) if file.is_file() else None}
    if listed is not None:
        deal = _json(listed)
        there = str(listed) if listed.is_file() else None
        facts |= {"datalist": there, "split_seed": deal.get("seed"), "fold": deal.get("fold")}
    return facts


def fact_columns(about: Mapping[str, Any]) -> dict[str, Any]:
    """The facts of an evaluation as further columns of its tables; empty where they are not known."""
    known = {**about, "bootstrap_seed": SEED}
    return {name: "" if known.get(name) is None else known[name] for name in FACTS}


def about_text(about: Mapping[str, Any]) -> str:
    """The same in a line for people; only what is known."""
    weights = about.get("weights_sha256")
    shown = {
        "subset": about.get("subset"),
        "bundle": " ".join(str(about[key]) for key in ("bundle", "bundle_version") if about.get(key)),
        "predictions": about.get("predictions"),
        "weights": weights and f"{weights[:_SHOWN]} (SHA-256)",
        "seed of the split": about.get("split_seed"),
        "fold left out": about.get("fold"),
    }
    parts = [f"{name} {value}" for name, value in shown.items() if value not in (None, "")]
    return ", ".join([*parts, f"intervals from {RESAMPLES} bootstrap draws with seed {SEED}"])


def _json(file: Path) -> dict[str, Any]:
    """A JSON object; an empty one where there is none, because whoever uses the file says what is wrong with it."""
    try:
        return read_mapping(file)
    except InputError:
        return {}


def _sha256(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
