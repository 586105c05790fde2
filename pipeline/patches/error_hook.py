"""Print an error that the user can act on in one line: Python's hook shows the frames of MONAI and Ignite as well.

``python -m monai.bundle run`` is a command of MONAI's, so there is no place of ours that could catch the error.
"""

from __future__ import annotations

import sys
from types import TracebackType

from pipeline.errors import find_input_error

__all__ = ["print_input_errors_in_one_line"]


def print_input_errors_in_one_line() -> None:
    """From now on, an error that the user can act on is one line when it ends the process; others are as before."""
    before = sys.excepthook
    if getattr(before, "one_line_errors", False):
        return

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        known = find_input_error(error)
        if known is None:
            before(kind, error, trace)
        else:
            sys.stderr.write(f"medbundle: {known}\n")

    hook.one_line_errors = True  # type: ignore[attr-defined]
    sys.excepthook = hook
