"""The ``medbundle`` command, ``python -m medbundle`` and ``medbundle.__version__``.

The import package is ``pipeline``, a name that other distributions use too: whichever of them is found first, or was
installed last, is the one that is imported. This module stands beside ours and notices.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

__all__ = ["main"]

_MARK = '__distribution__ = "medbundle"'
_CURE = "Install medbundle in a virtual environment of its own, and leave no pipeline.py where you run it"


def _stranger() -> str | None:
    """Where the package ``pipeline`` is that would be imported instead of ours; None if it is ours."""
    spec = find_spec("pipeline")
    if spec is None:
        return "pipeline"
    if spec.origin is None:  # a folder without __init__.py
        return str(next(iter(spec.submodule_search_locations or ()), "pipeline"))
    return None if _MARK in Path(spec.origin).read_text(encoding="utf-8", errors="replace") else spec.origin


def main() -> int:
    """Run the command line of :mod:`pipeline.cli`; exit status 1 where another package takes its name."""
    stranger = _stranger()
    if stranger is not None:
        sys.stderr.write(f"medbundle: {stranger}: is another package called pipeline. {_CURE}\n")
        return 1
    from pipeline.cli import main as run

    return run()


def __getattr__(name: str) -> str:
    if name == "__version__" and _stranger() is None:
        from pipeline import __version__

        return __version__
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


if __name__ == "__main__":
    raise SystemExit(main())
