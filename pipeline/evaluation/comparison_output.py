"""The files and the text of a comparison of evaluations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.evaluation.provenance import about_text, fact_columns
from pipeline.evaluation.score_output import BOOTSTRAP
from pipeline.evaluation.tables import aligned, number, write_csv, write_json
from pipeline.writing import whole_file

if TYPE_CHECKING:
    from pipeline.evaluation.compared import Compared, Difference

__all__ = ["comparison_text", "write_comparison"]

_CERTAIN = 0.05
_METHODS = (
    "Differences are second - first, of cases with a finite value in both. Intervals: BCa bootstrap over patients. "
    "p: two-sided Wilcoxon signed-rank test of the patients' mean differences, infinite ones as the largest; adjusted "
    "after Holm over all rows. Effect: matched-pairs rank-biserial correlation, positive where the second is better. "
    "Ranks: within each case and label, averaged over labels, cases of a patient, and patients. Share of a place: of "
    "the bootstrap draws of patients in which the evaluation takes it (Wiesenfarth et al. 2021)."
)

_About = Mapping[str, Mapping[str, Any]]


def write_comparison(comparison: Compared, folder: Path, about: _About) -> list[Path]:
    """Write ``comparison.csv``, ``.json`` and ``.txt``, and ``ranking.csv``."""
    facts = {name: fact_columns(about.get(name, {})) for name in comparison.names}
    rows = [
        {
            **asdict(row),
            **{f"first_{key}": value for key, value in _own(facts[row.first]).items()},
            **{f"second_{key}": value for key, value in _own(facts[row.second]).items()},
            "bootstrap_seed": BOOTSTRAP["seed"],
        }
        for row in comparison.differences
    ]
    content = {
        "results": list(comparison.names), "evaluations": about, "cases": comparison.cases,
        "patients": comparison.patients, "left_out": comparison.left_out, "bootstrap": BOOTSTRAP, "methods": _METHODS,
        "differences": [asdict(row) for row in comparison.differences],
        "ranking": [asdict(place) for place in comparison.ranking],
    }  # fmt: skip
    shares = [f"share_of_place_{n + 1}" for n in range(len(comparison.names))]
    counts = {"cases": comparison.cases, "patients": comparison.patients}
    places = [
        [
            *(place.measure, place.place, place.name, place.mean_rank, *place.shares),
            *(*counts.values(), *facts[place.name].values()),
        ]
        for place in comparison.ranking
    ]
    header = ["measure", "place", "name", "mean_rank", *shares, *counts, *fact_columns({})]
    files = [
        write_csv(folder / "comparison.csv", [list(rows[0]), *(list(row.values()) for row in rows)]),
        write_json(folder / "comparison.json", content),
        write_csv(folder / "ranking.csv", [header, *places]),
    ]
    with whole_file(folder / "comparison.txt") as temporary:
        temporary.write_text(comparison_text(comparison, about) + "\n", encoding="utf-8", errors="backslashreplace")
    return [*files, folder / "comparison.txt"]


def comparison_text(comparison: Compared, about: _About) -> str:
    """Differences with their intervals, a line each, and the ranking; ``*`` marks an adjusted p under 0.05."""
    lines = [f"{comparison.cases} cases of {comparison.patients} patients in all of {', '.join(comparison.names)}"]
    lines += [f"{name}: {about_text(about[name])}" for name in comparison.names if name in about]
    lines += [f"{name}: {count} further cases are left out" for name, count in comparison.left_out.items() if count]
    header = ["", "first", "second", "difference", "95 % interval", "effect", "p (Holm)", "cases"]
    for first, second in dict.fromkeys((row.first, row.second) for row in comparison.differences):
        rows = [row for row in comparison.differences if (row.first, row.second) == (first, second)]
        lines += ["", f"{second} (second) against {first} (first)", *aligned([header, *map(_line, rows)])]
    return "\n".join([*lines, *_ranking_lines(comparison)])


def _ranking_lines(comparison: Compared) -> list[str]:
    if not comparison.ranking:
        return []
    places = [f"place {n + 1}" for n in range(len(comparison.names))]
    rows = [
        [f"{p.measure} {p.place}. {p.name}", f"{p.mean_rank:.3f}", *(f"{100 * share:.0f} %" for share in p.shares)]
        for p in comparison.ranking
    ]
    title = "Places, and the share of bootstrap draws of patients in which each is taken"
    return ["", title, *aligned([["", "mean rank", *places], *rows])]


def _own(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The facts of one evaluation, without what is of the comparison."""
    return {key: value for key, value in facts.items() if key != "bootstrap_seed"}


def _line(row: Difference) -> list[str]:
    mark = "*" if row.p_holm < _CERTAIN else " "
    p = "-" if np.isnan(row.p_holm) else "< 0.0001" if row.p_holm < 1e-4 else f"{row.p_holm:.4f}"  # noqa: PLR2004
    return [
        f"{row.label} {row.measure.replace('_', ' ')}", number(row.mean_first), number(row.mean_second),
        number(row.difference), f"{number(row.low)} to {number(row.high)}", number(row.effect), f"{p}{mark}",
        str(row.cases),
    ]  # fmt: skip
