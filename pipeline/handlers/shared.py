"""A handler that is defined elsewhere in a config."""

from __future__ import annotations

from typing import Protocol

from ignite.engine import Engine

__all__ = ["Shared"]


class _Handler(Protocol):
    def attach(self, engine: Engine) -> object: ...


class Shared:
    """Attach a handler that other parts of a config refer to as well.

    Args:
        handler: anything with ``attach(engine)``.
    """

    def __init__(self, *, handler: _Handler) -> None:
        self.handler = handler

    def attach(self, engine: Engine) -> None:
        """Attach the handler."""
        self.handler.attach(engine)
