"""Hand each evaluated case to a table of scores."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from ignite.engine import Engine, Events

__all__ = ["ScoreCases"]


class _Table(Protocol):
    def add(self, name: str, prediction: npt.ArrayLike, reference: npt.ArrayLike) -> None: ...


class ScoreCases:
    """Add every case of an evaluator to a table.

    Args:
        table: takes a case's name, prediction and reference label map, such as ``pipeline.evaluation.ScoreTable``.
    """

    def __init__(self, *, table: _Table) -> None:
        self.table = table

    def attach(self, engine: Engine) -> None:
        """Attach to an evaluator whose postprocessing leaves ``pred`` and ``label`` as label maps on one grid."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Add the cases of one batch; a failed case has no output."""
        for case, output in zip(engine.state.batch, engine.state.output, strict=False):
            self.table.add(case["name"], _label_map(output["pred"]), _label_map(output["label"]))


def _label_map(value: Any) -> npt.NDArray[np.uint8]:
    labels: npt.NDArray[np.uint8] = np.asarray(value.detach().cpu())[0].astype(np.uint8)
    return labels
