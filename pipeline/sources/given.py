"""The path that the user means."""

from __future__ import annotations

from pathlib import Path

__all__ = ["given_path"]


def given_path(path: str | Path) -> Path:
    """A path as it was given: by its own name where something is there, else with ``~`` for a home folder.

    A shell has opened a ``~`` of its own before; what is left may be a name, which is then made absolute.
    """
    path = Path(path)
    if not str(path).startswith("~"):
        return path
    if not Path(path.parts[0]).exists():
        try:
            return path.expanduser()
        except RuntimeError:  # there is no such user
            pass
    return path.absolute()
