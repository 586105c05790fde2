"""Run the benchmarks and write their tables to ``benchmarks/README.md``.

``python -m benchmarks IMAGE`` takes any NIfTI volume that the hippocampus bundle can segment; ``--nnunet VENV`` and the
other options are those of ``benchmarks.whole_pipeline``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

from benchmarks import whole_pipeline

ROUNDS = 5
PHASES = ("import", "load", "network", "save", "rest", "total")


def first_mask(image: Path) -> dict[str, dict[str, float]]:
    """Medians over alternating runs of medpipe and stock MONAI, after one run of each that is not counted."""
    runs: dict[str, list[dict[str, float]]] = {"medpipe": [], "stock": []}
    for _ in range(ROUNDS + 1):
        for who, results in runs.items():
            with tempfile.TemporaryDirectory() as out:
                command = [sys.executable, "-m", "benchmarks.first_mask", who, str(image), out]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                results.append(json.loads(done.stdout.splitlines()[-1]))
    keys = (*PHASES, "peak_mb")
    return {
        who: {key: statistics.median(run[key] for run in results[1:]) for key in keys} for who, results in runs.items()
    }


def help_seconds() -> float:
    """Median wall time of ``medpipe --help``."""
    seconds = []
    for _ in range(ROUNDS + 1):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-m", "pipeline.cli", "--help"], capture_output=True, check=True)
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds[1:])


PAGE = """\
# Benchmarks

`python -m benchmarks IMAGE` measures everything again and writes this page. Read the ratios: seconds depend on the
machine and on what else it does.

Commit {commit}, {cores} cores, {machine}, Python {python}, torch {torch}, MONAI {monai}; medians of {rounds}
alternating runs.

## One volume from a cold start to a saved mask

The hippocampus bundle on one volume of its data set, a new process for each run: medpipe against stock MONAI parts
(float32, `SaveImaged`) with the same weights, window and mirroring. `load` is reading and preprocessing.

| | medpipe | stock MONAI | ratio |
|---|---:|---:|---:|
{rows}

`medpipe --help` answers in {help_seconds:.2f} s.
"""


def page(image: Path) -> str:
    """The benchmarks as Markdown."""
    result = first_mask(image)
    ours, stock = result["medpipe"], result["stock"]
    units = [(phase, "s", 2) for phase in PHASES] + [("peak_mb", "MB", 0)]
    rows = [
        f"| {key.removesuffix('_mb')} ({unit}) | {ours[key]:.{digits}f} | {stock[key]:.{digits}f} "
        f"| {ours[key] / stock[key]:.2f} |"
        for key, unit, digits in units
    ]
    git = shutil.which("git") or "git"
    commit = subprocess.run([git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout
    return PAGE.format(
        commit=commit.strip() or "unknown",
        cores=os.cpu_count(),
        machine=platform.machine(),
        python=platform.python_version(),
        torch=version("torch"),
        monai=version("monai"),
        rounds=ROUNDS,
        rows="\n".join(rows),
        help_seconds=help_seconds(),
    )


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("image", type=Path)
    whole_pipeline.arguments(parser)
    options = parser.parse_args()
    text = page(options.image) + "\n" + whole_pipeline.section(options)[0]
    Path(__file__).with_name("README.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
