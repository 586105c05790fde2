from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_lower_bounds_are_those_that_are_tested() -> None:
    bounds = dict(re.findall(r'"([A-Za-z0-9-]+)>=([0-9.]+)', (ROOT / "pyproject.toml").read_text()))
    pins = dict(re.findall(r"^([A-Za-z0-9-]+)==([0-9.]+)$", (ROOT / "tests" / "lowest.txt").read_text(), re.MULTILINE))
    for tool in ("ruff", "mypy", "import-linter", "radon", "hatchling"):
        bounds.pop(tool, None)
    assert bounds.keys() == pins.keys()
    assert {name: pin for name, pin in pins.items() if not f"{pin}.".startswith(f"{bounds[name]}.")} == {}
