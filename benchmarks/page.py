"""The page that ``python -m benchmarks`` writes: sections, each with when and where it was measured."""

from __future__ import annotations

import datetime as dt
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pipeline.writing import whole_file

__all__ = ["read_page", "stamp", "write_page"]

_MARK = re.compile(r"^<!-- section ([\w-]+) -->$", re.MULTILINE)
_HEAD = """\
# Benchmarks

`python -m benchmarks` measures everything again and writes this page; `--only NAME ...` measures some sections and
keeps the others, `--quick` tries them at small sizes. Read the ratios: seconds depend on the machine and on what else
it does.
"""


def read_page(path: Path) -> dict[str, str]:
    """The sections of an earlier page by name; what stands outside of sections is not kept."""
    if not path.is_file():
        return {}
    parts = _MARK.split(path.read_text(encoding="utf-8"))[1:]
    return {name: text.strip() for name, text in zip(parts[::2], parts[1::2], strict=True)}


def write_page(path: Path, sections: Mapping[str, str]) -> None:
    """Write sections in their order: the whole file or nothing."""
    marked = [f"<!-- section {name} -->\n\n{text.strip()}\n" for name, text in sections.items()]
    with whole_file(path) as temporary:
        temporary.write_text("\n".join([_HEAD, *marked]), encoding="utf-8")


def stamp(libraries: Sequence[str], *, minutes: float) -> str:
    """When, where and with what a section was measured."""
    others = (":/", ":(exclude,top)benchmarks/*.md")  # than the pages that are being written
    changed = " with changes" if _git("status", "--porcelain", "--untracked-files=no", "--", *others) else ""
    return (
        f"{dt.datetime.now(tz=dt.timezone.utc):%Y-%m-%d}, commit {_git('rev-parse', '--short', 'HEAD')}"
        f"{changed}, {os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, "
        f"{', '.join(map(_versioned, libraries))}; {minutes:.1f} minutes."
    )


def _versioned(name: str) -> str:
    try:
        return f"{name} {version(name)}"
    except PackageNotFoundError:
        return f"no {name}"


def _git(*arguments: str) -> str:
    command = [shutil.which("git") or "git", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parent)
    return done.stdout.strip() if done.returncode == 0 else "unknown"
