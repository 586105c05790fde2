"""The tables of ``benchmarks.whole_pipeline``."""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
from importlib.metadata import version
from typing import Any

PAGE = """\
## From a file to a saved label map, with one and the same network

`python -m benchmarks.whole_pipeline --nnunet VENV` measures it again: commit {commit}, {cores} cores, {machine}, number
of threads for each {threads}, bfloat16 {bfloat16}, Python {python}, torch {torch}, MONAI {monai}{nnunet};
{rounds}, each run a process of its own.

A `DynUNet` with random weights and {filters} filters, windows of 96 voxels that overlap by half,
Gaussian weights and no mirroring, for int16 NIfTI volumes of 0.8 x 0.8 x 1.5 mm, tilted by 7 degrees, that the network
sees at 1.5 mm; label maps on the grid of the input.

- medbundle is `medbundle segment` with a bundle as `medbundle build` writes it.
- stock is what MONAI's model zoo bundles are made of, in float32: `LoadImaged`, `Orientationd`, `Spacingd`,
  `SlidingWindowInferer` with one window at a time, `Invertd` of the logits, argmax, `SaveImaged`.
{nnunet_note}\

Totals are from the first import to the saved file. *Outside* is the share of that in which the network does not run, in
brackets without the imports.

{totals}

The stages of the largest volume in seconds. *Load* reads and preprocesses; *blend* is all between the windows, which is
where medbundle also goes back to the input's grid and decides on the labels; *finish* is what comes after the last
window, saving included.

{stages}

The share of voxels with the same label as medbundle's. With random weights the highest logits lie close together, so
that bfloat16 shows more than with a trained network{differences}.

{agreement}
"""

NNUNET_NOTE = """\
- nnU-Net is `nnUNetPredictor.predict_from_files_sequential` without mirroring, which by default makes its network's
  work eight times as much. It resamples the image by cubic splines, spreads its windows evenly and adds their logits in
  half precision. Its plans give the window, grid and intensities of the others. The network is MONAI's in all three;
  the time to import MONAI in nnU-Net's process is not counted. nnU-Net predicts without torchvision, which is kept from
  being imported.
"""
DIFFERENCES = """, and so do
nnU-Net's cubic splines, its grid (which has the edges of the image, where MONAI's has the centre of its first
voxel), its windows and its half precision"""


def page(rows: list[dict[str, Any]], options: argparse.Namespace, *, nnunet: str) -> str:
    """The section of the page, from the rows that ``measure`` gives and the arguments of the command."""
    import torch

    from pipeline.inferers import bf16_is_fast

    git = shutil.which("git") or "git"
    commit = subprocess.run([git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout
    return PAGE.format(
        commit=commit.strip() or "unknown",
        cores=os.cpu_count(),
        threads=options.threads,
        filters=", ".join(map(str, options.filters)),
        machine=platform.machine(),
        bfloat16="native" if bf16_is_fast(torch.device("cpu")) else "not native",
        python=platform.python_version(),
        torch=version("torch"),
        monai=version("monai"),
        nnunet=f", {nnunet}" if nnunet else "",
        nnunet_note=NNUNET_NOTE if nnunet else "",
        differences=DIFFERENCES if nnunet else "",
        rounds="one run of each" if options.rounds == 1 else f"medians of {options.rounds} alternating runs",
        totals=_totals(rows),
        stages=_stages(rows),
        agreement=_agreement(rows),
    )


def _table(head: list[str], lines: list[list[str]], *, words: int = 1) -> str:
    rule = f"|{'---|' * words}{'---:|' * (len(head) - words)}"
    return "\n".join([f"| {' | '.join(head)} |", rule, *(f"| {' | '.join(line)} |" for line in lines)])


def outside(result: dict[str, float]) -> str:
    """The share of a run outside the network, with and without the imports."""
    total, network = result["total"], result["network"]
    return f"{1 - network / total:.0%} ({1 - network / (total - result['import']):.0%})"


def _totals(rows: list[dict[str, Any]]) -> str:
    names = list(rows[0]["results"])
    others = names[1:]
    head = ["voxels", "classes", "windows", *(f"{who} (s)" for who in names)]
    head += [f"{who} / {names[0]}" for who in others]
    head += [f"outside, {who}" for who in names] + [f"peak, {who} (MB)" for who in names]
    lines = []
    for row in rows:
        results, ours = row["results"], row["results"][names[0]]
        windows = sorted({f"{one['windows']:.0f}" for one in results.values()})
        line = [row["size"].replace("x", " x "), str(row["classes"]), " or ".join(windows)]
        line += [f"{results[who]['total']:.1f}" for who in names]
        line += [f"{results[who]['total'] / ours['total']:.1f}" for who in others]
        line += [outside(results[who]) for who in names] + [f"{results[who]['peak_mb']:.0f}" for who in names]
        lines.append(line)
    return _table(head, lines)


STAGES = ("import", "load", "network", "blend", "finish", "rest", "total")


def _stages(rows: list[dict[str, Any]]) -> str:
    lines = []
    for classes in dict.fromkeys(row["classes"] for row in rows):
        largest = [row for row in rows if row["classes"] == classes][-1]
        for who, result in largest["results"].items():
            lines.append([who, str(classes), *(f"{result[stage]:.2f}" for stage in STAGES)])
    return _table(["", "classes", *STAGES], lines)


def _agreement(rows: list[dict[str, Any]]) -> str:
    others = list(rows[0]["agreement"])
    lines = [
        [row["size"].replace("x", " x "), str(row["classes"]), *(f"{row['agreement'][who]:.4%}" for who in others)]
        for row in rows
    ]
    return _table(["voxels", "classes", *others], lines)
