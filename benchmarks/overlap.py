"""Many cases, one after the other or overlapped: ``python -m benchmarks.overlap``.

Overlapped is what ``medbundle segment FOLDER`` does: while a case is computed, the next one is read and preprocessed in
one thread and the last one is written in another. In turn is the same code with ``case_threads`` set to None. The
cases are small ones for the hippocampus bundle, of its data set with ``--data``, and larger made-up ones, compressed
NIfTI, for a small network with random weights. Minima of alternating runs, each a process of its own; imports do not
count.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.bounded_memory import peak_mb
from benchmarks.first_mask import BUNDLE
from benchmarks.whole_pipeline import write_bundle, write_volume

WAYS = ("in turn", "overlapped")
SMALL = (35, 50, 36)
HEAD = ("cases", "in turn (s)", "overlapped (s)", "in turn / overlapped", "in turn (CPU s)", "overlapped (CPU s)",
        "in turn (MB)", "overlapped (MB)")  # fmt: skip


def one(way: str, bundle: Path, folder: Path, out: Path, threads: int) -> dict[str, float]:
    """Seconds and peak memory of one run over a folder."""
    import torch

    from pipeline.bundle import run_workflow
    from pipeline.bundle.applying import applied, open_inference

    torch.set_num_threads(threads)
    began, cpu_began = time.perf_counter(), time.process_time()
    workflow = open_inference(
        folder,
        bundle=bundle,
        task="segmentation",
        output_dir=out,
        series=None,
        weights=None,
        in_turn=way == WAYS[0],
    )
    run_workflow(workflow)
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu_began
    return {"seconds": seconds, "cpu": cpu, "peak_mb": peak_mb(), "cases": len(applied(workflow, out).cases)}


def measure(bundle: Path, folder: Path, rounds: int, threads: int) -> dict[str, dict[str, float]]:
    """Minima of both ways, in alternating runs."""
    runs: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for turn in range(rounds):
        for way in WAYS if turn % 2 == 0 else WAYS[::-1]:
            with tempfile.TemporaryDirectory() as out:
                arguments = [way, str(bundle), str(folder), out, str(threads)]
                command = [sys.executable, "-m", "benchmarks.overlap", "--one", *arguments]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
            runs[way].append(json.loads(done.stdout.splitlines()[-1]))
    return {way: {key: min(run[key] for run in results) for key in results[0]} for way, results in runs.items()}


def sets(options: argparse.Namespace, folder: Path) -> Iterator[tuple[str, Path, Path]]:
    """What the cases are, their bundle and their folder."""
    small = folder / "small"
    small.mkdir()
    images = sorted((options.data / "imagesTr").glob("[!.]*.nii.gz")) if options.data is not None else []
    for number in range(options.cases):
        target = small / f"case{number:03d}.nii.gz"
        if images:
            shutil.copyfile(images[number % len(images)], target)
        else:
            write_volume(target, SMALL)
    yield "hippocampi" if images else f"of {' x '.join(map(str, SMALL))}", BUNDLE, small
    bundle = write_bundle(folder, 3, options.filters)
    for size in options.sizes:
        large = folder / size
        large.mkdir()
        first = write_volume(large / "case0.nii.gz", tuple(map(int, size.split("x"))))
        for number in range(1, options.volumes):
            shutil.copyfile(first, large / f"case{number}.nii.gz")
        yield f"of {size.replace('x', ' x ')}", bundle, large


def arguments(parser: argparse.ArgumentParser) -> None:
    """What can be chosen."""
    parser.add_argument("--data", type=Path, help="the folder Task04_Hippocampus")
    parser.add_argument("--cases", type=int, default=40, help="small ones")
    parser.add_argument("--volumes", type=int, default=6, help="larger ones, of each size")
    parser.add_argument("--sizes", nargs="*", default=["256x256x200"], help="of the larger ones")
    parser.add_argument("--filters", nargs="+", type=int, default=[8, 16, 32], help="of the network for these")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)


def table(options: argparse.Namespace) -> str:
    """The table as Markdown."""
    lines = [
        f"| {' | '.join(HEAD)} |",
        f"|---|{'---:|' * (len(HEAD) - 1)}",
    ]
    with tempfile.TemporaryDirectory() as name:
        for what, bundle, folder in sets(options, Path(name)):
            results: dict[str, Any] = measure(bundle, folder, options.rounds, options.threads)
            turn, overlapped = (results[way] for way in WAYS)
            cells = [f"{turn['cases']:.0f} {what}", *(f"{one['seconds']:.2f}" for one in (turn, overlapped))]
            cells += [f"{turn['seconds'] / overlapped['seconds']:.2f}"]
            cells += [f"{one['cpu']:.2f}" for one in (turn, overlapped)]
            cells += [f"{one['peak_mb']:.0f}" for one in (turn, overlapped)]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Print the table, or one run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments(parser)
    parser.add_argument("--one", nargs=5, metavar=("WAY", "BUNDLE", "FOLDER", "OUT", "THREADS"), help="a single run")
    options = parser.parse_args()
    if options.one:
        way, bundle, folder, out, threads = options.one
        print(json.dumps(one(way, Path(bundle), Path(folder), Path(out), int(threads))))
        return
    print(table(options))


if __name__ == "__main__":
    main()
