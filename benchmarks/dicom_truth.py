"""Which DICOM readers read altered series truly, which refuse them, and which are wrong without a word.

``python -m benchmarks.dicom_truth [--data DIR] [--site DIR]`` writes ``benchmarks/dicom_truth.md``. The series are
those of ``tests/dicom_altered``, each with its true voxels and geometry from the plane equation of DICOM PS3.3
C.7.6.2.1.1. ``--data`` is a folder with ``STS_Sarcoma`` for the kinds that are made of patients' series; ``--site`` is
a folder with packages for dicom2nifti alone, where it is not installed.
"""

from __future__ import annotations

import argparse
import importlib
import multiprocessing
import platform
import sys
import tempfile
from collections import Counter
from importlib.metadata import distributions
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from benchmarks.dicom_readers import READERS, serve

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 30.0
SECONDS_TO_IMPORT = 180.0
OPTIONAL = "dicom2nifti"
OUTCOMES = {
    "right": "loaded a sound series truly",
    "no": "refused what should be refused",
    "REFUSED": "refused a sound series",
    "wrong, said": "loaded wrongly, with some warning",
    "WRONG": "loaded wrongly without a word",
    "crash": "its process ended, or it took more than 30 s",
}
PACKAGES = (
    "medbundle",
    "monai",
    "itk",
    "simpleitk",
    "highdicom",
    "pydicom",
    "dicom2nifti",
    "python-gdcm",
    "pylibjpeg",
    "numpy",
)

PAGE = """\
# DICOM readers on altered series

`python -m benchmarks.dicom_truth` writes this page. Each of {kinds} kinds of small DICOM series is made with a known
answer: some are sound but unusual (files in another order, a wrong SliceThickness, an oblique plane, an odd encoding)
and have to be loaded; in others something is wrong (a slice is missing, two echoes are mixed, a file is cut off) so
that no right volume exists, and a reader ought to refuse them. A picture that looks right and is wrong is the worst
that can happen: nobody will look at it again.

For a series that is to be loaded, the true place of every voxel follows from the plane equation of the standard
(PS3.3 C.7.6.2.1.1) and the true value from the rescaling in the header, by plain NumPy. A volume is right if no corner
is more than 0.1 mm away and no value differs by more than a ten-thousandth of the range of values, whichever way its
axes run. For a few kinds, marked *either*, a reader that loads the true volume is as right as one that refuses. Where
a folder holds several series or patients, one that takes any of them without being told which counts as wrong.
Any Python error counts as a refusal, even one that says nothing of the cause; any warning or line on standard error
counts as "some warning", even one about something else. Both are generous. The kinds were chosen by those who write
medbundle's reader, and are neither all that can happen nor as frequent as each other: read the rows, not the ranks.

Every reader gets the folder as it is, with its default options; highdicom gets the images that pydicom finds in the
folder, and is asked for values in the units of the series.

{versions}.

## Totals

{totals}

{legend}

## All kinds

{rows}
"""


