"""The installed command, and who else may be called ``pipeline``."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import medbundle
import pipeline

_RUN = (
    "import sys; sys.path.insert(0, {0!r}); from medbundle import main; sys.argv[1:] = ['--version']; sys.exit(main())"
)


def test_the_command_is_that_of_the_distribution() -> None:
    (command,) = entry_points(group="console_scripts", name="medbundle")
    assert command.load() is medbundle.main
    assert medbundle.__version__ == pipeline.__version__


@pytest.mark.parametrize("stranger", ["pipeline.py", "pipeline/__init__.py"])
def test_another_package_called_pipeline_is_noticed_in_one_line(stranger: str, tmp_path: Path) -> None:
    path = tmp_path / stranger
    path.parent.mkdir(exist_ok=True)
    path.write_text("raise SystemExit('the wrong one was run')\n")
    run = subprocess.run(
        [sys.executable, "-c", _RUN.format(str(tmp_path))], capture_output=True, text=True, check=False
    )
    assert run.returncode == 1
    assert run.stdout == ""
    assert run.stderr.startswith(f"medbundle: {path}: is another package called pipeline. ")
    assert len(run.stderr.splitlines()) == 1


def test_a_module_is_a_command_too() -> None:
    run = subprocess.run([sys.executable, "-m", "medbundle", "--version"], capture_output=True, text=True, check=True)
    assert run.stdout == f"medbundle {pipeline.__version__}\n"


def test_a_reader_that_has_seen_enough_is_no_traceback() -> None:
    much = (
        "import importlib; main = importlib.import_module('pipeline.cli.main')\n"
        "main.parse = lambda _: print('x' * 10**6, flush=True)\n"
        "raise SystemExit(main.main([]))"
    )
    command = [sys.executable, "-c", much]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        assert run.stderr is not None
        run.stdout.close()
        assert run.stderr.read() == ""
        assert run.wait() == 141
