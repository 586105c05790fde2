"""The images that a bundle's network takes, told from its configs without running them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.bundle.literal import literal_text
from pipeline.bundle.locate import find_bundle
from pipeline.documents import read_json

__all__ = ["InputChannels", "input_channels"]


@dataclass(frozen=True)
class InputChannels:
    """What a case of a bundle consists of.

    Attributes:
        names: of the channels, in order; empty where the bundle does not tell.
        rules: what tells the images of a case of several, see :func:`pipeline.data.find_inputs`; None where a case is
            one image.
        dimensions: the number of spatial axes; None where the bundle does not tell.
    """

    names: tuple[str, ...]
    rules: tuple[Mapping[str, Any], ...] | None
    dimensions: int | None


def input_channels(bundle: str | Path) -> InputChannels:
    """Read ``inference.json`` and ``metadata.json`` of a bundle.

    Args:
        bundle: its folder or name.

    Raises:
        InputError: there is no such bundle, or its configs are no JSON.
    """
    root = find_bundle(bundle) / "configs"
    cases = _entry(_read(root / "inference.json"), "cases")
    rules = cases.get("channels")
    told = None
    if isinstance(rules, list) and all(isinstance(rule, dict) for rule in rules):
        told = tuple(map(_plain, rules))
    image = _entry(_read(root / "metadata.json"), "network_data_format", "inputs", "image")
    names = tuple(map(str, _entry(image, "channel_def").values()))
    dimensions = cases.get("dimensions")
    return InputChannels(
        names=names if told is None else tuple(str(rule.get("name", "")) for rule in told),
        rules=told,
        dimensions=dimensions if isinstance(dimensions, int) else None,
    )


def _read(file: Path) -> Any:
    return read_json(file) if file.is_file() else {}


def _entry(content: Any, *keys: str) -> dict[str, Any]:
    for key in keys:
        content = content.get(key) if isinstance(content, dict) else None
    return content if isinstance(content, dict) else {}


def _plain(value: Any) -> Any:
    """What :func:`pipeline.bundle.literal.literal` was given."""
    if isinstance(value, dict) and "escaped" in value:
        return literal_text(str(value["escaped"]))
    return {key: _plain(one) for key, one in value.items()} if isinstance(value, dict) else value
