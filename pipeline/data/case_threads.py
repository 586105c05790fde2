"""Read the next case and write the last one while a case is computed."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Protocol

import torch

from pipeline.data.inputs import Case

__all__ = ["CaseThreads"]


_SWITCH_S = 0.0005
_SHARE = 4  # of PyTorch's threads one in so many is for each of the two beside the network


class _Failures(Protocol):
    def record(self, name: str, error: BaseException) -> None: ...


class CaseThreads:
    """A thread that reads one case ahead, and a thread that writes one case behind.

    MONAI's ``ThreadDataLoader`` would hold two images ahead, one in its buffer and one in the hand of its thread, asks
    a hundred times a second whether there is a next one, and ends in silence where its thread fails.

    A single case has nothing to overlap with: it is read and written by the thread that computes it.

    Args:
        cases: of the run.
        failures: where the case is recorded whose writing fails.
        fits: whether a case may be read while another is in memory; asked in the reading thread. One that may not is
            read when the other is done. By default all fit.
    """

    def __init__(
        self, *, cases: Sequence[Case], failures: _Failures, fits: Callable[[Case], bool] | None = None
    ) -> None:
        self.failures = failures
        self.fits = fits
        self.active = len(cases) > 1
        self._reader: ThreadPoolExecutor | None = None
        self._writer: ThreadPoolExecutor | None = None
        self._written: tuple[str, Future[object]] | None = None
        self._torch_threads = 1
        self._undo = ExitStack()

    def __enter__(self) -> CaseThreads:
        """Begin a run."""
        # Where two threads change and restore the filters of warnings at a time, one restores those of the other.
        self._undo.enter_context(warnings.catch_warnings())
        if self.active:
            # The network waits for the interpreter's lock after each of its operations, by default 5 ms at the most.
            self._undo.callback(sys.setswitchinterval, sys.getswitchinterval())
            sys.setswitchinterval(_SWITCH_S)
            # Two teams of OpenMP threads on the same cores wait for each other at every operation. To ask for the
            # number also settles it for this thread, which would else take over what the next one sets for itself.
            self._torch_threads = torch.get_num_threads()
            self._undo.callback(torch.set_num_threads, self._torch_threads)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let what is being written end well, and forget what was read and not asked for."""
        with self._undo:
            if self._reader is not None:
                self._reader.shutdown(wait=True, cancel_futures=True)
            self._settle()
            if self._writer is not None:
                self._writer.shutdown(wait=True)
            self._reader = self._writer = None

    def read(self, load: Callable[[Case], Any], case: Case) -> Callable[[], Any]:
        """Begin to read a case in the background.

        Args:
            load: reads and preprocesses it.
            case: the next one.

        Returns:
            What waits for the loaded case and gives it, or raises what ``load`` raised; to be called once.
        """
        if not self.active:
            return lambda: load(case)
        if self._reader is None:
            self._reader = self._thread("read")
        begun = [self._reader.submit(self._ahead, load, case)]

        def wait() -> Any:
            loaded = begun.pop().result()  # the future would keep the image alive
            return load(case) if loaded is None else loaded[0]

        return wait

    def write(self, name: str, save: Callable[[], object]) -> None:
        """Write a case in the background, as soon as the one before it is written.

        Args:
            name: the case under which a failure is recorded.
            save: writes it.
        """
        self._settle()
        if self._writer is None:
            self._writer = self._thread("write")
        self._written = name, self._writer.submit(save)

    def _thread(self, name: str) -> ThreadPoolExecutor:
        threads = max(1, self._torch_threads // _SHARE)
        return ThreadPoolExecutor(1, name, initializer=torch.set_num_threads, initargs=(threads,))

    def _ahead(self, load: Callable[[Case], Any], case: Case) -> tuple[Any] | None:
        return None if self.fits is not None and not self.fits(case) else (load(case),)

    def _settle(self) -> None:
        """Wait for the case that is being written."""
        if self._written is None:
            return
        (name, future), self._written = self._written, None
        try:
            future.result()
        except Exception as error:  # noqa: BLE001 - whatever it is, the other cases go on
            self.failures.record(name, error)
