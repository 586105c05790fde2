"""The time to read a DICOM series, side by side with other readers.

``python -m benchmarks.dicom_reading`` writes 300 slices of 512x512 int16 into a temporary folder and prints the medians
of alternating runs, each reader in a process of its own for each run. ``raw`` reads the bytes of the files and
``touch`` fills a float32 volume with a number: the least that any reader takes.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.uid import JPEG2000Lossless

from benchmarks.bounded_memory import peak_mb
from pipeline.data.phantoms import Phantom, make_phantom, write_phantom_dicom

SHAPE = (512, 512, 300)
J2K_SLICES = 60


def _raw(folder: str) -> Any:
    return sum(len(path.read_bytes()) for path in sorted(Path(folder).iterdir()))


def _touch(folder: str) -> Any:
    return np.full((len(list(Path(folder).iterdir())), 512, 512), 1, dtype=np.float32)


def _medpipe(dtype: Any) -> Callable[[str], Any]:
    from pipeline.dicom import choose, load, scan

    return lambda folder: load(choose(scan(folder)), dtype=dtype)


def _headers() -> Callable[[str], Any]:
    from pipeline.dicom import scan

    return scan


def _simpleitk() -> Callable[[str], Any]:
    import SimpleITK as sitk  # noqa: N813

    def read(folder: str) -> Any:
        reader = sitk.ImageSeriesReader()
        reader.SetFileNames(reader.GetGDCMSeriesFileNames(folder))
        return sitk.GetArrayFromImage(reader.Execute())

    return read


def _monai(name: str) -> Callable[[str], Any]:
    import monai.data

    def read(folder: str) -> Any:
        reader = getattr(monai.data, name)()
        return reader.get_data(reader.read(folder))

    return read


READERS: dict[str, Callable[[], Callable[[str], Any]]] = {
    "raw": lambda: _raw,
    "touch": lambda: _touch,
    "medpipe, headers alone": _headers,
    "medpipe, float32": lambda: _medpipe(np.float32),
    "medpipe, int16": lambda: _medpipe(np.int16),
    "SimpleITK ImageSeriesReader": _simpleitk,
    "MONAI ITKReader": lambda: _monai("ITKReader"),
    "MONAI PydicomReader": lambda: _monai("PydicomReader"),
}


def _measure(name: str, folder: str) -> None:
    """Print seconds and MB of memory that one reading takes, imports apart."""
    read = READERS[name]()
    before = peak_mb()  # of this process: getrusage has the parent's before the start
    began = time.perf_counter()
    kept = read(folder)
    seconds = time.perf_counter() - began
    megabytes = peak_mb() - before
    del kept
    print(json.dumps([seconds, megabytes]))


def _in_a_process(name: str, folder: Path) -> tuple[float, float]:
    command = [sys.executable, "-m", "benchmarks.dicom_reading", "--reader", name, "--folder", str(folder)]
    answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1]
    seconds, megabytes = json.loads(answer)
    return seconds, megabytes


def _write(folder: Path, slices: int) -> Path:
    small = make_phantom(1, shape=(64, 64, 4))
    image = np.tile(small.image, (SHAPE[0] // 64, SHAPE[1] // 64, -(-slices // 4)))[:, :, :slices]
    return write_phantom_dicom(Phantom(1, image, small.labels, (0.7, 0.7, 1.0)), folder)


def _table(folder: Path, names: list[str], rounds: int) -> list[str]:
    runs: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for _ in range(rounds):
        for name in names:
            runs[name].append(_in_a_process(name, folder))
    lines = ["| reader | seconds | memory (MB) |", "|---|---:|---:|"]
    for name, values in runs.items():
        seconds, megabytes = (statistics.median(column) for column in zip(*values, strict=True))
        lines.append(f"| {name} | {seconds:.2f} | {megabytes:.0f} |")
    return lines


def main() -> None:
    """Write the series, read them in turns and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--reader")
    parser.add_argument("--folder")
    options = parser.parse_args()
    if options.reader:
        _measure(options.reader, options.folder)
        return
    with tempfile.TemporaryDirectory() as temporary:
        plain = _write(Path(temporary) / "plain", SHAPE[2])
        print(f"{SHAPE[2]} slices of 512x512 int16, medians of {options.rounds} alternating runs\n")
        print("\n".join(_table(plain, list(READERS), options.rounds)), flush=True)
        packed = _write(Path(temporary) / "jpeg2000", J2K_SLICES)
        for path in packed.iterdir():
            dataset = pydicom.dcmread(path)
            dataset.compress(JPEG2000Lossless, generate_instance_uid=False)
            dataset.save_as(path)
        print(f"\n{J2K_SLICES} such slices in JPEG 2000\n")
        names = ["medpipe, float32", "SimpleITK ImageSeriesReader"]
        print("\n".join(_table(packed, names, options.rounds)))


if __name__ == "__main__":
    main()
