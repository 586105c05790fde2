from __future__ import annotations

import pytest

from pipeline.errors import InputError
from pipeline.evaluation.tolerances import read_tolerances

LABELS = {1: "Liver", 4: "Bile duct", 7: "a=b"}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["2"], {1: 2.0, 4: 2.0, 7: 2.0}),
        (["0"], {1: 0.0, 4: 0.0, 7: 0.0}),
        (["Liver=1.5", "Bile duct=3", "a=b=0.25"], {1: 1.5, 4: 3.0, 7: 0.25}),
        (["1=1.5", "2e0"], {1: 1.5, 4: 2.0, 7: 2.0}),
        (["Liver=1", "1=1", "2"], {1: 1.0, 4: 2.0, 7: 2.0}),
    ],
)
def test_one_for_all_or_one_of_each(given: list[str], expected: dict[int, float]) -> None:
    assert read_tolerances(given, LABELS) == expected


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["Liver=1"], "not given for every label .*got none for Bile duct"),
        (["Spleen=1"], "tolerance Spleen=1: no label Spleen .*expected Liver, Bile duct, a=b"),
        (["1", "2"], "got 1 2"),
        (["Liver=1", "1=2"], "two tolerances of 1"),
        (["-1"], "expected a number of mm.*got -1"),
        (["Liver=nan", "1"], "got Liver=nan"),
        (["inf"], "got inf"),
        (["2mm"], "got 2mm"),
        (["Liver="], "got Liver="),
    ],
)
def test_what_is_no_tolerance_is_refused(given: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read_tolerances(given, LABELS)
    assert "\n" not in str(caught.value)
