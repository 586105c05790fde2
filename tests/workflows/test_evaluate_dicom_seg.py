from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pydicom
import pytest
from label_folders import evaluate_in, metric_rows, save_labels
from seg_folders import SEGMENTS, renamed, save_seg, undescribed, without_empty_frames

from pipeline.data.phantoms import Phantom
from pipeline.errors import InputError
from pipeline.workflows.convert import convert


@pytest.mark.parametrize("omitted", [(), ("predictions",), ("references",), ("predictions", "references")])
def test_dicom_seg_is_scored_with_the_names_of_its_segments(
    dicom: tuple[Phantom, Path], tmp_path: Path, omitted: tuple[str, ...]
) -> None:
    phantom, _ = dicom
    reference = np.zeros_like(phantom.labels)
    reference[6:14, 5:12, 3:6], reference[15:19, 5:12, 3:6] = 1, 2
    prediction = np.roll(reference, (1, 1), (0, 2))
    for name, labels in (("references", reference), ("predictions", prediction)):
        path = save_seg(labels, dicom, tmp_path / name / "a.dcm")
        if name in omitted:
            without_empty_frames(path)
    table, failures, output = evaluate_in((tmp_path / "predictions", tmp_path / "references"))
    assert failures == {}
    assert table.labels == {1: "Kidney", 2: "Cyst"}
    for k, value in enumerate((1, 2)):
        a, b = prediction == value, reference == value
        assert table.cases["a"][k] == pytest.approx(2 * (a & b).sum() / (a.sum() + b.sum()))
        row = metric_rows(output)["a", table.labels[value]]
        assert float(row["hausdorff_mm"]) == pytest.approx(np.hypot(2, 3))
        assert row["note"] == ""


def test_dicom_seg_against_nifti(dicom: tuple[Phantom, Path], tmp_path: Path) -> None:
    """As ``medbundle segment`` leaves them: the NIfTI beside the SEG is the same, and is taken."""
    phantom, _ = dicom
    save_labels(phantom.labels, tmp_path / "references" / "a.nii.gz", phantom.affine)
    save_seg(phantom.labels, dicom, tmp_path / "predictions" / "a.dcm")
    table, failures, _ = evaluate_in((tmp_path / "predictions", tmp_path / "references"))
    assert (failures, table.cases["a"].tolist()) == ({}, [1.0, 1.0])
    save_labels(np.zeros_like(phantom.labels), tmp_path / "predictions" / "a.nii.gz", phantom.affine)
    table, _, _ = evaluate_in((tmp_path / "predictions", tmp_path / "references"))
    assert table.cases["a"].tolist() == [0.0, 0.0]


