"""The memory of this process."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from weakref import finalize

import torch
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["TensorPeak", "resident_bytes"]

_STATUS = Path("/proc/self/status")
_KIB = 1024
_IMPORTS_BYTES = 450e6  # torch, MONAI and a bundle, where the system does not tell


def resident_bytes() -> tuple[float, float]:
    """The resident memory of this process now, and its peak; an estimate of the first and 0 outside Linux.

    Where the address space is limited, as by ``ulimit -v``, it is the address space in use that counts.
    """
    current, peak = ("VmSize", "VmPeak") if _address_space_is_limited() else ("VmRSS", "VmHWM")
    try:
        lines = _STATUS.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return _IMPORTS_BYTES, 0.0
    values = {name: line.split()[1] for line in lines for name in (current, peak) if line.startswith(f"{name}:")}
    return float(values.get(current, 0)) * _KIB, float(values.get(peak, 0)) * _KIB


def _address_space_is_limited() -> bool:
    try:
        import resource  # POSIX only
    except ImportError:
        return False
    return resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY


class TensorPeak(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """The most bytes that tensors made inside a block have at a time.

    Attributes:
        bytes: that are alive.
        peak: the most there were.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes = self.peak = 0
        self._alive: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for one in result if isinstance(result, (list, tuple)) else [result]:
            if isinstance(one, torch.Tensor):
                self._note(one.untyped_storage())
        return result

    def _note(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self._alive:
            return
        self._alive.add(key)
        self.bytes += size
        self.peak = max(self.peak, self.bytes)
        finalize(storage, self._forget, key, size)

    def _forget(self, key: int, size: int) -> None:
        self._alive.discard(key)
        self.bytes -= size
