"""Hand each evaluated case to a table of scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from ignite.engine import Engine, Events

from pipeline.sources.kinds import is_picture

__all__ = ["ScoreCases", "ScoreClasses"]


class _Table(Protocol):
    def add(
        self,
        name: str,
        prediction: npt.ArrayLike,
        reference: npt.ArrayLike,
        *,
        patient: str | None,
        spacing_mm: Sequence[float] | None,
    ) -> None: ...


class _Gallery(Protocol):
    def add(
        self,
        name: str,
        prediction: npt.NDArray[np.uint8],
        reference: npt.NDArray[np.uint8],
        *,
        affine: npt.NDArray[np.float64] | None,
    ) -> None: ...


class _ClassTable(Protocol):
    def add(
        self, name: str, probabilities: npt.ArrayLike, reference: int | Sequence[int] | None, *, patient: str | None
    ) -> None: ...


class ScoreCases:
    """Add every case of an evaluator to a table.

    Args:
        table: takes a case's name, prediction and reference label map, patient and spacing, such as
            ``pipeline.evaluation.ScoreTable``.
        gallery: takes what a report will show, such as ``pipeline.reports.html.CaseGallery``.
    """

    def __init__(self, *, table: _Table, gallery: _Gallery | None = None) -> None:
        self.table = table
        self.gallery = gallery

    def attach(self, engine: Engine) -> None:
        """Attach to an evaluator whose postprocessing leaves ``pred`` and ``label`` as label maps on one grid."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Add the cases of one batch; a failed case has no output."""
        for case, output in zip(engine.state.batch, engine.state.output, strict=False):
            maps = _label_map(output["pred"]), _label_map(output["label"])
            spacing = _spacing_mm(output["label"])
            self.table.add(case["name"], *maps, patient=case.get("patient"), spacing_mm=spacing)
            if self.gallery is not None:
                affine = None if spacing is None else np.asarray(output["label"].affine, dtype=np.float64)
                self.gallery.add(case["name"], *maps, affine=affine)


class ScoreClasses:
    """Add every classified case of an evaluator to a table.

    Args:
        table: takes a case's name, probabilities (K,), reference and patient, such as
            ``pipeline.evaluation.ClassificationTable``.
    """

    def __init__(self, *, table: _ClassTable) -> None:
        self.table = table

    def attach(self, engine: Engine) -> None:
        """Attach to an evaluator whose postprocessing leaves ``pred`` as probabilities of shape (K,).

        ``label`` is a class number, of shape () or (1,), or K zeros and ones; it may be absent or None.
        """
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Add the cases of one batch; a failed case has no output."""
        for case, output in zip(engine.state.batch, engine.state.output, strict=False):
            probabilities = np.asarray(output["pred"].detach().cpu().float())
            reference = _reference(output.get("label"))
            self.table.add(case["name"], probabilities, reference, patient=case.get("patient"))


def _reference(label: Any) -> int | list[int] | None:
    if label is None:
        return None
    values = [int(value) for value in np.asarray(torch.as_tensor(label).detach().cpu()).ravel()]
    return values[0] if len(values) == 1 else values


def _label_map(value: Any) -> npt.NDArray[np.uint8]:
    labels: npt.NDArray[np.uint8] = np.asarray(value.detach().cpu())[0].astype(np.uint8)
    return labels


def _spacing_mm(label: Any) -> list[float] | None:
    """The voxel size of a label map of shape (1, X, Y) or (1, X, Y, Z); None for a picture, which has none."""
    affine = getattr(label, "affine", None)
    source = str(getattr(label, "meta", {}).get("filename_or_obj", ""))
    if affine is None or is_picture(source):
        return None
    columns = np.asarray(affine, dtype=np.float64)[:3, : label.ndim - 1]
    return [float(step) for step in np.linalg.norm(columns, axis=0)]
