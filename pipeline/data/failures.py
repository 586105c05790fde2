"""A batch outlives its bad cases: they are recorded, the others go on."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import zip_longest
from typing import Any, NoReturn

from torch.utils.data import IterableDataset

from pipeline.data.case_threads import CaseThreads
from pipeline.data.channels import check_case
from pipeline.data.inputs import Case
from pipeline.errors import CasesFailed, InputError, failure_list, find_input_error, is_shortage, one_line
from pipeline.writing import LONGEST_NAME_BYTES

__all__ = ["CaseFailures", "SurvivingCases"]

logger = logging.getLogger(__name__)


class CaseFailures:
    """Collects the cases of one run that failed, each with its reason in one line.

    Attributes:
        reasons: by the names of the cases, in the order of the run as far as that is known.
        total: the number of cases of the run.
    """

    def __init__(self) -> None:
        self.reasons: dict[str, str] = {}
        self.total = 0
        self._places: dict[str, int] = {}

    def expect(self, names: Sequence[str]) -> None:
        """Note which cases there are, in the order of the run."""
        self.total = len(names)
        self._places = {name: place for place, name in enumerate(names)}

    def record(self, name: str, error: BaseException) -> None:
        """Note that a case failed; the first reason given for it stays."""
        if is_shortage(error) and find_input_error(error) is None:
            cure = "Close other programs, or crop the image"
            error = InputError("not enough memory for the image", where=name, cure=cure)
        self.reasons.setdefault(name, one_line(error))
        # A case may be found unreadable before the one before it is found unwritable.
        order = sorted(self.reasons, key=lambda one: self._places.get(one, self.total))
        self.reasons = {one: self.reasons[one] for one in order}
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
        data: cases, each with a ``name``; one with a ``problem`` is not loaded, and fails for that.
        transform: loads and preprocesses one case.
        failures: where failed cases are recorded; also told which cases there are.
        case_threads: reads one case ahead; by default each is read when it is asked for.
        suffix: the longest that is put behind a case's name for the name of a file; a case that has no room for it is
            not read.
    """

    def __init__(
        self,
        *,
        data: Sequence[Case],
        transform: Callable[[Case], Any],
        failures: CaseFailures,
        case_threads: CaseThreads | None = None,
        suffix: str = "",
    ) -> None:
        self.data = data
        self.transform = transform
        self.failures = failures
        self.case_threads = case_threads
        self.suffix = suffix
        failures.expect([case["name"] for case in data])

    def __iter__(self) -> Iterator[Any]:
        begun = None
        for case, following in zip_longest(self.data, self.data[1:]):
            # In a list, so that no name here keeps the image alive while it is computed.
            loaded = self._load(case, begun or self._begin(case))
            begun = None if following is None or self.case_threads is None else self._begin(following)
            if loaded:
                yield loaded.pop()

    def _begin(self, case: Case) -> Callable[[], Any]:
        """Begin to load a case, now where there is a thread for it, or else when it is asked for."""
        if len(os.fsencode(f"{case['name']}{self.suffix}")) > LONGEST_NAME_BYTES:
            return partial(_refuse_name, case["name"], self.suffix)
        if self.case_threads is None or "problem" in case:
            return lambda: self._transformed(case)
        return self.case_threads.read(self.transform, dict(case))

    def _transformed(self, case: Case) -> Any:
        check_case(case)
        return self.transform(dict(case))

    def _load(self, case: Case, begun: Callable[[], Any]) -> list[Any]:
        try:
            return [begun()]
        except Exception as error:  # noqa: BLE001 - whatever it is, the other cases go on
            self.failures.record(case["name"], error)
            return []


def _refuse_name(name: str, suffix: str) -> NoReturn:
    raise InputError(
        "the name of the case is too long for its file",
        expected=f"at most {LONGEST_NAME_BYTES - len(suffix)} bytes",
        got=len(os.fsencode(name)),
        cure="Rename the image, or give the folder that it lies in: folders below the given one are a part of the name",
    )
