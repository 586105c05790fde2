"""How a methods section cites, counts and names its software."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import pipeline

__all__ = ["EFRON", "cited", "counted", "joined", "software_text"]

EFRON = {
    "efron": "Efron B. Better bootstrap confidence intervals. Journal of the American Statistical Association "
    "82(397):171-185, 1987. doi:10.1080/01621459.1987.10478410",
}


def cited(paragraphs: Iterable[str], references: Mapping[str, str]) -> str:
    """Paragraphs with numbered references, in the order in which they are cited.

    Args:
        paragraphs: with the keys of references in brackets; empty ones are left out.
        references: those that may be cited.

    Returns:
        Plain text; an empty line between paragraphs, and the references at the end.
    """
    text = "\n\n".join(paragraph for paragraph in paragraphs if paragraph)
    order = sorted((name for name in references if f"[{name}]" in text), key=lambda name: text.index(f"[{name}]"))
    for number, name in enumerate(order, start=1):
        text = text.replace(f"[{name}]", f"[{number}]")
    listed = "\n".join(f"[{number}] {references[name]}" for number, name in enumerate(order, start=1))
    return f"{text}\n\nReferences\n{listed}"


def bundle_text(summary: Mapping[str, Any]) -> str:
    """The sentence that names the bundle, its version and its weights; nothing where no bundle is known."""
    if not summary.get("bundle"):
        return ""
    released = f", version {summary['bundle_version']}" if summary.get("bundle_version") else ""
    weights = f", weights SHA-256 {summary['weights_sha256']}" if summary.get("weights_sha256") else ""
    return f" They were made by the MONAI bundle {summary['bundle']}{released}{weights}."


def software_text(summary: Mapping[str, Any], packages: Sequence[str]) -> str:
    """With what it was computed, and the versions of the packages that are installed."""
    made = summary.get("medbundle") or pipeline.__version__
    found = ", ".join(f"{name} {found}" for name in packages if (found := _version(name)) is not None)
    return f"Software: medbundle {made} (Python {platform.python_version()}, {found})."


def counted(number: int, what: str) -> str:
    """A number and what it counts, of which there may be several."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def joined(names: Sequence[str]) -> str:
    """Names with commas, and "and" before the last."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else "none"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
