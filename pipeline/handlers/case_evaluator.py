"""A MONAI evaluator that survives a bad case."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

from ignite.engine import Engine
from monai.engines import SupervisedEvaluator

from pipeline.data import CaseFailures, CaseThreads

__all__ = ["CaseEvaluator"]


class CaseEvaluator(SupervisedEvaluator):  # type: ignore[misc]
    """MONAI's ``SupervisedEvaluator``, one case at a time, where a failing case does not end the run.

    Prediction and postprocessing (saving included) of a case either succeed or are recorded; handlers see an empty
    output for a failed case. One whose writing fails in the background is recorded later, and they see its output.

    Args:
        failures: where failed cases are recorded.
        case_threads: read and write cases while others are computed; the run ends when they are done.
        kwargs: as MONAI's ``SupervisedEvaluator``; the batches carry the case's ``name``.
    """

    def __init__(self, *, failures: CaseFailures, case_threads: CaseThreads | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.failures = failures
        self.case_threads = case_threads

    def run(self) -> None:
        """Run over all cases."""
        with self.case_threads or nullcontext():
            super().run()

    def _iteration(self, engine: Engine, batchdata: dict[str, Any]) -> Any:
        name = batchdata["name"]
        try:
            return super()._iteration(engine, batchdata)
        except Exception as error:  # noqa: BLE001 - whatever it is, the other cases go on
            self.failures.record(name if isinstance(name, str) else name[0], error)
            engine.state.output = []
            return engine.state.output
