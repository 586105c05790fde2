"""Compressed frames, decoded by several processes at a time."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from pydicom.uid import UID, RLELossless

from pipeline.dicom.reading import decoding_worker
from pipeline.dicom.reading.pixels import stored_values, unpacked

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pipeline.dicom.reading.header import Header

__all__ = ["for_each_frame"]

Array: TypeAlias = "np.ndarray[tuple[int, ...], np.dtype[Any]]"

_FEWEST_FRAMES = 24  # a process takes as long to start as the decoding of about so many
_MOST_PROCESSES = 8


def for_each_frame(headers: Sequence[Header], use: Callable[[int, Array], None]) -> None:
    """Call ``use`` with the index and the stored values (row, column) of each frame, in any order.

    ``use`` may be called from several threads at a time, each with another index.

    Raises:
        InputError: a frame cannot be decoded.
    """
    processes = _processes(headers)
    if processes < 2:  # noqa: PLR2004
        for index, header in enumerate(headers):
            use(index, stored_values(header))
        return
    indices = iter(range(len(headers)))
    lock = threading.Lock()

    def work() -> None:
        with _Worker() as worker:
            while True:
                with lock:
                    index = next(indices, None)
                if index is None:
                    return
                use(index, worker.stored_values(headers[index]))

    with ThreadPoolExecutor(processes) as threads:
        for done in [threads.submit(work) for _ in range(processes)]:
            done.result()


def _processes(headers: Sequence[Header]) -> int:
    """Return how many processes are worth it: none for native and RLE values, which are quick to read."""
    slow = sum(
        header.pixel_offset is None
        and UID(header.transfer_syntax_uid).is_encapsulated
        and header.transfer_syntax_uid != RLELossless
        for header in headers
        if header.transfer_syntax_uid
    )
    if slow < _FEWEST_FRAMES or not sys.executable or multiprocessing.current_process().daemon:
        return 0  # a daemon is a worker of a DataLoader, beside which others decode already
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(available, _MOST_PROCESSES, slow // (_FEWEST_FRAMES // 2))


class _Worker:
    """One process that decodes; whatever it cannot do is done here."""

    def __enter__(self) -> _Worker:
        self._process: subprocess.Popen[bytes] | None = None
        with contextlib.suppress(OSError):
            self._process = subprocess.Popen(  # noqa: S603 - our own file
                [sys.executable, decoding_worker.__file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()

    def stored_values(self, header: Header) -> Array:
        array = None
        with contextlib.suppress(OSError, ValueError, TypeError):
            array = self._ask(header)
        return stored_values(header) if array is None else unpacked(header, array)

    def _ask(self, header: Header) -> Array | None:
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            return None
        process.stdin.write(json.dumps([str(header.path.absolute()), header.frame]).encode() + b"\n")
        process.stdin.flush()
        dtype, shape = json.loads(process.stdout.readline())
        array = np.empty(shape, dtype=dtype)
        view = array.reshape(-1).view(np.uint8).data
        if process.stdout.readinto(view) != len(view):  # type: ignore[attr-defined]
            return None
        return array
