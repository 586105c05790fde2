"""Label maps of one case on grids that are the same, or hold one another."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK
from label_folders import evaluate_in, metric_rows, save_labels
from seg_folders import SEGMENTS, save_seg, without_empty_frames

from pipeline.data.phantoms import Phantom
from pipeline.errors import InputError
from pipeline.workflows.convert import convert


@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1), (1, 0, 2)])
def test_a_grid_that_runs_the_other_way_is_the_same(
    dicom: tuple[Phantom, Path], tmp_path: Path, axes: tuple[int, ...]
) -> None:
    """SimpleITK stores the prediction with its axes exchanged and reversed, in the same place."""
    phantom, _ = dicom
    save_labels(phantom.labels, tmp_path / "references" / "a.nii.gz", phantom.affine)
    image = SimpleITK.ReadImage(str(tmp_path / "references" / "a.nii.gz"))
    turned = SimpleITK.PermuteAxes(SimpleITK.Flip(image, [True, False, True]), axes)
    (tmp_path / "predictions").mkdir()
    SimpleITK.WriteImage(turned, str(tmp_path / "predictions" / "a.mha"))
    table, failures, output = evaluate_in((tmp_path / "predictions", tmp_path / "references"))
    assert (failures, table.cases["a"].tolist()) == ({}, [1, 1])
    assert metric_rows(output)["a", "label 1"]["note"] == ""
    # Mirrored in the body, not in the file alone: the same header over reversed voxels lies elsewhere.
    mirrored = SimpleITK.GetImageFromArray(SimpleITK.GetArrayFromImage(image)[:, :, ::-1])
    mirrored.CopyInformation(image)
    SimpleITK.WriteImage(mirrored, str(tmp_path / "predictions" / "a.mha"))
    table, _, _ = evaluate_in((tmp_path / "predictions", tmp_path / "references"))
    assert table.cases["a"].max() < 0.9


def test_a_segmentation_on_the_grid_of_its_series(dicom: tuple[Phantom, Path], tmp_path: Path) -> None:
    """What ``convert --reference`` stores the other way round than the case's own label map."""
    phantom, study = dicom
    upwards = phantom.labels[:, :, ::-1]
    affine = phantom.affine @ np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, -1, upwards.shape[2] - 1], [0, 0, 0, 1.0]])
    reference = save_labels(upwards, tmp_path / "references" / "a.nii.gz", affine)
    seg = convert(reference, tmp_path / "seg.dcm", reference=study)[0]
    (tmp_path / "predictions").mkdir()
    convert(seg, tmp_path / "predictions" / "a.nii.gz", reference=study)
    made = nib.load(tmp_path / "predictions" / "a.nii.gz")
    assert made.affine[2, 2] * affine[2, 2] < 0
    (tmp_path / "predictions" / "a_labels.json").unlink()
    table, failures, _ = evaluate_in((tmp_path / "predictions", tmp_path / "references"))
    assert (failures, table.cases["a"].tolist()) == ({}, [1, 1])


@pytest.mark.parametrize("outlined", ["predictions", "references"])
@pytest.mark.parametrize("other", ["nii.gz", "dcm"])
def test_contours_meet_voxels_by_name(dicom: tuple[Phantom, Path], tmp_path: Path, outlined: str, other: str) -> None:
    """An RTSTRUCT is filled on the grid of the other file, also beyond the slices that a SEG keeps."""
    phantom, study = dicom
    reference = np.zeros_like(phantom.labels)
    reference[6:14, 5:12, 3:6], reference[15:19, 5:12, 3:6] = 1, 2
    drawn = reference[:, :, ::-1].copy()
    folders = {name: tmp_path / name for name in ("predictions", "references")}
    for folder in folders.values():
        folder.mkdir()
    voxels = folders["references" if outlined == "predictions" else "predictions"]
    source = save_labels(drawn, tmp_path / "drawn.nii.gz", phantom.affine)
    (tmp_path / "drawn.json").write_text('{"2": "Kidney", "1": "Cyst"}')
    convert(source, folders[outlined] / "a.dcm", reference=study, kind="rtstruct", labels=tmp_path / "drawn.json")
    expected = drawn
    if other == "dcm":
        save_seg(reference, dicom, voxels / "a.dcm")
        without_empty_frames(voxels / "a.dcm")
        expected = np.array([0, 2, 1])[drawn]
    else:
        save_labels(reference, voxels / "a.nii.gz", phantom.affine)
    table, failures, _ = evaluate_in((folders["predictions"], folders["references"]))
    assert failures == {}
    for k, value in enumerate(table.labels):
        a, b = expected == value, reference == value
        assert table.cases["a"][k] == pytest.approx(2 * (a & b).sum() / (a.sum() + b.sum()))
    assert set(table.labels.values()) == {"Kidney", "Cyst"}


def test_two_structure_sets_have_no_voxels(dicom: tuple[Phantom, Path], tmp_path: Path) -> None:
    phantom, study = dicom
    source = save_labels(phantom.labels, tmp_path / "labels.nii.gz", phantom.affine)
    for name in ("predictions", "references"):
        (tmp_path / name).mkdir()
        convert(source, tmp_path / name / "a.dcm", reference=study, kind="rtstruct")
    with pytest.raises(InputError, match=r"no label map can be read .*two RTSTRUCT have contours and no voxels"):
        evaluate_in((tmp_path / "predictions", tmp_path / "references"))


@pytest.mark.parametrize("kept", ["predictions", "references"])
def test_a_single_frame_has_the_step_of_the_other_grid(dicom: tuple[Phantom, Path], tmp_path: Path, kept: str) -> None:
    """A SEG of one slice that is 1 mm thick, on slices that are 3 mm apart."""
    phantom, _ = dicom
    labels = np.zeros_like(phantom.labels)
    labels[5:9, 5:12, 4] = 1
    folders = {name: tmp_path / name for name in ("predictions", "references")}
    path = save_seg(labels, dicom, folders[kept] / "a.dcm", SEGMENTS[:1])
    without_empty_frames(path)
    seg = pydicom.dcmread(path)
    measures = seg.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    measures.SliceThickness = 1
    measures.pop("SpacingBetweenSlices", None)
    seg.save_as(path)
    (other,) = folders.keys() - {kept}
    save_labels(labels, folders[other] / "a.nii.gz", phantom.affine)
    table, failures, _ = evaluate_in((folders["predictions"], folders["references"]))
    assert (failures, table.cases["a"].tolist()) == ({}, [1])
