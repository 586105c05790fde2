from __future__ import annotations

import csv
import dataclasses
import gzip
import json
import logging
from pathlib import Path

import highdicom
import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813
from PIL import Image
from pydicom.uid import generate_uid

from pipeline.data.phantoms import Phantom, make_phantom, write_phantom_dicom
from pipeline.dicom import Segment, write_segmentation
from pipeline.errors import InputError
from pipeline.evaluation import ScoreTable
from pipeline.workflows.evaluate import evaluate_folders

CATEGORY = ("91723000", "SCT", "Anatomical Structure")
AFFINE = np.array([[-1.5, 0, 0, 30], [0, 0.8, 0, -12], [0, 0, 2.5, 7], [0, 0, 0, 1]])


def _reference(seed: int = 0) -> np.ndarray:
    labels = np.zeros((16, 18, 8), dtype=np.uint8)
    labels[3:9, 4 : 9 + seed, 2:6], labels[9:14, 4:12, 2:6] = 1, 2
    return labels


def _save(labels: np.ndarray, path: Path, affine: np.ndarray = AFFINE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(labels, affine), path)
    return path


def _rows(folder: Path) -> dict[tuple[str, str], dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return {(row["case"], row["label"]): row for row in csv.DictReader(file)}


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Three cases, each of which is predicted one voxel off."""
    for n in range(3):
        _save(_reference(n), tmp_path / "references" / f"case{n}.nii.gz")
        _save(np.roll(_reference(n), 1, axis=0), tmp_path / "predictions" / f"case{n}.nii.gz")
    return tmp_path / "predictions", tmp_path / "references"


def _evaluate(folders: tuple[Path, Path], **options: object) -> tuple[ScoreTable, dict[str, str], Path]:
    output = folders[0].parent / "out"
    table, failures = evaluate_folders(*folders, output_dir=output, **options)
    return table, failures, output


def test_two_folders_are_scored_as_simpleitk_does(folders: tuple[Path, Path]) -> None:
    table, failures, output = _evaluate(folders)
    assert failures == {}
    assert sorted(path.name for path in output.iterdir()) == [
        "dice.csv",
        "dice.json",
        "metrics.csv",
        "plots",
        "report.html",
        "summary.json",
    ]
    assert table.labels == {1: "label 1", 2: "label 2"}
    for (case, label), row in _rows(output).items():
        images = [sitk.ReadImage(str(folder / f"{case}.nii.gz")) == int(label[-1]) for folder in folders]
        overlap, distance = sitk.LabelOverlapMeasuresImageFilter(), sitk.HausdorffDistanceImageFilter()
        overlap.Execute(*images)
        distance.Execute(*images)
        assert float(row["dice"]) == pytest.approx(overlap.GetDiceCoefficient())
        assert float(row["hausdorff_mm"]) == pytest.approx(distance.GetHausdorffDistance(), rel=1e-5)
        assert float(row["hausdorff_mm"]) == pytest.approx(1.5)
        voxels = int((sitk.GetArrayFromImage(images[1]) > 0).sum())
        assert float(row["reference_volume_ml"]) == pytest.approx(voxels * 1.5 * 0.8 * 2.5 / 1000)


def test_names_come_from_a_table(folders: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "dataset.json").write_text('{"labels": {"background": 0, "Liver": 1, "Spleen": 2, "Kidney": 3}}')
    table, failures, output = _evaluate(folders, labels=tmp_path / "dataset.json")
    assert failures == {}
    assert list(table.summary()) == ["Liver", "Spleen", "Kidney", "mean"]
    assert _rows(output)["case0", "Kidney"]["dice"] == "1"  # absent, as it should be


def test_a_value_without_a_name_is_refused_and_the_rest_is_scored(folders: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "names.json").write_text('{"1": "Liver", "2": "Spleen"}')
    labels = _reference(1)
    labels[0, 0, 0] = 9
    _save(labels, folders[0] / "case1.nii.gz")
    _, failures, output = _evaluate(folders, labels=tmp_path / "names.json")
    (line,) = failures.values()
    assert "label value 9 has no name (expected 0, 1, 2)" in line
    assert list(failures) == ["case1"]
    assert [_rows(output)[f"case{n}", "Liver"]["dice"] == "0" for n in range(3)] == [False, True, False]


def _float_map(path: Path) -> None:
    _save(_reference(1) * np.float32(0.5), path)


def _other_shape(path: Path) -> None:
    _save(_reference(1)[:-1], path)


def _other_affine(path: Path) -> None:
    moved = AFFINE.copy()
    moved[0, 3] += 1
    _save(_reference(1), path, moved)


def _cut(path: Path) -> None:
    path.write_bytes(gzip.compress(bytes(500)))


def _empty(path: Path) -> None:
    path.write_bytes(b"")


FAULTS = {
    _float_map: "expected whole numbers, got 0.5",
    _other_shape: "is not on the reference's grid (got shape (15, 18, 8) instead of (16, 18, 8)). Give --resample",
    _other_affine: "is not on the reference's grid (got an affine that puts voxels up to 1 mm away). Give --resample",
    _cut: "cannot be read",
    _empty: "file is empty",
    Path.unlink: "has no label map of case1",
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_an_unusable_prediction_scores_0_and_the_line_names_both_files(
    folders: tuple[Path, Path], fault: object
) -> None:
    fault(folders[0] / "case1.nii.gz")
    table, failures, output = _evaluate(folders)
    assert list(failures) == ["case1"]
    (line,) = failures.values()
    assert FAULTS[fault] in line
    assert "\n" not in line
    assert str(folders[1] / "case1.nii.gz") in line
    assert str(folders[0]) in line
    rows = _rows(output)
    assert (rows["case1", "label 1"]["dice"], rows["case1", "label 1"]["hausdorff_mm"]) == ("0", "inf")
    assert rows["case1", "label 2"]["note"] == line
    assert min(float(rows[f"case{n}", "label 1"]["dice"]) for n in (0, 2)) > 0.5
    content = json.loads((output / "summary.json").read_text())
    assert (content["cases"], list(content["missing"])) == (3, ["case1"])
    assert content["summary"]["label 1"]["hausdorff_mm"]["infinite"] == 1
    assert "case1: no prediction, counted as 0" in table.text()


@pytest.mark.parametrize("fault", [_float_map, _cut, _empty], ids=lambda fault: fault.__name__)
def test_an_unusable_reference_is_named_and_counts_nowhere(folders: tuple[Path, Path], fault: object) -> None:
    fault(folders[1] / "case1.nii.gz")
    table, failures, output = _evaluate(folders)
    (line,) = failures.values()
    assert all(str(folder / "case1.nii.gz") in line for folder in folders)
    assert {case for case, _ in _rows(output)} == {"case0", "case2"}
    assert list(json.loads((output / "summary.json").read_text())["unscored"]) == ["case1"]
    assert "case1: not scored" in table.text()


def test_a_prediction_without_reference_is_ignored_with_a_warning(
    folders: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    extra = _save(_reference(), folders[0] / "extra.nii.gz")
    with caplog.at_level(logging.WARNING, "pipeline"):
        _, failures, output = _evaluate(folders)
    assert failures == {}
    assert f"{extra}: has no reference" in caplog.text
    assert json.loads((output / "summary.json").read_text())["ignored"] == {"extra": str(extra)}
    assert "extra" not in {case for case, _ in _rows(output)}


@pytest.mark.parametrize("suffix", [".nii", ".mha", ".nrrd", "_0000.nii.gz"])
def test_names_match_whatever_the_format(folders: tuple[Path, Path], suffix: str) -> None:
    plain, _, _ = _evaluate(folders)
    for path in sorted(folders[0].iterdir()):
        image = sitk.ReadImage(str(path))
        path.unlink()
        sitk.WriteImage(image, str(folders[0] / (path.name.removesuffix(".nii.gz") + suffix)))
    (folders[0] / "plans.json").write_text("{}")
    again, failures, _ = _evaluate(folders)
    assert failures == {}
    assert again.summary() == plain.summary()


def test_resampling_brings_another_grid_back_and_says_so(folders: tuple[Path, Path]) -> None:
    labels = np.roll(_reference(1), 1, axis=0)
    turned = AFFINE @ np.array([[0, 1, 0, 0], [-1, 0, 0, 15], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    _save(np.rot90(labels, 1, (0, 1))[::-1, ::-1].copy(), folders[0] / "case1.nii.gz", turned)
    image = sitk.ReadImage(str(folders[0] / "case1.nii.gz"))
    grid = sitk.ReadImage(str(folders[1] / "case1.nii.gz"))
    expected = sitk.GetArrayFromImage(sitk.Resample(image, grid, sitk.Transform(), sitk.sitkNearestNeighbor, 0))
    truth = sitk.GetArrayFromImage(grid)
    _, refused, _ = _evaluate(folders)
    assert list(refused) == ["case1"]
    table, failures, output = _evaluate(folders, resample=True)
    assert failures == {}
    for k, value in enumerate((1, 2)):
        a, b = expected == value, truth == value
        assert table.cases["case1"][k] == pytest.approx(2 * (a & b).sum() / (a.sum() + b.sum()))
    rows = _rows(output)
    assert "resampled to the reference's grid" in rows["case1", "label 1"]["note"]
    assert rows["case0", "label 1"]["note"] == ""
    content = json.loads((output / "summary.json").read_text())
    assert (content["resampled"], list(content["notes"])) == (True, ["case1"])


def test_pictures_are_scored_in_pixels(tmp_path: Path) -> None:
    for n in range(2):
        labels = _reference(n)[:, :, 3]
        for folder, values in (("references", labels), ("predictions", np.roll(labels, 2, axis=1))):
            (tmp_path / folder).mkdir(exist_ok=True)
            Image.fromarray(values.T).save(tmp_path / folder / f"case{n}.png")
        Image.fromarray(np.zeros((18, 16, 3), np.uint8)).save(tmp_path / "predictions" / f"case{n}_overlay.png")
    _, failures, output = _evaluate((tmp_path / "predictions", tmp_path / "references"))
    assert failures == {}
    row = _rows(output)["case1", "label 2"]
    assert (float(row["hausdorff_pixel"]), float(row["reference_area_pixel"])) == (2, 40)
    assert json.loads((output / "summary.json").read_text())["ignored"] == {}


def test_a_volume_of_one_slice_is_measured_as_an_image(tmp_path: Path) -> None:
    labels = _reference()[:, :, 3:4]
    _save(labels, tmp_path / "references" / "a.nii.gz")
    _save(np.roll(labels, 2, axis=0), tmp_path / "predictions" / "a.nii.gz")
    _, _, output = _evaluate((tmp_path / "predictions", tmp_path / "references"))
    row = _rows(output)["a", "label 2"]
    assert (float(row["hausdorff_mm"]), float(row["reference_area_mm2"])) == pytest.approx((3, 40 * 1.5 * 0.8))


SEGMENTS = [
    Segment(value=value, name=name, category=CATEGORY, property_type=CATEGORY)
    for value, name in ((1, "Kidney"), (2, "Cyst"))
]


@pytest.fixture
def dicom(tmp_path: Path) -> tuple[Phantom, Path]:
    phantom = make_phantom(7, shape=(24, 20, 9), spacing_mm=(2.0, 2.5, 3.0))
    return phantom, write_phantom_dicom(phantom, tmp_path / "study")


def _seg(labels: np.ndarray, dicom: tuple[Phantom, Path], path: Path, segments: list[Segment] = SEGMENTS) -> Path:
    files = [str(file) for file in sorted(dicom[1].iterdir())]
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_segmentation(labels, affine=dicom[0].affine, source_files=files, segments=segments, path=path)


def _without_empty_frames(path: Path) -> None:
    """As other makers write a SEG."""
    seg = highdicom.seg.segread(path)
    volume = seg.get_volume(combine_segments=True)
    images = [pydicom.dcmread(file) for file in (path.parent.parent / "study").iterdir()]
    images.sort(key=lambda image: image.ImagePositionPatient[2])
    again = highdicom.seg.Segmentation(
        source_images=images, pixel_array=volume.array if volume.affine[2, 0] > 0 else volume.array[::-1],
        segmentation_type="BINARY", segment_descriptions=list(seg.SegmentSequence),
        series_instance_uid=generate_uid(), series_number=1, sop_instance_uid=generate_uid(), instance_number=1,
        manufacturer="other", manufacturer_model_name="x", software_versions="1", device_serial_number="1",
        omit_empty_frames=True,
    )  # fmt: skip
    assert len(again.PerFrameFunctionalGroupsSequence) < len(seg.PerFrameFunctionalGroupsSequence)
    again.save_as(path)


@pytest.mark.parametrize("omitted", [(), ("predictions",), ("references",), ("predictions", "references")])
def test_dicom_seg_is_scored_with_the_names_of_its_segments(
    dicom: tuple[Phantom, Path], tmp_path: Path, omitted: tuple[str, ...]
) -> None:
    phantom, _ = dicom
    reference = np.zeros_like(phantom.labels)
    reference[6:14, 5:12, 3:6], reference[15:19, 5:12, 3:6] = 1, 2
    prediction = np.roll(reference, (1, 1), (0, 2))
    for name, labels in (("references", reference), ("predictions", prediction)):
        path = _seg(labels, dicom, tmp_path / name / "a.dcm")
        if name in omitted:
            _without_empty_frames(path)
    table, failures, output = _evaluate((tmp_path / "predictions", tmp_path / "references"))
    assert failures == {}
    assert table.labels == {1: "Kidney", 2: "Cyst"}
    for k, value in enumerate((1, 2)):
        a, b = prediction == value, reference == value
        assert table.cases["a"][k] == pytest.approx(2 * (a & b).sum() / (a.sum() + b.sum()))
        row = _rows(output)["a", table.labels[value]]
        assert float(row["hausdorff_mm"]) == pytest.approx(np.hypot(2, 3))
        assert row["note"] == ""


def test_dicom_seg_against_nifti(dicom: tuple[Phantom, Path], tmp_path: Path) -> None:
    """As ``medpipe segment`` leaves them: the NIfTI beside the SEG is the same, and is taken."""
    phantom, _ = dicom
    _save(phantom.labels, tmp_path / "references" / "a.nii.gz", phantom.affine)
    _seg(phantom.labels, dicom, tmp_path / "predictions" / "a.dcm")
    table, failures, _ = _evaluate((tmp_path / "predictions", tmp_path / "references"))
    assert (failures, table.cases["a"].tolist()) == ({}, [1.0, 1.0])
    _save(np.zeros_like(phantom.labels), tmp_path / "predictions" / "a.nii.gz", phantom.affine)
    table, _, _ = _evaluate((tmp_path / "predictions", tmp_path / "references"))
    assert table.cases["a"].tolist() == [0.0, 0.0]


def test_segments_of_other_names_are_refused(dicom: tuple[Phantom, Path], tmp_path: Path) -> None:
    phantom, _ = dicom
    swapped = [dataclasses.replace(one, name=other.name) for one, other in zip(SEGMENTS, SEGMENTS[::-1], strict=True)]
    _seg(phantom.labels, dicom, tmp_path / "references" / "a.dcm")
    _seg(phantom.labels, dicom, tmp_path / "predictions" / "a.dcm", swapped)
    _, failures, _ = _evaluate((tmp_path / "predictions", tmp_path / "references"))
    assert "calls label 1 Cyst (expected Kidney, as its reference)" in failures["a"]


def test_groups_and_patients_come_from_a_table(folders: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "g.csv").write_text("case,patient,scanner\ncase0,p,A\ncase1,p,B\ncase2,q,A\n")
    table, _, output = _evaluate(folders, groups=tmp_path / "g.csv", by="scanner")
    assert table.patients == {"case0": "p", "case1": "p", "case2": "q"}
    groups = json.loads((output / "groups.json").read_text())["groups"]
    assert {name: (part["cases"], part["patients"]) for name, part in groups.items()} == {"A": (2, 2), "B": (1, 1)}
    means = [table.cases[name][0] for name in ("case0", "case2")]
    assert groups["A"]["summary"]["label 1"]["dice"]["mean"] == pytest.approx(np.mean(means))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: _save(_reference(), folder / "case1.nii"), "two files have one name"),
        (lambda folder: [path.unlink() for path in folder.iterdir()], "holds no label map"),
        (lambda folder: [path.rename(folder / f"x_{path.name}") for path in folder.iterdir()], "no file has the name"),
    ],
)
def test_folders_that_cannot_be_matched_are_refused(folders: tuple[Path, Path], change: object, message: str) -> None:
    change(folders[0])
    with pytest.raises(InputError, match=message):
        _evaluate(folders)
    assert not (folders[0].parent / "out").exists()


def test_other_mistakes_are_refused_before_anything_is_written(folders: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        _evaluate((tmp_path / "absent", folders[1]))
    with pytest.raises(InputError, match="no table tells the sex"):
        _evaluate(folders, by="sex")
    for path in folders[1].iterdir():
        _save(np.zeros((4, 4, 4), np.uint8), path)
    for path in folders[0].iterdir():
        _save(np.zeros((4, 4, 4), np.uint8), path)
    with pytest.raises(InputError, match="no label but background"):
        _evaluate(folders)
    assert not (tmp_path / "out").exists()
