"""Plots of any values: nothing that a measure or a loss may be is without a place on its axis."""

from __future__ import annotations

import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.reports.html.plots import Curve, Strip, curve_plot, strip_plot
from pipeline.workflows.evaluate import evaluate_folders

VALUES = st.lists(
    st.floats() | st.sampled_from([0.0, 1.0, 0.875, -1e308, 1e308, float("nan"), float("inf")]), max_size=6
)
PLACES = re.compile(r' (?:x1?|y1?)="([^"]*)"')


def _check(svg: str) -> None:
    for place in PLACES.findall(svg):
        assert np.isfinite(float(place))
    assert "nan" not in "".join(re.findall(r' (?:d|points)="([^"]*)"', svg))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(values=VALUES, equal=st.booleans(), bounded=st.booleans(), digits=st.integers(0, 3))
@example(values=[0.9285714285714286] * 3, equal=True, bounded=True, digits=3)  # whose mean is not quite that
@example(values=[5.0] * 3, equal=True, bounded=True, digits=3)
def test_distributions(values: list[float], equal: bool, bounded: bool, digits: int) -> None:
    array = np.array(values[:1] * 3 if equal else values, dtype=np.float64)
    known = array[np.isfinite(array) & (np.abs(array) < 1e50)]
    mean = float(np.mean(known)) if known.size else None
    _check(strip_plot("a", "A", [Strip("l", array, mean, mean, mean)], digits=digits, bounded=bounded))


@settings(max_examples=100, deadline=None, derandomize=True)
@given(x=VALUES, y=VALUES)
@example(x=[1.0, 1.0], y=[2.0, 2.0])
@example(x=[3.0, 1.0], y=[2.0, 2.0])
def test_curves(x: list[float], y: list[float]) -> None:
    count = min(len(x), len(y))
    _check(curve_plot("a", "A", [Curve("l", np.array(x[:count], dtype=float), np.array(y[:count], dtype=float))]))


@pytest.mark.parametrize("wrong", [0, 1, 7])
def test_an_evaluation_of_equal_cases_has_its_report(wrong: int, tmp_path: Path) -> None:
    reference = np.zeros((8, 8, 8), np.uint8)
    reference[2:6, 2:6, 2:6] = 1
    prediction = reference.copy()
    prediction[2, 2, 2 : 2 + min(wrong, 4)] = 0
    prediction[2, 3, 2 : 2 + max(wrong - 4, 0)] = 0
    for folder, labels in (("predictions", prediction), ("references", reference)):
        (tmp_path / folder).mkdir()
        for case in "abc":
            nib.save(nib.Nifti1Image(labels, np.eye(4)), tmp_path / folder / f"{case}.nii.gz")
    evaluate_folders(tmp_path / "predictions", tmp_path / "references", output_dir=tmp_path / "out")
    assert "<svg" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