class Reader:
    """A reader in a process of its own, which is started again when it crashes."""

    def __init__(self, name: str, site: Path | None) -> None:
        self.name, self.site = name, site
        self.error: str | None = None
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs, self.name, self.site), daemon=True)
        self.process.start()
        theirs.close()
        ready = self._answer(SECONDS_TO_IMPORT)
        self.error = None if ready == ("ready",) else f"{self.name} cannot be run: {ready}"

    def _answer(self, seconds: float) -> tuple[Any, ...] | None:
        """What the process answers, or None if it ended or the time ran out."""
        pipe: Connection = self.pipe
        try:
            return pipe.recv() if pipe.poll(seconds) else None
        except (EOFError, OSError):
            return None

    def read(self, folder: Path, truth: Any) -> tuple[Any, ...]:
        """Return ("refused", reason), ("loaded", corners in mm, value off, words) or ("crash",)."""
        self.pipe.send((str(folder), truth))
        answer = self._answer(SECONDS)
        if answer is None:
            self.stop()
            self._start()
            return ("crash",)
        return answer

    def stop(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.join()
        self.pipe.close()


def outcome(kind: Any, truth: Any, answer: tuple[Any, ...]) -> str:
    """One of :data:`OUTCOMES`."""
    if answer[0] == "crash":
        return "crash"
    if answer[0] == "refused":
        return "REFUSED" if kind.refuse is None else "no"
    _, corners_mm, value, words = answer
    if truth is not None:
        spread = float(truth.values.max() - truth.values.min()) or 1.0
        if corners_mm <= 0.1 and value <= 1e-4 * spread:
            return "right"
    return "wrong, said" if words else "WRONG"


def measure(kinds: dict[str, Any], names: list[str], args: argparse.Namespace) -> dict[str, dict[str, str]]:
    """The outcome of each reader for each kind; kinds whose source is absent are left out."""
    readers = [Reader(name, args.site if name == OPTIONAL else None) for name in names]
    for reader in readers:
        if reader.error:
            print(reader.error)
    readers = [reader for reader in readers if not reader.error]
    results: dict[str, dict[str, str]] = {}
    for name, kind in kinds.items():
        with tempfile.TemporaryDirectory() as folder:
            there, truth = kind.make(Path(folder) / "series", args.data)
            if not there:
                continue
            answers = {reader.name: reader.read(Path(folder) / "series", truth) for reader in readers}
        results[name] = {reader: outcome(kind, truth, answer) for reader, answer in answers.items()}
        if args.verbose:
            print(name, {reader: (results[name][reader], answer) for reader, answer in answers.items()}, flush=True)
    for reader in readers:
        reader.stop()
    return results


def page(kinds: dict[str, Any], results: dict[str, dict[str, str]], site: Path | None) -> str:
    """The results as Markdown."""
    names = list(next(iter(results.values())))
    head = f"| | {' | '.join(names)} |\n|---|{'---:|' * len(names)}\n"
    counts = {name: Counter(row[name] for row in results.values()) for name in names}
    totals = head + "\n".join(
        f"| {text} | {' | '.join(str(counts[name][key]) for name in names)} |" for key, text in OUTCOMES.items()
    )
    rows = [f"| kind | ought to | {' | '.join(names)} |", f"|---|---|{'---|' * len(names)}"]
    for name, row in results.items():
        kind = kinds[name]
        verdict = "load" if kind.refuse is None else "either" if kind.either else "refuse"
        rows.append(f"| {kind.text} | {verdict} | {' | '.join(row.values())} |")
    total = [f"{sum(row[name] in {'right', 'no'} for row in results.values())} of {len(results)}" for name in names]
    rows.append(f"| **total right** | | {' | '.join(total)} |")
    legend = "In the table below: " + "; ".join(f"`{key}`: {text}" for key, text in OUTCOMES.items()) + "."
    return PAGE.format(
        kinds=len(results),
        versions=_versions(site),
        totals=totals,
        legend=legend,
        rows="\n".join(rows),
    )


def _versions(site: Path | None) -> str:
    found = {one.metadata["Name"]: one.version for one in distributions(path=[str(site)])} if site else {}
    installed = {one.metadata["Name"].lower(): one.version for one in distributions()}
    found |= {package: installed[package] for package in PACKAGES if package in installed}
    known = ", ".join(f"{package} {found[package]}" for package in PACKAGES if package in found)
    return f"Python {platform.python_version()}, {known}"


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--site", type=Path)
    parser.add_argument("--only", help="kinds whose names contain this; nothing is written")
    parser.add_argument("--verbose", action="store_true")
    args = parser.parse_args()
    sys.path.insert(0, str(ROOT / "tests"))
    all_kinds = importlib.import_module("dicom_altered.series").KINDS
    kinds = {name: kind for name, kind in all_kinds.items() if args.only is None or args.only in name}
    results = measure(kinds, list(READERS), args)
    text = page(kinds, results, args.site)
    if args.only is None:
        Path(__file__).with_suffix(".md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