def test_segments_pair_by_name_and_other_values_are_said(
    dicom: tuple[Phantom, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The voxels of each name are scored, whatever its number; that the numbers differ is said."""
    phantom, _ = dicom
    folders = tmp_path / "predictions", tmp_path / "references"
    swapped = renamed("Cyst", " kidney")
    save_seg(phantom.labels, dicom, folders[1] / "same.dcm")
    save_seg(np.array([0, 2, 1], np.uint8)[phantom.labels], dicom, folders[0] / "same.dcm", swapped)
    save_seg(phantom.labels, dicom, folders[1] / "other.dcm")
    save_seg(phantom.labels, dicom, folders[0] / "other.dcm", swapped)
    table, failures, output = evaluate_in(folders)
    assert (failures, table.labels) == ({}, {1: "Kidney", 2: "Cyst"})
    assert (table.cases["same"].tolist(), table.cases["other"].tolist()) == ([1, 1], [0, 0])
    said = "'Cyst' has the value 1, not 2 as elsewhere: labels paired by name"
    assert metric_rows(output)["other", "Cyst"]["note"] == said
    assert caplog.text.count(said) == 2


@pytest.mark.parametrize("described", [True, False], ids=["own", "foreign"])
def test_gapped_labels_meet_a_label_map(dicom: tuple[Phantom, Path], tmp_path: Path, described: bool) -> None:
    """Labels 1 and 5 are segments 1 and 2; where their values are not told, they are not guessed."""
    phantom, _ = dicom
    labels = np.array([0, 1, 5], np.uint8)[phantom.labels]
    folders = tmp_path / "predictions", tmp_path / "references"
    gapped = [SEGMENTS[0], dataclasses.replace(SEGMENTS[1], value=5)]
    save_labels(labels, folders[1] / "a.nii.gz", phantom.affine)
    path = save_seg(labels, dicom, folders[0] / "a.dcm", gapped)
    assert [item.SegmentNumber for item in pydicom.dcmread(path).SegmentSequence] == [1, 2]
    if not described:
        undescribed(path)
    table, failures, _ = evaluate_in(folders)
    if described:
        assert (failures, table.labels, table.cases["a"].tolist()) == ({}, {1: "Kidney", 5: "Cyst"}, [1, 1])
    else:
        assert "do not tell their label values (expected the values 1, 5, got 1, 2). Tell by --labels" in failures["a"]
    for content in ('{"1": "kidney", "5": "cyst"}', '{"labels": {"background": 0, "Cyst": 5, "KIDNEY": 1}}'):
        (tmp_path / "labels.json").write_text(content)
        table, failures, _ = evaluate_in(folders, labels=tmp_path / "labels.json")
        assert (failures, table.cases["a"].tolist()) == ({}, [1, 1])


def test_numbers_that_are_all_the_values_there_are_are_taken_with_a_word(
    dicom: tuple[Phantom, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    phantom, _ = dicom
    save_labels(phantom.labels, tmp_path / "references" / "a.nii.gz", phantom.affine)
    undescribed(save_seg(phantom.labels, dicom, tmp_path / "predictions" / "a.dcm"))
    table, failures, output = evaluate_in((tmp_path / "predictions", tmp_path / "references"))
    assert (failures, table.cases["a"].tolist()) == ({}, [1, 1])
    said = "segments do not tell their label values: labels paired by segment number"
    assert metric_rows(output)["a", "Kidney"]["note"] == said
    assert f"a.dcm: {said}" in caplog.text


def test_segments_of_other_programs_pair_by_name_or_code(dicom: tuple[Phantom, Path], tmp_path: Path) -> None:
    """Numbers in another order; one name is spelled in another way, and its code is the same."""
    phantom, _ = dicom
    codes = ("64033007", "SCT", "Kidney"), ("103552005", "SCT", "Cyst")
    ours = [dataclasses.replace(one, property_type=code) for one, code in zip(SEGMENTS, codes, strict=True)]
    theirs = [
        dataclasses.replace(ours[1], value=1, name="CYST"),
        dataclasses.replace(ours[0], value=2, name="Ren dexter"),
    ]
    folders = tmp_path / "predictions", tmp_path / "references"
    undescribed(save_seg(phantom.labels, dicom, folders[1] / "a.dcm", ours))
    undescribed(save_seg(np.array([0, 2, 1], np.uint8)[phantom.labels], dicom, folders[0] / "a.dcm", theirs))
    table, failures, _ = evaluate_in(folders)
    assert (failures, table.labels, table.cases["a"].tolist()) == ({}, {1: "Kidney", 2: "Cyst"}, [1, 1])
    concept = {"value": "64033007", "meaning": "Kidney"}
    entries = [{"value": 3, "name": "Niere", "type": concept}, {"value": 8, "name": "cyst"}]
    (tmp_path / "labels.json").write_text(json.dumps(entries))
    table, failures, _ = evaluate_in(folders, labels=tmp_path / "labels.json")
    assert (failures, table.labels, table.cases["a"].tolist()) == ({}, {3: "Niere", 8: "cyst"}, [1, 1])


def test_a_name_that_is_not_scored_is_refused(dicom: tuple[Phantom, Path], tmp_path: Path) -> None:
    phantom, _ = dicom
    save_seg(phantom.labels, dicom, tmp_path / "references" / "a.dcm")
    save_seg(phantom.labels, dicom, tmp_path / "predictions" / "a.dcm", renamed("Kidney", "Zyste"))
    (tmp_path / "labels.json").write_text('{"1": "Kidney", "2": "Cyst"}')
    _, failures, _ = evaluate_in((tmp_path / "predictions", tmp_path / "references"), labels=tmp_path / "labels.json")
    assert "its label 2 'Zyste' is none of those that are scored (expected Kidney, Cyst)" in failures["a"]


def test_names_that_contradict_values_where_only_some_files_have_names(
    dicom: tuple[Phantom, Path], tmp_path: Path
) -> None:
    phantom, _ = dicom
    folders = tmp_path / "predictions", tmp_path / "references"
    for case, names in (("a", ("Kidney", "Cyst")), ("b", ("Cyst", "Kidney"))):
        undescribed(save_seg(phantom.labels, dicom, folders[0] / f"{case}.dcm", renamed(*names)))
        save_labels(phantom.labels, folders[1] / f"{case}.nii.gz", phantom.affine)
    with pytest.raises(InputError, match="names and values of labels differ between the files"):
        evaluate_in(folders)


def test_names_beside_label_maps_count(dicom: tuple[Phantom, Path], tmp_path: Path) -> None:
    """Two NIfTI files that ``convert`` made of other numberings, with its tables beside them."""
    phantom, _ = dicom
    folders = tmp_path / "predictions", tmp_path / "references"
    swapped = np.array([0, 2, 1], np.uint8)[phantom.labels]
    for folder, labels, segments in (
        (folders[0], swapped, renamed("Cyst", "Kidney")),
        (folders[1], phantom.labels, SEGMENTS),
    ):
        seg = save_seg(labels, dicom, tmp_path / f"{folder.name}.dcm", segments)
        folder.mkdir()
        convert(undescribed(seg), folder / "a.nii.gz")
    table, failures, _ = evaluate_in(folders)
    assert (failures, table.labels, table.cases["a"].tolist()) == ({}, {1: "Kidney", 2: "Cyst"}, [1, 1])
    for folder in folders:
        (folder / "a_labels.json").unlink()
    table, _, _ = evaluate_in(folders)
    assert table.cases["a"].tolist() == [0, 0]


def test_other_names_for_one_value_are_refused(
    dicom: tuple[Phantom, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing tells whether the two are one; of another value, they are two."""
    phantom, _ = dicom
    folders = tmp_path / "predictions", tmp_path / "references"
    save_seg(phantom.labels, dicom, folders[1] / "a.dcm")
    save_seg(phantom.labels, dicom, folders[0] / "a.dcm", renamed("Kidney", "Zyste"))
    with pytest.raises(InputError, match="label 2 is 'Cyst' in the references and 'Zyste' in the predictions"):
        evaluate_in(folders)
    entries = [{"value": 1, "name": "Kidney"}, {"value": 2, "name": "Cyst", "source_names": ["Zyste"]}]
    (tmp_path / "labels.json").write_text(json.dumps(entries))
    table, failures, _ = evaluate_in(folders, labels=tmp_path / "labels.json")
    assert (failures, table.cases["a"].tolist()) == ({}, [1, 1])
    third = dataclasses.replace(SEGMENTS[1], value=3, name="Stone")
    save_seg(np.array([0, 1, 3], np.uint8)[phantom.labels], dicom, folders[0] / "a.dcm", [SEGMENTS[0], third])
    table, failures, _ = evaluate_in(folders)
    assert (failures, table.labels) == ({}, {1: "Kidney", 2: "Cyst", 3: "Stone"})
    assert table.cases["a"].tolist() == [1, 0, 0]
    assert "labels of the references alone: Cyst" in caplog.text
    assert "labels of the predictions alone: Stone" in caplog.text
