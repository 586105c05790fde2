from __future__ import annotations

import pickle

import pytest

from pipeline.errors import CasesFailed, InputError, find_input_error, one_line


def test_a_message_says_where_what_expected_got_and_cure() -> None:
    error = InputError("has the wrong size", where="a.nii", expected=3, got=4, cure="Crop it")
    assert str(error) == "a.nii: has the wrong size (expected 3, got 4). Crop it"
    assert str(InputError("is empty")) == "is empty"
    assert str(InputError("is empty", got=0)) == "is empty (got 0)"


@pytest.mark.parametrize("part", ["a\nb", "a\r\nb", "a\n\n\tb", "a\x0bb", "a\x85b", "a\u2028b", "\na b\n"])
def test_a_message_is_one_line_whatever_its_parts_hold(part: str) -> None:
    error = InputError(part, where=part, expected=part, got=part, cure=part)
    assert len(str(error).splitlines()) == 1
    place, told = str(error).split(": ", 1)
    assert place == part.encode("unicode_escape").decode()  # a name is not altered
    assert told.replace("a b", "").split() == ["(expected", ",", "got", ")."]


def test_an_input_error_outlives_a_process_boundary() -> None:
    error = pickle.loads(pickle.dumps(InputError("is empty", where="a.nii")))  # noqa: S301 - made in this line
    assert isinstance(error, InputError)
    assert str(error) == "a.nii: is empty"


def _read() -> None:
    raise InputError("is empty", where="a.nii")


def _load(*, explicit: bool) -> None:
    try:
        _read()
    except InputError as error:
        if explicit:
            raise RuntimeError("applying transform") from error
        raise RuntimeError("applying transform")  # noqa: B904 - the implicit context is what is tested


def _instantiate(*, explicit: bool) -> None:
    try:
        _load(explicit=explicit)
    except RuntimeError as error:
        raise KeyError("instantiating") from error


def _go_another_way() -> None:
    try:
        _read()
    except InputError:
        raise RuntimeError("is another matter") from None


@pytest.mark.parametrize("explicit", [True, False], ids=["raise from", "implicit context"])
def test_the_input_error_behind_other_errors_is_found(explicit: bool) -> None:
    with pytest.raises(KeyError) as caught:
        _instantiate(explicit=explicit)
    assert str(find_input_error(caught.value)) == "a.nii: is empty"
    assert one_line(caught.value) == "a.nii: is empty"


def test_an_error_that_was_dealt_with_is_not_found() -> None:
    with pytest.raises(RuntimeError) as caught:
        _go_another_way()
    assert find_input_error(caught.value) is None
    assert one_line(caught.value) == "RuntimeError: is another matter"


def test_a_foreign_error_is_told_in_one_line_by_its_innermost_cause() -> None:
    outer = RuntimeError("applying\ntransform")
    outer.__cause__ = ZeroDivisionError("division\n  by zero")
    assert one_line(outer) == "ZeroDivisionError: division by zero"
    assert one_line(outer.__cause__) == "ZeroDivisionError: division by zero"


def test_failed_cases_end_a_plain_process_with_status_3() -> None:
    error = CasesFailed({"a": "is empty", "b": "is gone"}, total=5)
    assert str(error) == "2 of 5 cases failed: a, b"
    assert error.failures == {"a": "is empty", "b": "is gone"}
    assert isinstance(error, SystemExit)
    assert error.code == 3
