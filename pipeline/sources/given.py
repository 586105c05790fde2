"""The path that the user means."""

from __future__ import annotations

from pathlib import Path

__all__ = ["exists", "given_path"]


def given_path(path: str | Path) -> Path:
    """A path as it was given: by its own name where something is there, else with ``~`` for a home folder.

    A shell has opened a ``~`` of its own before; what is left may be a name, which is then made absolute.
    """
    path = Path(path)
    if not str(path).startswith("~"):
        return path
    if not exists(Path(path.parts[0])):
        try:
            return path.expanduser()
        except RuntimeError:  # there is no such user
            pass
    return path.absolute()


def exists(path: Path) -> bool:
    """Whether something is there; a name that no file can have, such as a longer one, has nothing."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False
