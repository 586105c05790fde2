"""The time to read a DICOM series, side by side with other readers.

``python -m benchmarks.dicom_reading`` writes slices of 512x512 int16 into a temporary folder, 300 in the largest,
and prints the medians of alternating runs, each reader in a process of its own for each run. ``raw`` reads the
bytes of the files and ``touch`` fills a float32 volume with a number: the least that any reader takes. dicom2nifti may
be in a folder of its own, ``--dicom2nifti``: a virtual environment, or what ``pip install --target`` made.
"""

from __future__ import annotations

import argparse
import importlib.util
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

PLANE, SLICES = (512, 512), (40, 100, 200, 300)
J2K_SLICES = 60


def _raw(folder: str) -> Any:
    return sum(len(path.read_bytes()) for path in sorted(Path(folder).iterdir()))


def _touch(folder: str) -> Any:
    return np.full((len(list(Path(folder).iterdir())), 512, 512), 1, dtype=np.float32)


def _medbundle(dtype: Any) -> Callable[[str], Any]:
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
    import itk
    import monai.data

    for part in ("GDCMImageIO", "GDCMSeriesFileNames", "ImageFileReader", "ImageSeriesReader", "imread"):
        getattr(itk, part)  # whose modules are imported when they are asked for

    def read(folder: str) -> Any:
        reader = getattr(monai.data, name)()
        return reader.get_data(reader.read(folder))

    return read


def _dicom2nifti() -> Callable[[str], Any]:
    from dicom2nifti.convert_dicom import dicom_series_to_nifti

    def read(folder: str) -> Any:
        return np.asarray(dicom_series_to_nifti(folder, None, reorient_nifti=False)["NII"].dataobj)  # writes no file

    return read


READERS: dict[str, Callable[[], Callable[[str], Any]]] = {
    "raw": lambda: _raw,
    "touch": lambda: _touch,
    "medbundle, headers alone": _headers,
    "medbundle, float32": lambda: _medbundle(np.float32),
    "medbundle, int16": lambda: _medbundle(np.int16),
    "SimpleITK ImageSeriesReader": _simpleitk,
    "MONAI ITKReader": lambda: _monai("ITKReader"),
    "MONAI PydicomReader": lambda: _monai("PydicomReader"),
    "dicom2nifti": _dicom2nifti,
}


def _measure(name: str, folder: str, site: Path | None) -> None:
    """Print seconds and MB of memory that one reading takes, imports apart."""
    if site is not None:
        sys.path.extend(str(one) for one in [site, *site.glob("lib*/python*/site-packages")])
    read = READERS[name]()
    before = peak_mb()  # of this process: getrusage has the parent's before the start
    began = time.perf_counter()
    kept = read(folder)
    seconds = time.perf_counter() - began
    megabytes = peak_mb() - before
    del kept
    print(json.dumps([seconds, megabytes]))


def _in_a_process(name: str, folder: Path, site: Path | None) -> tuple[float, float]:
    command = [sys.executable, "-m", "benchmarks.dicom_reading", "--reader", name, "--folder", str(folder)]
    command += ["--dicom2nifti", str(site)] if name == "dicom2nifti" and site is not None else []
    answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1]
    seconds, megabytes = json.loads(answer)
    return seconds, megabytes


def _write(folder: Path, slices: int) -> Path:
    small = make_phantom(1, shape=(64, 64, 4))
    image = np.tile(small.image, (PLANE[0] // 64, PLANE[1] // 64, -(-slices // 4)))[:, :, :slices]
    return write_phantom_dicom(Phantom(1, image, small.labels, (0.7, 0.7, 1.0)), folder)


def _medians(folder: Path, names: list[str], options: argparse.Namespace) -> dict[str, tuple[float, float]]:
    runs: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for _ in range(options.rounds):
        for name in names:
            runs[name].append(_in_a_process(name, folder, options.dicom2nifti))
    return {
        name: (statistics.median(one[0] for one in values), statistics.median(one[1] for one in values))
        for name, values in runs.items()
    }


def _table(by_size: dict[int, dict[str, tuple[float, float]]]) -> str:
    """Seconds for each number of slices, and the ratio to medbundle and the memory for the largest."""
    largest = by_size[max(by_size)]
    head = ["reader", *(f"{slices} slices (s)" for slices in by_size), "/ medbundle", "memory (MB)"]
    lines = [f"| {' | '.join(head)} |", f"|---|{'---:|' * (len(head) - 1)}"]
    for name, (seconds, megabytes) in largest.items():
        cells = [name, *(f"{one[name][0]:.2f}" for one in by_size.values())]
        cells += [f"{seconds / largest['medbundle, float32'][0]:.1f}", f"{megabytes:.0f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _has_dicom2nifti(site: Path | None) -> bool:
    return site is not None or importlib.util.find_spec("dicom2nifti") is not None


def main() -> None:
    """Write the series, read them in turns and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--slices", nargs="+", type=int, default=list(SLICES))
    parser.add_argument("--dicom2nifti", type=Path, metavar="FOLDER", help="where that package is, if elsewhere")
    parser.add_argument("--reader", help="a single run")
    parser.add_argument("--folder", help="for a single run")
    options = parser.parse_args()
    if options.reader:
        _measure(options.reader, options.folder, options.dicom2nifti)
        return
    names = [name for name in READERS if name != "dicom2nifti" or _has_dicom2nifti(options.dicom2nifti)]
    with tempfile.TemporaryDirectory() as temporary:
        by_size = {}
        for slices in options.slices:
            plain = _write(Path(temporary) / f"plain{slices}", slices)
            by_size[slices] = _medians(plain, names, options)
        print(
            f"Slices of 512 x 512 int16, medians of {options.rounds} alternating runs; ratios and memory are those of"
        )
        print(f"the largest series. The memory is the rise of the peak by reading.\n\n{_table(by_size)}", flush=True)
        packed = _write(Path(temporary) / "jpeg2000", min(J2K_SLICES, max(options.slices)))
        for path in packed.iterdir():
            dataset = pydicom.dcmread(path)
            dataset.compress(JPEG2000Lossless, generate_instance_uid=False)
            dataset.save_as(path)
        number = len(list(packed.iterdir()))
        found = _medians(packed, ["medbundle, float32", "SimpleITK ImageSeriesReader"], options)
        print(f"\nSuch slices in JPEG 2000:\n\n{_table({number: found})}")


if __name__ == "__main__":
    main()
