"""Peak memory of sliding windows for many classes, over sizes up to 512 x 512 x 300: ``python -m benchmarks.memory``.

Wraps ``benchmarks.bounded_memory``: MONAI's dense path against ``StreamingInferer``, with a network of one 1x1x1
convolution, each number from a process of its own.
"""

from __future__ import annotations

import argparse
from typing import Any

from benchmarks.bounded_memory import LIMIT_GB, apart

SIZES = ("128x128x75", "256x256x150", "384x384x225", "512x512x300")
CLASSES = (3, 30, 118)
WAYS = ("dense", "streaming")
HEAD = ("voxels", "classes", "dense (MB)", "streaming (MB)", "dense (CPU s)", "streaming (CPU s)", "same labels")


def row(size: str, classes: int, given_up: set[int]) -> str:
    """One size as a line of the table; what was too much for the dense path is not tried on a larger volume."""
    found: dict[str, dict[str, Any] | None] = {}
    for way in WAYS:
        skipped = way == "dense" and classes in given_up
        found[way] = None if skipped else apart("--one", way, str(classes), *size.split("x"))
    dense, streaming = (found[way] for way in WAYS)
    if dense is None:
        given_up.add(classes)
    peaks = [f"> {1000 * LIMIT_GB:.0f}" if one is None else f"{one['peak_mb']:.0f}" for one in (dense, streaming)]
    seconds = ["-" if one is None else f"{one['seconds']:.1f}" for one in (dense, streaming)]
    same = "-" if dense is None or streaming is None else str(dense["checksum"] == streaming["checksum"])
    return f"| {' | '.join([size.replace('x', ' x '), str(classes), *peaks, *seconds, same])} |"


def main() -> None:
    """Print the table and a sentence."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=list(SIZES), help="voxels, such as 512x512x300; smallest first")
    parser.add_argument("--classes", nargs="+", type=int, default=list(CLASSES), help="background included")
    options = parser.parse_args()
    print(
        f"Each process has an address space of {LIMIT_GB:g} GB; the peak is its resident memory, PyTorch and the "
        f"volume included, from the resampled volume to its labels.\n"
    )
    print(f"| {' | '.join(HEAD)} |\n|---|{'---:|' * (len(HEAD) - 2)}---|")
    given_up: set[int] = set()
    for size in options.sizes:
        for classes in options.classes:
            print(row(size, classes, given_up), flush=True)


if __name__ == "__main__":
    main()
