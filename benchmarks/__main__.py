"""Run the benchmarks, each a program of its own, and write their tables to ``benchmarks/README.md``.

``python -m benchmarks [--only NAME ...] [--quick] [--nnunet VENV] [--dicom2nifti FOLDER] [--data DIR] [--image FILE]``.
A section that is not measured again stays on the page as it was. The page is written after each section.
"""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.page import read_page, stamp, write_page

ROOT = Path(__file__).resolve().parents[1]
PAGE = Path(__file__).with_name("README.md")
_TORCH = ("torch", "monai", "numpy")
Command = Sequence[str]


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
        title: its heading.
        about: what is measured, in a few sentences.
        commands: the modules and arguments whose standard output is the section, from the options.
        libraries: whose versions count.
        minutes: about how long it takes.
    """

    title: str
    about: str
    commands: Callable[[argparse.Namespace], list[Command]]
    libraries: tuple[str, ...] = _TORCH
    minutes: float = 1.0


def _given(name: str, value: Path | None) -> list[str]:
    return [] if value is None else [name, str(value.absolute())]


def _data(options: argparse.Namespace) -> Path | None:
    return None if options.data is None else options.data / "Task04_Hippocampus"


def _first_mask(options: argparse.Namespace) -> list[Command]:
    rounds = ["--rounds", "1"] if options.quick else []
    return [["first_mask", *([] if options.image is None else [str(options.image)]), *rounds]]


def _whole_pipeline(options: argparse.Namespace) -> list[Command]:
    nnunet = _given("--nnunet", options.nnunet)
    if options.quick:
        small = ["--sizes", "48x48x40", "64x64x50", "--classes", "3", "--filters", "4", "8", "16"]
        return [["whole_pipeline", *small, *nnunet]]
    return [["whole_pipeline", *nnunet]]


def _memory(options: argparse.Namespace) -> list[Command]:
    quick = ["--sizes", "64x64x40", "96x96x60", "--classes", "3", "30"]
    return [["memory", *(quick if options.quick else [])]]


def _whole_body(options: argparse.Namespace) -> list[Command]:
    return [["whole_body", *(["--slices", "40"] if options.quick else [])]]


def _dicom(options: argparse.Namespace) -> list[Command]:
    quick = ["--slices", "8", "16", "--rounds", "1"] if options.quick else []
    return [["dicom_reading", *_given("--dicom2nifti", options.dicom2nifti), *quick]]


def _training(options: argparse.Namespace) -> list[Command]:
    return [["training", *(["--patches", "16", "24", "--rounds", "1"] if options.quick else [])]]


def _overlap(options: argparse.Namespace) -> list[Command]:
    quick = ["--cases", "4", "--volumes", "2", "--sizes", "48x48x40", "--filters", "4", "8", "16", "--rounds", "1"]
    return [["overlap", *_given("--data", _data(options)), *(quick if options.quick else [])]]


def _metrics(options: argparse.Namespace) -> list[Command]:
    data = _data(options)
    light = ["--light"] if options.quick else []
    return [["metrics", *([] if data is None else [str(data / "labelsTr")]), *light]]


def _plain(module: str) -> Callable[[argparse.Namespace], list[Command]]:
    return lambda options: [[module, *(["--quick"] if options.quick else [])]]


def _engines(options: argparse.Namespace) -> list[Command]:
    """Its own page keeps what other runs of it measured."""
    page = str(Path(__file__).with_name("engines.md"))
    data = _data(options)
    given = [] if data is None else ["--data", str(data)]
    return [] if options.quick else [["engines", "--only", "DynUNet", "--no-compile", "-o", page, *given]]


SECTIONS = {
    "first-mask": Section(
        "One volume from a cold start to a saved mask",
        "The hippocampus bundle on one volume, a new process for each run: medbundle against stock MONAI parts\n"
        "(float32, `SaveImaged`) with the same weights, window and mirroring. *Load* is reading and preprocessing.",
        _first_mask,
    ),
    "whole-pipeline": Section("", "", _whole_pipeline, minutes=12),
    "memory": Section(
        "Peak memory for many classes",
        "Sliding windows with a network of one 1x1x1 convolution, so that memory and not arithmetic is measured:\n"
        "MONAI's `SlidingWindowInferer`, `Invertd` and argmax (*dense*) against `StreamingInferer`.",
        _memory,
        minutes=6,
    ),
    "whole-body": Section(
        "A whole-body CT with 118 classes under 2 GB",
        "`medbundle segment` with a network of one 3x3x3 convolution in a process that may have 2 GB of address\n"
        "space, PyTorch included, on one thread.",
        _whole_body,
        minutes=9,
    ),
    "forecast": Section(
        "Forecast against measured memory",
        "What `medbundle segment --max-memory` tells of a case before it is loaded, and what it then takes.",
        _plain("forecast"),
        minutes=1.5,
    ),
    "resampling": Section(
        "Resampling",
        "To another spacing, float32, by medbundle, MONAI, SimpleITK and SciPy: wall time and, in brackets, CPU time.",
        _plain("resampling"),
        ("torch", "monai", "SimpleITK", "scipy"),
        minutes=3,
    ),
    "dicom-reading": Section(
        "Reading a DICOM series",
        "Each reader in a process of its own, side by side, files in the page cache. The wrong volumes that some of\n"
        "these readers give are counted in [dicom_truth.md](dicom_truth.md).",
        _dicom,
        ("numpy", "pydicom", "highdicom", "SimpleITK", "itk", "monai"),
        minutes=6,
    ),
    "training": Section(
        "Training images per second",
        "medbundle's trainer as `train.json` builds it, against the same network, cases and random transforms in a\n"
        "plain MONAI loop: `CacheDataset`, `DataLoader`, `optimizer.step()`. Validation does not count.",
        _training,
        minutes=7,
    ),
    "overlap": Section(
        "Many cases: reading, computing and writing at a time",
        "`medbundle segment FOLDER` against the same in turn. Minima of alternating runs; imports do not count.",
        _overlap,
        minutes=4,
    ),
    "metrics": Section(
        "Segmentation measures", "All measures of medbundle against three of MONAI's.", _metrics, minutes=2
    ),
    "engines": Section("Inference engines", "", _engines, minutes=2),
}


def run(commands: list[Command]) -> str:
    """The standard output of programs, which is echoed as it comes."""
    said = []
    for module, *arguments in commands:
        command = [sys.executable, "-m", f"benchmarks.{module}", *arguments]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
            for line in process.stdout or []:
                said += [] if line.startswith("wrote ") else [line]
                print(f"  {line}", end="", flush=True)
        if process.returncode:
            raise RuntimeError(f"{' '.join(command)} ended with status {process.returncode}")
    return "".join(said).strip()


def measure(section: Section, options: argparse.Namespace) -> str:
    """A section of the page."""
    began = time.perf_counter()
    text = run(section.commands(options))
    heading = [f"## {section.title}"] if section.title else []
    if text.startswith("## "):
        first, _, text = text.partition("\n")
        heading = [first]
    when = stamp(section.libraries, minutes=(time.perf_counter() - began) / 60)
    parts = [*heading, f"*{when}*", *([section.about] if section.about else []), text.strip()]
    return "\n\n".join(parts)


def measure_all(names: Sequence[str], options: argparse.Namespace) -> list[str]:
    """Measure sections, write the page after each, and return the names of those that failed."""
    failed = []
    for number, name in enumerate(names, start=1):
        left = sum(SECTIONS[one].minutes for one in names[number - 1 :])
        told = "" if options.quick else f", about {left:.0f} minutes left"
        print(f"{number} of {len(names)}: {name}{told}", flush=True)
        try:
            text = measure(SECTIONS[name], options)
        except Exception as error:  # noqa: BLE001 - the other sections are measured
            print(f"  failed: {error}", file=sys.stderr, flush=True)
            failed.append(name)
            continue
        kept = {**read_page(options.output), name: text}
        order = sorted(kept, key=lambda one: list(SECTIONS).index(one) if one in SECTIONS else len(SECTIONS))
        write_page(options.output, {one: kept[one] for one in order})
    return failed


def main() -> int:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(SECTIONS), metavar="NAME", help=", ".join(SECTIONS))
    parser.add_argument("--quick", action="store_true", help="small sizes, to see whether everything runs")
    parser.add_argument(
        "--image", type=Path, help="a NIfTI volume for the hippocampus bundle, instead of a made-up one"
    )
    parser.add_argument("--data", type=Path, help="a folder with Task04_Hippocampus, instead of made-up volumes")
    parser.add_argument("--nnunet", type=Path, metavar="VENV", help="a virtual environment with nnunetv2 and monai")
    parser.add_argument("--dicom2nifti", type=Path, metavar="FOLDER", help="where that package is, if elsewhere")
    parser.add_argument("-o", "--output", type=Path, default=PAGE, help="the page")
    options = parser.parse_args()
    there = [
        name
        for name, section in SECTIONS.items()
        for module, *_ in section.commands(options)
        if importlib.util.find_spec(f"benchmarks.{module}") is not None
    ]
    names = there if options.only is None else [name for name in there if name in options.only]
    began = time.perf_counter()
    failed = measure_all(names, options)
    print(f"wrote {options.output} in {(time.perf_counter() - began) / 60:.1f} minutes")
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
