from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.data import DataSplit
from pipeline.errors import InputError


def _data_set(root: Path, names: list[str]) -> Path:
    for name in names:
        for kind in ("images", "labels"):
            path = root / kind / f"{name}.nii.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    return root


def _split(root: Path, **arguments: object) -> DataSplit:
    return DataSplit(dataset_dir=root, datalist_file=root / "datalist.json", **arguments)


def _names(cases: list[dict[str, str]]) -> set[str]:
    return {case["name"] for case in cases}


@settings(max_examples=10, deadline=None)
@given(patients=st.integers(6, 25), scans=st.integers(1, 3), seed=st.integers(0, 100))
def test_no_patient_is_in_two_parts(
    tmp_path_factory: pytest.TempPathFactory, patients: int, scans: int, seed: int
) -> None:
    names = [f"p{patient:02d}_{scan}" for patient in range(patients) for scan in range(scans)]
    root = _data_set(tmp_path_factory.mktemp("data"), names)
    split = _split(root, seed=seed, folds=4, patient_pattern=r"^(p\d+)_")
    parts = [split.validation(fold) for fold in range(4)] + [split.held_out()]
    assert sorted(name for part in parts for name in _names(part)) == sorted(names)
    owners = [{case["patient"] for case in part} for part in parts]
    assert sum(map(len, owners)) == patients
    for fold in range(4):
        assert _names(split.training(fold)) == set(names) - _names(parts[fold]) - _names(parts[-1])


def test_the_deal_is_the_same_for_the_same_seed_and_is_read_again(tmp_path: Path) -> None:
    root = _data_set(tmp_path, [f"c{i}" for i in range(20)])
    split = _split(root, seed=3)
    first = _names(split.validation(1))
    assert not (root / "datalist.json").exists(), "a split is written with the weights that it made, not before"
    split.save()
    written = (root / "datalist.json").read_text()
    assert _names(_split(root, seed=99).validation(1)) == first, "an existing datalist decides, not the seed"
    (root / "datalist.json").unlink()
    again = _split(root, seed=3)
    assert _names(again.validation(1)) == first
    again.save()
    assert (root / "datalist.json").read_text() == written
    content = json.loads(written)
    assert {entry["fold"] for entry in content["training"]} == {0, 1, 2, 3, 4}
    assert len(content["test"]) == 2


def test_cases_that_the_datalist_does_not_know_are_all_held_out_and_never_dealt(tmp_path: Path) -> None:
    root = _data_set(tmp_path / "a", [f"a{i}" for i in range(10)])
    first = _split(root)
    first.training(0)
    first.save()
    other = _data_set(tmp_path / "b", ["b0", "b1"])
    split = DataSplit(dataset_dir=other, datalist_file=root / "datalist.json")
    assert _names(split.held_out()) == {"b0", "b1"}
    assert _names(split.select("all")) == {"b0", "b1"}


def test_data_that_was_all_used_for_training_is_refused(tmp_path: Path) -> None:
    root = _data_set(tmp_path, [f"c{i}" for i in range(10)])
    split = _split(root)
    split.training(0)
    split.save()
    for name in _names(split.held_out()):
        for kind in ("images", "labels"):
            (root / kind / f"{name}.nii.gz").unlink()
    with pytest.raises(InputError, match="every case of it was used in training or validation"):
        _split(root).held_out()


def test_one_patient_can_only_be_trained_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = _data_set(tmp_path, ["a"])
    with pytest.raises(InputError, match=r"nothing is left to train on .*--fold all"):
        _split(root).training(0)
    assert len(_split(root).training("all")) == 1
    assert "one patient: no other one is there" in caplog.text


def test_two_patients_validate_each_other(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = _data_set(tmp_path, ["a", "b"])
    split = _split(root)
    parts = [{case["name"] for case in part(0)} for part in (split.training, split.validation)]
    assert sorted(map(sorted, parts)) == [["a"], ["b"]]
    assert "2 patients: 0 for testing, 2 in as many folds" in caplog.text


@pytest.mark.parametrize("count", range(2, 16))
@pytest.mark.parametrize("folds", [2, 5])
def test_any_number_of_patients_is_dealt_into_parts_that_share_none(tmp_path: Path, count: int, folds: int) -> None:
    names = {f"c{i:02d}" for i in range(count)}
    root = _data_set(tmp_path, sorted(names))
    split = _split(root, folds=folds)
    training, validation = ({case["name"] for case in part(0)} for part in (split.training, split.validation))
    assert training
    assert validation
    tested = names - {case["name"] for case in split.training("all")}
    assert training | validation | tested == names
    assert not training & validation
    assert len(tested) == (0 if count == 2 else max(1, round(0.1 * count)))  # the share that the split is asked for


def test_a_wrong_fold_part_or_file(tmp_path: Path) -> None:
    root = _data_set(tmp_path, [f"c{i}" for i in range(10)])
    with pytest.raises(InputError, match="no fold 7"):
        _split(root).validation(7)
    with pytest.raises(InputError, match="no split tests"):
        _split(root).select("tests")
    (root / "datalist.json").write_text("{}")
    with pytest.raises(InputError, match="is not a datalist"):
        _split(root)


def test_weights_of_all_folds_have_no_validation_part(tmp_path: Path) -> None:
    root = _data_set(tmp_path, [f"c{i:02}" for i in range(12)])
    split = _split(root)
    training = _names(split.training("all"))
    split.save()
    again = _split(root)
    test = _names(again.held_out())
    assert training | test == {f"c{i:02}" for i in range(12)}
    assert not training & test
    assert _names(split.validation("all")) < training
    with pytest.raises(InputError, match=r"the weights were trained on fold 1\. Give --subset test"):
        again.select("validation", 1)
    with pytest.raises(InputError, match=r"the weights were trained on fold all\. Give --subset test"):
        again.select("validation", "all")


def test_a_fold_that_was_trained_on_does_not_validate(tmp_path: Path) -> None:
    root = _data_set(tmp_path, [f"c{i:02}" for i in range(12)])
    split = _split(root)
    split.training(2)
    split.save()
    again = _split(root)
    assert _names(again.select("validation", 2)) == _names(split.validation(2))
    with pytest.raises(InputError, match=r"the weights were trained on fold 0\. Give --fold 2"):
        again.select("validation", 0)
    again.training(0)  # another training in the same place
    again.save()
    assert _names(_split(root).select("validation", 0)) == _names(split.validation(0))
