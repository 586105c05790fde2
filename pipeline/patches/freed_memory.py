"""What glibc does with freed memory: networks free and allocate the same large tensors at every step.

PyTorch leaves this to the allocator that it is linked with: https://github.com/pytorch/pytorch/pull/53715.
"""

from __future__ import annotations

import ctypes
import sys

__all__ = ["keep_freed_memory", "return_freed_memory"]

# mallopt(3) of glibc, and what to keep: a GiB, or blocks of that size; where memory is short a few of the blocks that
# labels are made in, because the kernel would zero the pages of each anew.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEPT_BYTES = 2**30
_KEPT_OF_LITTLE_BYTES = 2**24


def keep_freed_memory() -> bool:
    """Tell glibc not to give freed blocks of up to 1 GiB back to the system between steps.

    By default each tensor over 32 MB is mapped anew and its pages are zeroed by the kernel at every step; where page
    faults are dear, as in a virtual machine, that has taken many times longer than the arithmetic. See ``mallopt(3)``.

    Returns:
        Whether it was done; it is not on systems without glibc, whose allocators behave differently.
    """
    return _set_thresholds(_KEPT_BYTES)


def return_freed_memory() -> None:
    """Tell glibc to give freed blocks over 16 MiB back to the system, for runs that must keep to a limit."""
    if _set_thresholds(_KEPT_OF_LITTLE_BYTES):
        ctypes.CDLL(None).malloc_trim(0)


def _set_thresholds(size: int) -> bool:
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, size)) and bool(mallopt(_M_TRIM_THRESHOLD, size))
