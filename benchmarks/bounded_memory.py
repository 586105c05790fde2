"""Peak memory and CPU seconds of sliding windows with many classes: MONAI's dense path against ``StreamingInferer``.

``python -m benchmarks.bounded_memory`` prints a Markdown table; every number comes from a process of its own, whose
address space is limited. The network is one 1x1x1 convolution, so that the seconds are those of everything else; the
peak is from the loaded and resampled volume on.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

WINDOW, OVERLAP = 64, 0.25
CASES = [(3, 128, 128, 128), (30, 128, 128, 128), (118, 128, 128, 128), (3, 256, 256, 160), (30, 256, 256, 160),
         (118, 256, 256, 160)]  # fmt: skip
LIMIT_GB = 6.0


def peak_mb() -> float:
    """The largest resident set of this process so far, in units of 10 ** 6 bytes."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024 / 1e6
    except (OSError, StopIteration):
        # Not on Linux, where this number also holds what the parent had before the start.
        usage = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return usage / 1e6 if sys.platform == "darwin" else usage * 1024 / 1e6


def forget_peak() -> None:
    """Let :func:`peak_mb` begin anew, on Linux: what is freed is given back first (proc(5), clear_refs)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def measure(who: str, classes: int, size: tuple[int, ...]) -> dict[str, Any]:
    """Label a volume of 0.8 x 0.8 x 1.0 mm with a network for 1 mm, by one of the two ways."""
    import torch
    from monai.data import MetaTensor, decollate_batch, list_data_collate
    from monai.inferers import SlidingWindowInferer
    from monai.transforms import AsDiscreted, Compose, Invertd, Orientationd, Spacingd

    from pipeline.inferers import StreamingInferer

    torch.manual_seed(0)
    affine = torch.diag(torch.tensor([-0.8, -0.8, 1.0, 1.0], dtype=torch.float64))
    labels = [["L", "R"], ["P", "A"], ["I", "S"]]
    before = Compose([Orientationd("image", "RAS", labels=labels), Spacingd("image", (1.0, 1.0, 1.0))])
    batch = list_data_collate([before({"image": MetaTensor(torch.rand(1, *size), affine=affine)})])
    network = torch.nn.Conv3d(1, classes, 1)
    layout = {"roi_size": (WINDOW,) * 3, "overlap": OVERLAP, "mode": "gaussian"}
    forget_peak()
    start_mb, began = peak_mb(), time.process_time()
    with torch.no_grad():
        if who == "dense":
            batch["pred"] = SlidingWindowInferer(**layout)(batch["image"], network)
            (case,) = decollate_batch(batch)
            del batch
            case = Invertd("pred", before, "image", nearest_interp=False)(case)
            result = AsDiscreted("pred", argmax=True)(case)["pred"]
        else:
            (result,) = decollate_batch(StreamingInferer(out_channels=classes, **layout)(batch["image"], network))
    seconds, peak = time.process_time() - began, peak_mb()
    # Equal sums in two processes mean equal labels, almost certainly.
    checksum = int((result.long().flatten() * (torch.arange(result.numel()) % 997)).sum())
    return {"seconds": seconds, "peak_mb": peak, "start_mb": start_mb, "checksum": checksum}


def limited(gigabytes: float) -> None:
    """Let this process have no more address space than that."""
    size = int(gigabytes * 1e9)
    resource.setrlimit(resource.RLIMIT_AS, (size, size))


def apart(*arguments: str) -> dict[str, Any] | None:
    """What a process of its own measures; nothing where its memory is not enough."""
    command = [sys.executable, "-m", "benchmarks.bounded_memory", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return json.loads(done.stdout.splitlines()[-1])
    if "MemoryError" in done.stderr or "alloc" in done.stderr:
        return None
    raise RuntimeError(done.stderr)


def table() -> None:
    """Print the comparison, row by row."""
    print(
        "| classes | voxels | dense (MB) | streaming (MB) | dense (CPU s) | streaming (CPU s) | labels |\n"
        f"{'|---:' * 6}|---|"
    )
    for classes, *size in CASES:
        row = [apart("--one", who, str(classes), *map(str, size)) for who in ("dense", "streaming")]
        peaks = [f"> {1000 * LIMIT_GB:.0f}" if one is None else f"{one['peak_mb']:.0f}" for one in row]
        seconds = ["-" if one is None else f"{one['seconds']:.1f}" for one in row]
        dense, streaming = row
        same = "-" if dense is None or streaming is None else str(dense["checksum"] == streaming["checksum"])
        cells = [str(classes), " x ".join(map(str, size)), *peaks, *seconds, same]
        print(f"| {' | '.join(cells)} |", flush=True)


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--one", nargs=5, metavar=("WHO", "CLASSES", "X", "Y", "Z"), help="a single process")
    options = parser.parse_args()
    if options.one:
        limited(LIMIT_GB)
        who, *numbers = options.one
        classes, *size = map(int, numbers)
        print(json.dumps(measure(who, classes, tuple(size))))
    else:
        table()


if __name__ == "__main__":
    main()
