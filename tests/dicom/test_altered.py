"""Every kind of altered series of ``tests/dicom_altered`` is loaded truly, or refused with its cause in one line."""

from __future__ import annotations

import logging
import re
import warnings
from contextlib import contextmanager
from fractions import Fraction

import numpy as np
import pytest
from dicom_altered.series import KINDS, difference
from dicom_altered.slices import CANARIES
from dicom_altered.truth import rescaled, stored

from pipeline.dicom import choose, load, scan
from pipeline.errors import InputError
from pipeline.sources.reader import CaseReader


def by_functions(folder):
    series = choose(scan(folder))
    return load(series).array.transpose(2, 1, 0), series.frames.ras_affine


def by_case_reader(folder):
    reader = CaseReader()
    array, meta = reader.get_data(reader.read(folder))
    return array, meta["affine"]


@contextmanager
def words_without_a_patient(caplog):
    """Refuse a patient's name or ID in anything that is logged or warned of."""
    caplog.clear()
    with warnings.catch_warnings(record=True) as caught, caplog.at_level(logging.DEBUG):
        warnings.simplefilter("always")
        yield
        never_a_patient("\n".join([str(one.message) for one in caught] + [one.getMessage() for one in caplog.records]))


def never_a_patient(text) -> None:
    assert not [canary for canary in CANARIES if canary in text.casefold()]


@pytest.mark.parametrize("name", KINDS)
def test_altered_series(name, tmp_path, caplog, request):
    kind = KINDS[name]
    data = request.getfixturevalue("shared_data") if kind.real else None
    folder = tmp_path / "series"
    there, truth = kind.make(folder, data)
    assert there, "the source of the series is absent"
    with words_without_a_patient(caplog):
        check(by_functions, folder, kind, truth)
        check(by_case_reader, folder, kind, truth)


def check(read, folder, kind, truth) -> None:
    try:
        array, affine = read(folder)
    except InputError as error:
        text = str(error)
        never_a_patient(text)
        assert "\n" not in text
        assert kind.refuse is not None, f"a sound series was refused: {text}"
        assert re.search(kind.refuse, text), f"{text!r} does not name the cause {kind.refuse!r}"
    else:
        assert truth is not None, f"{read.__name__} loaded it in silence: {array.shape}"
        check_volume(array, affine, truth)


def check_volume(array, affine, truth) -> None:
    assert array.dtype == np.float32
    assert array.shape == truth.values.shape, "axes are not (column, row, slice)"
    found = difference(truth, array, affine)
    assert found.corners_mm <= truth.tolerance_mm, f"a corner is {found.corners_mm:.6f} mm off"
    assert found.value == 0, f"a value is {found.value:g} off"


def test_there_are_many_kinds():
    assert len(KINDS) >= 80
    assert len({kind.text for kind in KINDS.values()}) == len(KINDS)
    assert sum(kind.refuse is None for kind in KINDS.values()) >= 40


def test_true_values_are_the_nearest_to_the_exact_ones():
    kind = KINDS["intercept_per_slice"]
    slices = kind.source()
    kind.change(slices)
    for dataset in slices[::4]:
        slope, intercept = Fraction(str(dataset.RescaleSlope)), Fraction(str(dataset.RescaleIntercept))
        for value, whole in zip(rescaled(dataset).flat, stored(dataset).flat, strict=True):
            exact = int(whole) * slope + intercept
            errors = [abs(Fraction(float(np.nextafter(value, np.float32(to)))) - exact) for to in (-np.inf, np.inf)]
            assert abs(Fraction(float(value)) - exact) <= min(errors)


@pytest.mark.parametrize("name", ["oblique", "slope_per_slice", "two_slices"])
def test_the_comparison_sees_each_fault(name, tmp_path):
    truth = KINDS[name].make(tmp_path)[1]
    array, corners = truth.values, truth.corners
    affine = np.eye(4)
    affine[:3, 3] = corners[0]
    affine[:3, :3] = np.stack(
        [(corners[at] - corners[0]) / (size - 1) for at, size in zip((4, 2, 1), array.shape, strict=True)], axis=1
    )
    same = difference(truth, array, affine)
    assert same.corners_mm < 1e-9
    assert same.value == 0
    turned = affine.copy()
    turned[:3, 3] += affine[:3, 2] * (array.shape[2] - 1)
    turned[:3, 2] *= -1
    again = difference(truth, array[:, :, ::-1], turned)
    assert again.corners_mm < 1e-9, "the same volume, stored from its other end"
    assert again.value == 0
    assert difference(truth, array[:, :, ::-1], affine).value > 0.1
    assert difference(truth, array, affine + np.eye(4)[:, [0]] * (0, 0, 0, 0.2)).corners_mm > 0.1
    assert difference(truth, array[:, :-1], affine).corners_mm == np.inf
