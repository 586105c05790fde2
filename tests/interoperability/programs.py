"""Find the programs of others that the label objects are tried with."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import NoReturn

import pytest


def find_program(name: str, *folders: str) -> str:
    """Return the path of a program beside Python's own, on the PATH or in further folders, or see :func:`missing`."""
    beside_python = str(Path(sys.executable).parent)
    found = shutil.which(name, path=os.pathsep.join([beside_python, os.environ.get("PATH", ""), *folders]))
    return found or missing(f"the program {name}")


def missing(what: str) -> NoReturn:
    """Skip for want of something; continuous integration, where everything ought to be there, fails instead."""
    reason = f"{what} is not installed"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
