"""The workflow behind a config: a MONAI config cannot ask where it lies.

See https://github.com/Project-MONAI/MONAI/issues/4093 and https://github.com/Project-MONAI/model-zoo/issues/247.
"""

from __future__ import annotations

import sys
from types import FrameType

from monai.bundle import ConfigWorkflow

__all__ = ["running_workflow"]


def running_workflow() -> ConfigWorkflow | None:
    """The MONAI workflow that is evaluating the caller's config, if there is one.

    A config cannot ask where it lies, and ``bundle_root: "."`` follows the working directory. So the workflow is looked
    up on the call stack: MONAI evaluates configs inside its methods.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        candidate = frame.f_locals.get("self")
        if isinstance(candidate, ConfigWorkflow):
            return candidate
        frame = frame.f_back
    return None
