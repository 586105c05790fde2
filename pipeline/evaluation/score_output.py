"""The files and the text of a table of segmented cases."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.errors import shown
from pipeline.evaluation.bootstrap import LEVEL, RESAMPLES, SEED
from pipeline.evaluation.columns import about_column
from pipeline.evaluation.provenance import fact_columns
from pipeline.evaluation.tables import aligned, number, write_json, written
from pipeline.writing import whole_file

if TYPE_CHECKING:
    from pipeline.evaluation.scores import Scores

__all__ = ["BOOTSTRAP", "GROUP_FILES", "SUMMARY_FILE", "score_text", "write_scores"]

SUMMARY_FILE = "summary.json"
GROUP_FILES = ("groups.csv", "groups.json")
FORMAT_VERSION = 1
BOOTSTRAP = {"method": "BCa", "level": LEVEL, "resamples": RESAMPLES, "seed": SEED, "drawn": "patients"}

_SHOWN = ("nsd", "hausdorff95", "mean_surface_distance", "volume_difference_percent", "area_difference_percent")
_CONVENTIONS = {
    "label absent from both maps": "dice, iou, nsd and lesion_dice 1; size difference 0 %; all else undefined",
    "label absent from the reference": "scores 0; sensitivities undefined; distances and size difference in % infinite",
    "label absent from the prediction": "scores 0; distances infinite",
    "no prediction": "scores 0; distances infinite; sizes and counts undefined",
    "statistics": "mean, std, median and interval are of the finite values; the others are counted beside them",
}
_SURFACES = {
    "voxel": "voxels of the label with a face neighbour outside of it, each counted once (as MONAI)",
    "surface_element": "surface elements weighted by their area (Nikolov et al. 2021)",
}


def write_scores(table: Scores, root: Path, about: Mapping[str, Any]) -> list[Path]:
    """Write ``dice.csv``, ``dice.json``, ``metrics.csv`` and ``summary.json``; groups of an older table go."""
    for name in GROUP_FILES:
        (root / name).unlink(missing_ok=True)
    rows = _dice_rows(table)
    return [
        _write_dice_csv(table, root / "dice.csv", rows, about),
        _write_dice_json(table, root / "dice.json", rows, about),
        table.measures().write(root, about),
        write_json(root / SUMMARY_FILE, _summary_content(table, about)),
    ]


def score_text(table: Scores) -> str:
    """Dice with its interval, a line per label; a line per label and further measure; and the cases that failed."""
    width = max([len(name) for name in table.labels.values()] + [4])
    about = f"{len(table.cases)} cases of {len(set(table.patients.values()))} patients"
    lines = [f"{'Dice':<{width}}   mean     95 % interval     std  median     min   ({about})"]
    lines += [
        f"{name:<{width}} {row['mean']:.4f}  {row['low']:.4f} to {row['high']:.4f}  {row['std']:.4f}  "
        f"{row['median']:.4f}  {row['min']:.4f}"
        for name, row in table.summary().items()
    ]
    lines += _measure_lines(table)
    lines += [f"{shown(name)}: no usable prediction, counted as 0: {reason}" for name, reason in table.missing.items()]
    lines += [f"{shown(name)}: not scored: {reason}" for name, reason in table.unscored.items()]
    return "\n".join(lines)


def _measure_lines(table: Scores) -> list[str]:
    rows = [[f"surface: {table.definition}", "mean", "95 % interval", "median", "finite", "infinite", "undefined"]]
    tolerances = {name: table.tolerance_mm[value] for value, name in table.labels.items()}
    for label, measures in table.measures().summary().items():
        unit = "pixel" if "hausdorff_pixel" in measures else "mm"
        for name, row in measures.items():
            if name.startswith(_SHOWN):
                interval = f"{number(row['low'])} to {number(row['high'])}"
                counts = [str(row[kind]) for kind in ("finite", "infinite", "undefined")]
                title = f"{label} {name.replace('_', ' ')}"
                title += f" at {tolerances[label]:g} {unit}" if name == "nsd" else ""
                rows.append([title, number(row["mean"]), interval, number(row["median"]), *counts])
    return ["", *aligned(rows)] if len(rows) > 1 else []


def _summary_content(table: Scores, about: Mapping[str, Any]) -> dict[str, Any]:
    measures = table.measures()
    return {
        "format_version": FORMAT_VERSION,
        **about,
        "cases": len(table.cases),
        "patients": len(set(table.patients.values())),
        "labels": {str(value): name for value, name in table.labels.items()},
        "bootstrap": BOOTSTRAP,
        "tolerance": {name: table.tolerance_mm[value] for value, name in table.labels.items()},
        "surface": _SURFACES[table.definition],
        "definitions": {name: about_column(name).definition for name in measures.values},
        "conventions": _CONVENTIONS,
        "missing": table.missing,
        "unscored": table.unscored,
        "notes": {name: note for name, note in table.notes.items() if note and name not in table.missing},
        "summary": measures.summary(),
    }


def _dice_rows(table: Scores) -> list[dict[str, Any]]:
    names = list(table.labels.values())
    return [
        {
            "case": case,
            "patient": table.patients[case],
            **dict(zip(names, map(float, dice), strict=True)),
            "mean": float(dice.mean()),
            "note": table.notes.get(case, ""),
        }
        for case, dice in sorted(table.cases.items())
    ]


def _write_dice_csv(table: Scores, path: Path, rows: list[dict[str, Any]], about: Mapping[str, Any]) -> Path:
    facts = {"patients": len(set(table.patients.values())), **fact_columns(about)}
    with written(path) as file:
        writer = csv.DictWriter(file, ["case", "patient", *table.labels.values(), "mean", "note", *facts])
        writer.writeheader()
        writer.writerows(
            {key: f"{value:.6f}" if isinstance(value, float) else value for key, value in row.items()} | facts
            for row in rows
        )
    return path


def _write_dice_json(table: Scores, path: Path, rows: list[dict[str, Any]], about: Mapping[str, Any]) -> Path:
    counts = {"count": len(rows), "patients": len(set(table.patients.values()))}
    summary = {
        name: {key: None if np.isnan(value) else value for key, value in row.items()}  # JSON knows no NaN
        for name, row in table.summary().items()
    }
    content = {"metric": "Dice", **about, **counts, "bootstrap": BOOTSTRAP, "summary": summary, "cases": rows}
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return path
