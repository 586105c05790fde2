"""Two or more evaluations of the same cases, compared case by case."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.errors import InputError
from pipeline.evaluation.bootstrap import mean_intervals
from pipeline.evaluation.columns import about_column
from pipeline.evaluation.compared import Compared, Difference, Place
from pipeline.evaluation.comparison_output import comparison_text, write_comparison
from pipeline.evaluation.measure_table import MeasureTable
from pipeline.evaluation.statistics import holm, mean_ranks, patient_means, rank_biserial, rank_shares, wilcoxon

__all__ = ["Comparison", "Difference", "Place", "compare_tables"]

_NEEDED = 2
_SAME = 1e-6  # of a reference's size: tables keep nine digits

_Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Comparison(Compared):
    """A comparison with a way to files and to people."""

    def write(self, folder: Path, *, about: Mapping[str, Mapping[str, Any]] | None = None) -> list[Path]:
        """Write ``comparison.csv``, ``.json`` and ``.txt``, and ``ranking.csv``.

        Args:
            folder: made when needed.
            about: what was scored in each evaluation, by its name, see :func:`pipeline.evaluation.provenance`.
        """
        return write_comparison(self, folder, about or {})

    def text(self, *, about: Mapping[str, Mapping[str, Any]] | None = None) -> str:
        """Differences with their intervals, a line each, and the ranking; ``*`` marks an adjusted p under 0.05."""
        return comparison_text(self, about or {})


def compare_tables(tables: Mapping[str, MeasureTable], *, measures: Sequence[str] | None = None) -> Comparison:
    """Compare evaluations case by case, in every label and in every measure that has a better side.

    Args:
        tables: two or more, by name.
        measures: the columns to compare; fewer of them leave more power to each after the correction.

    Raises:
        InputError: fewer than two; no case, label or measure in all of them; or references differ in size.
    """
    if len(tables) < _NEEDED:
        raise InputError("there is nothing to compare", expected="at least two results", got=len(tables))
    every = list(tables.values())
    cases = _shared([table.cases for table in every], "case")
    labels = _shared([table.labels for table in every], "label")
    wanted = _wanted(_shared([tuple(table.values) for table in every], "measure"), measures)
    aligned_tables = {name: _aligned(table, cases, labels) for name, table in tables.items()}
    _check_references(aligned_tables)
    patients = next(iter(aligned_tables.values())).patients
    ranking = [place for name in wanted for place in _ranking(name, aligned_tables)]
    return Comparison(
        names=tuple(tables),
        cases=len(cases),
        patients=len(set(patients)),
        left_out={name: len(table.cases) - len(cases) for name, table in tables.items()},
        differences=_differences(aligned_tables, labels, wanted),
        ranking=tuple(ranking),
    )


def _wanted(columns: Sequence[str], measures: Sequence[str] | None) -> list[str]:
    """The measures to compare, of columns that all results have."""
    directed = [name for name in columns if about_column(name).better]
    if measures is None:
        return directed
    unknown = [name for name in measures if name not in directed]
    if unknown:
        raise InputError(f"no measure {unknown[0]} to compare", expected=", ".join(directed))
    return [name for name in directed if name in measures]


def _differences(
    tables: Mapping[str, MeasureTable], labels: Sequence[str], measures: Sequence[str]
) -> tuple[Difference, ...]:
    """All of them, with p values adjusted for their number."""
    compared = itertools.product(itertools.combinations(tables, 2), enumerate(labels), measures)
    rows = [_difference(pair, label, k, measure, tables) for pair, (k, label), measure in compared]
    adjusted = holm([row["p"] for row in rows])
    return tuple(Difference(**row, p_holm=float(p)) for row, p in zip(rows, adjusted, strict=True))


def _difference(
    pair: tuple[str, str], label: str, k: int, measure: str, tables: Mapping[str, MeasureTable]
) -> dict[str, Any]:
    first, second = (_comparable(tables[name], measure)[:, k] for name in pair)
    patients = np.array(tables[pair[0]].patients)
    finite = np.isfinite(first) & np.isfinite(second)
    undefined = np.isnan(first) | np.isnan(second)
    with np.errstate(invalid="ignore"):
        change = np.where(first == second, 0.0, second - first)  # of two infinite ones there is none
    per_patient = patient_means(change[~undefined], patients[~undefined].tolist())
    low, high = mean_intervals(change[finite], patients[finite].tolist())[:, 0]
    better = about_column(measure).better
    return {
        "first": pair[0], "second": pair[1], "label": label, "measure": measure,
        "better": "higher" if better > 0 else "lower",
        "cases": int(finite.sum()), "patients": len(set(patients[finite].tolist())),
        "infinite": int((~finite & ~undefined).sum()), "undefined": int(undefined.sum()),
        "mean_first": _mean(first[finite]), "mean_second": _mean(second[finite]), "difference": _mean(change[finite]),
        "low": float(low), "high": float(high),
        "p": wilcoxon(per_patient), "effect": better * rank_biserial(per_patient) + 0.0,
    }  # fmt: skip


def _ranking(measure: str, tables: Mapping[str, MeasureTable]) -> list[Place]:
    better = about_column(measure).better
    scores = np.stack([better * _comparable(table, measure) for table in tables.values()])
    ranks = mean_ranks(scores, next(iter(tables.values())).patients)
    if not len(ranks):
        return []
    means, shares = ranks.mean(axis=0), rank_shares(ranks)
    rounded = np.round(means, 12)
    places = [
        Place(measure=measure, place=1 + int((rounded < rounded[m]).sum()), name=name, mean_rank=float(means[m]),
              shares=tuple(shares[m].tolist()))
        for m, name in enumerate(tables)
    ]  # fmt: skip
    return sorted(places, key=lambda place: (place.place, place.name))


def _comparable(table: MeasureTable, measure: str) -> _Floats:
    values = table.values[measure]
    return np.abs(values) if "difference" in measure else values


def _shared(lists: Sequence[Sequence[str]], what: str) -> list[str]:
    """What is in all lists, in the order of the first."""
    common = [name for name in lists[0] if all(name in other for other in map(set, lists))]
    if not common:
        raise InputError(f"the results have no {what} in common", got=" and ".join(one[0] for one in lists if one))
    return common


def _aligned(table: MeasureTable, cases: Sequence[str], labels: Sequence[str]) -> MeasureTable:
    place = {case: n for n, case in enumerate(table.cases)}
    chosen = table.of(np.array([place[case] for case in cases]))
    columns = [table.labels.index(label) for label in labels]
    values = {name: value[:, columns] for name, value in chosen.values.items()}
    return MeasureTable(cases=chosen.cases, patients=chosen.patients, labels=tuple(labels), values=values)


def _check_references(tables: Mapping[str, MeasureTable]) -> None:
    """Refuse results that were scored against different references, which their sizes give away."""
    (first, one), *others = tables.items()
    for name, other in others:
        sizes, given = (table.values.get("reference_voxels", np.zeros(0)) for table in (one, other))
        both = np.isfinite(sizes) & np.isfinite(given) if sizes.shape == given.shape else np.zeros(0, dtype=bool)
        wrong = np.argwhere(both & ~np.isclose(sizes, given, rtol=_SAME)) if both.size else both
        if len(wrong):
            n, k = wrong[0]
            raise InputError(
                f"was scored against another reference than {first}",
                where=f"{name}, {one.cases[n]}, {one.labels[k]}",
                expected=f"{sizes[n, k]:.0f} voxels",
                got=f"{given[n, k]:.0f}",
            )


def _mean(values: _Floats) -> float:
    return float(values.mean()) if values.size else float("nan")
