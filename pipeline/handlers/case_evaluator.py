"""A MONAI evaluator that survives a bad case."""

from __future__ import annotations

from typing import Any

from ignite.engine import Engine
from monai.engines import SupervisedEvaluator

from pipeline.data import CaseFailures

__all__ = ["CaseEvaluator"]


class CaseEvaluator(SupervisedEvaluator):  # type: ignore[misc]
    """MONAI's ``SupervisedEvaluator``, one case at a time, where a failing case does not end the run.

    Prediction and postprocessing (saving included) of a case either succeed or are recorded; handlers see an empty
    output for a failed case.

    Args:
        failures: where failed cases are recorded.
        kwargs: as MONAI's ``SupervisedEvaluator``; the batches carry the case's ``name``.
    """

    def __init__(self, *, failures: CaseFailures, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.failures = failures

    def _iteration(self, engine: Engine, batchdata: dict[str, Any]) -> Any:
        name = batchdata["name"]
        try:
            return super()._iteration(engine, batchdata)
        except Exception as error:  # noqa: BLE001 - whatever it is, the other cases go on
            self.failures.record(name if isinstance(name, str) else name[0], error)
            engine.state.output = []
            return engine.state.output
