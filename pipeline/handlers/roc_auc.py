"""The area under the ROC curve as the metric of a validation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine
from ignite.metrics import EpochMetric

from pipeline.metrics import roc_auc

__all__ = ["RocAuc"]


class RocAuc(EpochMetric):  # type: ignore[misc]
    """Mean over the classes of the area under the ROC curve of each against the rest.

    MONAI's ``ROCAUC`` handler keeps no value per class, which the learning curves show. Classes that are absent, or the
    only ones, are left out of the mean. The values per class go to ``engine.state.metric_details``, shape (1, classes).

    Args:
        classes: the number of classes.
        output_transform: from the engine's output to probabilities (K,) and the label of each case: the index of its
            class, or (K,) zeros and ones.
    """

    def __init__(self, *, classes: int, output_transform: Callable[..., Any]) -> None:
        self.classes = classes
        super().__init__(self._per_class, output_transform=output_transform, check_compute_fn=False)

    def _per_class(self, probabilities: torch.Tensor, labels: torch.Tensor) -> list[float]:
        scores, flags = probabilities.cpu().numpy(), labels.cpu().numpy()
        if flags.ndim == 1 or flags.shape[1] != self.classes:
            flags = flags.reshape(-1, 1) == np.arange(self.classes)
        return [roc_auc(scores[:, k], flags[:, k] > 0) for k in range(self.classes)]

    def completed(self, engine: Engine, name: str) -> None:
        """Put the mean into the metrics and the values per class into the details."""
        per_class = np.asarray(self.compute(), dtype=float)
        details = getattr(engine.state, "metric_details", None) or {}
        engine.state.metric_details = {**details, name: torch.as_tensor(per_class)[None]}
        engine.state.metrics[name] = float(np.nanmean(per_class)) if np.isfinite(per_class).any() else float("nan")
