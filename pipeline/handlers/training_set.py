"""A training set as a set: what no case shows cannot be learnt."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
from ignite.engine import Engine, Events
from monai.data import CacheDataset

from pipeline.errors import InputError

__all__ = ["CheckTrainingSet"]

logger = logging.getLogger(__name__)


class CheckTrainingSet:
    """Refuse, before the first epoch, a training set in which a label of the plan does not occur.

    Args:
        dataset: of the training; its cached cases have the label map, or the class, before anything is random.
        labels: the name of each label value, or of each class. The keys may be strings, as JSON has them.
        key: of the label.

    Raises:
        InputError: no case shows a label, or none shows any; when the engine starts.
    """

    def __init__(self, *, dataset: CacheDataset, labels: Mapping[str | int, str], key: str = "label") -> None:
        self.dataset = dataset
        self.labels = {int(value): name for value, name in labels.items()}
        self.key = key

    def attach(self, engine: Engine) -> None:
        """Check when the engine starts."""
        engine.add_event_handler(Events.STARTED, self)

    def __call__(self, engine: Engine) -> None:  # noqa: ARG002 - ignite's interface
        """Count the cases that show each label."""
        known = {id(case): cached for case, cached in zip(self.dataset.data, self.dataset._cache, strict=False)}
        cases = [case for case in known.values() if isinstance(case, Mapping) and self.key in case]
        if not cases or len(cases) < len({id(case) for case in self.dataset.data}):  # some of them are not known yet
            return
        shown = Counter(value for case in cases for value in self._values(case[self.key]))
        absent = {value: name for value, name in self.labels.items() if not shown[value]}
        if len(absent) == len(self.labels):
            raise InputError(
                f"no label occurs in any of the {len(cases)} training cases, so that nothing can be learnt",
                expected=", ".join(f"{value} {name}" for value, name in self.labels.items()),
                cure="Look at the label maps: they are empty, or their values are not those of plan.yaml",
            )
        for value, name in absent.items():
            raise InputError(
                f"label {value} {name} occurs in none of the {len(cases)} training cases, so that it cannot be learnt",
                cure="Add cases that show it, or take it out of plan.yaml and build the bundle again",
            )
        rare = ", ".join(f"{self.labels[value]} in {shown[value]}" for value in self.labels)
        logger.info("of %d training cases show: %s", len(cases), rare)

    def _values(self, label: Any) -> set[int]:
        """The labels that a case shows: values of a map, or its class, or its flags of several classes."""
        values = np.asarray(label)
        if values.ndim <= 1 and values.size == len(self.labels) > 1:
            return {int(index) for index in np.flatnonzero(values)}
        return {int(value) for value in np.unique(values)}
