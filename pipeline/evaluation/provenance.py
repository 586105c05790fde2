"""Which network was scored on which cases: the facts that stand in every table."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pipeline

__all__ = ["provenance"]

_BLOCK = 1 << 20


def provenance(
    *, bundle: str | Path | None = None, weights: str | Path | None = None, datalist: str | Path | None = None
) -> dict[str, Any]:
    """What made the predictions of an evaluation.

    Args:
        bundle: the bundle's folder.
        weights: the file of the weights.
        datalist: the file that says which cases the weights have seen.

    Returns:
        ``medpipe`` (its version), ``bundle``, ``bundle_version``, ``weights``, ``weights_sha256`` and ``datalist``;
        None for what is not given or not there.
    """
    root, file, listed = (None if path is None else Path(path) for path in (bundle, weights, datalist))
    return {
        "medpipe": pipeline.__version__,
        "bundle": None if root is None else root.name,
        "bundle_version": None if root is None else _version(root / "configs" / "metadata.json"),
        "weights": None if file is None else str(file),
        "weights_sha256": None if file is None or not file.is_file() else _sha256(file),
        "datalist": None if listed is None or not listed.is_file() else str(listed),
    }


def _version(metadata: Path) -> str | None:
    try:
        content = json.loads(metadata.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return str(content["version"]) if isinstance(content, dict) and "version" in content else None


def _sha256(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
