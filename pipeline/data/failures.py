"""A batch outlives its bad cases: they are recorded, the others go on."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from torch.utils.data import IterableDataset

from pipeline.data.files import Case
from pipeline.errors import CasesFailed, InputError, failure_list, one_line

__all__ = ["CaseFailures", "SurvivingCases"]

logger = logging.getLogger(__name__)


class CaseFailures:
    """Collects the cases of one run that failed, each with its reason in one line."""

    def __init__(self) -> None:
        self.reasons: dict[str, str] = {}
        self.total = 0

    def record(self, name: str, error: BaseException) -> None:
        """Note that a case failed; the first reason given for it stays."""
        self.reasons.setdefault(name, one_line(error))
        logger.debug("case %s failed", name, exc_info=error)

    def finish(self) -> None:
        """Raise what the run has to answer for, after its last case.

        Raises:
            InputError: the only case failed; its reason.
            CasesFailed: some of several cases failed; the reasons are listed on standard error before.
        """
        if not self.reasons:
            return
        if self.total == 1:
            raise InputError(next(iter(self.reasons.values())))
        sys.stderr.write(failure_list(self.reasons, total=self.total))
        raise CasesFailed(self.reasons, total=self.total)


class SurvivingCases(IterableDataset[Any]):
    """Cases of which those that cannot be loaded are recorded and passed over.

    Args:
        data: cases, each with a ``name``.
        transform: loads and preprocesses one case.
        failures: where failed cases are recorded; also told how many cases there are.
    """

    def __init__(self, *, data: Sequence[Case], transform: Callable[[Case], Any], failures: CaseFailures) -> None:
        self.data = data
        self.transform = transform
        self.failures = failures
        failures.total = len(data)

    def __iter__(self) -> Iterator[Any]:
        for case in self.data:
            loaded = self._load(case)
            if loaded is not None:
                yield loaded

    def _load(self, case: Case) -> Any:
        try:
            return self.transform(dict(case))
        except Exception as error:  # noqa: BLE001 - whatever it is, the other cases go on
            self.failures.record(case["name"], error)
            return None
