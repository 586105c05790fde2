"""OpenVINO as it may be used: without its telemetry, and with one core in a process.

Each import tells Google Analytics since https://github.com/openvinotoolkit/openvino/pull/23832.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from functools import cache
from typing import Any

__all__ = ["core", "import_openvino", "openvino_is_installed"]


def openvino_is_installed() -> bool:
    """Whether there is a package ``openvino``, without the seconds that its import takes."""
    return "openvino" in sys.modules or importlib.util.find_spec("openvino") is not None


@cache
def core() -> Any:
    """One for the whole process: when a second one goes, the stack on which signals are handled goes with it.

    OpenVINO's plugin for processors sets ``sigaltstack(2)``, of which there is one a thread, and frees that memory with
    its core. Python handles signals on that stack, so that an interrupt would end in a segmentation fault.
    """
    return import_openvino().Core()


def import_openvino() -> Any:
    """OpenVINO without its telemetry: it tells Google Analytics of each import and conversion, unless it is absent."""
    if "openvino" not in sys.modules:
        modules: dict[str, Any] = sys.modules
        modules.setdefault("openvino_telemetry", None)  # Python's way to bar an import
    return importlib.import_module("openvino")
