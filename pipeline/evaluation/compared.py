"""What a comparison of evaluations has found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Compared", "Difference", "Place"]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """How two evaluations differ in one measure of one label.

    Attributes:
        first: the one that is subtracted.
        second: the other one.
        label: the label's name.
        measure: the column of ``metrics.csv``; of a signed difference of sizes its absolute value.
        better: "higher" or "lower".
        cases: with a finite value in both.
        patients: of those cases.
        infinite: cases with an infinite value in one or both; they count in ``p`` and ``effect`` only.
        undefined: cases with no value in one or both; they do not count.
        mean_first: over ``cases``.
        mean_second: over ``cases``.
        difference: mean of second - first.
        low: lower end of its 95 % interval.
        high: upper end.
        p: of the Wilcoxon signed-rank test.
        p_holm: adjusted for all rows of the comparison.
        effect: matched-pairs rank-biserial correlation, 1 where the second is better for every patient.
    """

    first: str
    second: str
    label: str
    measure: str
    better: str
    cases: int
    patients: int
    infinite: int
    undefined: int
    mean_first: float
    mean_second: float
    difference: float
    low: float
    high: float
    p: float
    p_holm: float
    effect: float


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where one evaluation stands among several in one measure.

    Attributes:
        measure: the column of ``metrics.csv``.
        place: from 1; those with one mean rank share the best of their places.
        name: the evaluation.
        mean_rank: within cases, over patients; 1 is the best.
        shares: the share of bootstrap draws in which it takes the first, second ... place.
    """

    measure: str
    place: int
    name: str
    mean_rank: float
    shares: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Compared:
    """What two or more evaluations say against each other.

    Attributes:
        names: of the evaluations.
        cases: in all of them.
        patients: of those cases.
        left_out: how many cases of each evaluation are not in all of them.
        differences: of each pair, label and measure.
        ranking: by measure.
    """

    names: tuple[str, ...]
    cases: int
    patients: int
    left_out: Mapping[str, int]
    differences: tuple[Difference, ...]
    ranking: tuple[Place, ...]
