"""Hand what is known of each segmented case to a table of predicted quality."""

from __future__ import annotations

from typing import Any, Protocol

from ignite.engine import Engine, Events

__all__ = ["PredictQuality"]


class _Table(Protocol):
    def add(self, name: str, meta: Any) -> None: ...


class PredictQuality:
    """Add every case of an evaluator that was segmented and saved to a table.

    Args:
        table: takes a case's name and the metadata of its label map, such as ``pipeline.evaluation.QualityTable``.
    """

    def __init__(self, *, table: _Table) -> None:
        self.table = table

    def attach(self, engine: Engine) -> None:
        """Attach to an evaluator whose postprocessing leaves ``pred`` as a label map with the inferer's metadata."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Add the cases of one batch; a failed case has no output."""
        for case, output in zip(engine.state.batch, engine.state.output, strict=False):
            self.table.add(case["name"], output["pred"].meta)
