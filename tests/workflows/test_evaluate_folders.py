from __future__ import annotations

import gzip
import json
import logging
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import surface_distance
from label_folders import AFFINE, evaluate_in, label_map, metric_rows, save_labels
from PIL import Image

from pipeline.cli import main
from pipeline.errors import InputError


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Three cases, each of which is predicted one voxel off."""
    for n in range(3):
        save_labels(label_map(n), tmp_path / "references" / f"case{n}.nii.gz")
        save_labels(np.roll(label_map(n), 1, axis=0), tmp_path / "predictions" / f"case{n}.nii.gz")
    return tmp_path / "predictions", tmp_path / "references"


def test_two_folders_are_scored_as_simpleitk_does(folders: tuple[Path, Path]) -> None:
    table, failures, output = evaluate_in(folders)
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
    for (case, label), row in metric_rows(output).items():
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
    table, failures, output = evaluate_in(folders, labels=tmp_path / "dataset.json")
    assert failures == {}
    assert list(table.summary()) == ["Liver", "Spleen", "Kidney", "mean"]
    assert metric_rows(output)["case0", "Kidney"]["dice"] == "1"  # absent, as it should be


def test_a_value_without_a_name_is_refused_and_the_rest_is_scored(folders: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "names.json").write_text('{"1": "Liver", "2": "Spleen"}')
    labels = label_map(1)
    labels[0, 0, 0] = 9
    save_labels(labels, folders[0] / "case1.nii.gz")
    _, failures, output = evaluate_in(folders, labels=tmp_path / "names.json")
    (line,) = failures.values()
    assert "label value 9 has no name (expected 0, 1, 2)" in line
    assert list(failures) == ["case1"]
    assert [metric_rows(output)[f"case{n}", "Liver"]["dice"] == "0" for n in range(3)] == [False, True, False]


def _float_map(path: Path) -> None:
    save_labels(label_map(1) * np.float32(0.5), path)


def _other_shape(path: Path) -> None:
    save_labels(label_map(1)[:-1], path)


def _other_affine(path: Path) -> None:
    moved = AFFINE.copy()
    moved[0, 3] += 1
    save_labels(label_map(1), path, moved)


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
    table, failures, output = evaluate_in(folders)
    assert list(failures) == ["case1"]
    (line,) = failures.values()
    assert FAULTS[fault] in line
    assert "\n" not in line
    assert str(folders[1] / "case1.nii.gz") in line
    assert str(folders[0]) in line
    rows = metric_rows(output)
    assert (rows["case1", "label 1"]["dice"], rows["case1", "label 1"]["hausdorff_mm"]) == ("0", "inf")
    assert rows["case1", "label 2"]["note"] == line
    assert min(float(rows[f"case{n}", "label 1"]["dice"]) for n in (0, 2)) > 0.5
    content = json.loads((output / "summary.json").read_text())
    assert (content["cases"], list(content["missing"])) == (3, ["case1"])
    assert content["summary"]["label 1"]["hausdorff_mm"]["infinite"] == 1
    assert "case1: no usable prediction, counted as 0" in table.text()


@pytest.mark.parametrize("fault", [_float_map, _cut, _empty], ids=lambda fault: fault.__name__)
def test_an_unusable_reference_is_named_and_counts_nowhere(folders: tuple[Path, Path], fault: object) -> None:
    fault(folders[1] / "case1.nii.gz")
    table, failures, output = evaluate_in(folders)
    (line,) = failures.values()
    assert all(str(folder / "case1.nii.gz") in line for folder in folders)
    assert {case for case, _ in metric_rows(output)} == {"case0", "case2"}
    assert list(json.loads((output / "summary.json").read_text())["unscored"]) == ["case1"]
    assert "case1: not scored" in table.text()


def test_a_prediction_without_reference_is_ignored_with_a_warning(
    folders: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    extra = save_labels(label_map(), folders[0] / "extra.nii.gz")
    with caplog.at_level(logging.WARNING, "pipeline"):
        _, failures, output = evaluate_in(folders)
    assert failures == {}
    assert f"{extra}: has no reference" in caplog.text
    assert json.loads((output / "summary.json").read_text())["ignored"] == {"extra": str(extra)}
    assert "extra" not in {case for case, _ in metric_rows(output)}


@pytest.mark.parametrize("suffix", [".nii", ".mha", ".nrrd", "_0000.nii.gz"])
def test_names_match_whatever_the_format(folders: tuple[Path, Path], suffix: str) -> None:
    plain, _, _ = evaluate_in(folders)
    for path in sorted(folders[0].iterdir()):
        image = sitk.ReadImage(str(path))
        path.unlink()
        sitk.WriteImage(image, str(folders[0] / (path.name.removesuffix(".nii.gz") + suffix)))
    (folders[0] / "plans.json").write_text("{}")
    again, failures, _ = evaluate_in(folders)
    assert failures == {}
    assert again.summary() == plain.summary()


def test_resampling_brings_another_grid_back_and_says_so(folders: tuple[Path, Path]) -> None:
    labels = np.roll(label_map(1), 1, axis=0)
    turned = AFFINE @ np.array([[0, 1, 0, 0], [-1, 0, 0, 15], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    save_labels(np.rot90(labels, 1, (0, 1))[::-1, ::-1].copy(), folders[0] / "case1.nii.gz", turned)
    image = sitk.ReadImage(str(folders[0] / "case1.nii.gz"))
    grid = sitk.ReadImage(str(folders[1] / "case1.nii.gz"))
    expected = sitk.GetArrayFromImage(sitk.Resample(image, grid, sitk.Transform(), sitk.sitkNearestNeighbor, 0))
    truth = sitk.GetArrayFromImage(grid)
    _, refused, _ = evaluate_in(folders)
    assert list(refused) == ["case1"]
    table, failures, output = evaluate_in(folders, resample=True)
    assert failures == {}
    for k, value in enumerate((1, 2)):
        a, b = expected == value, truth == value
        assert table.cases["case1"][k] == pytest.approx(2 * (a & b).sum() / (a.sum() + b.sum()))
    rows = metric_rows(output)
    assert "resampled to the reference's grid" in rows["case1", "label 1"]["note"]
    assert rows["case0", "label 1"]["note"] == ""
    content = json.loads((output / "summary.json").read_text())
    assert (content["resampled"], list(content["notes"])) == (True, ["case1"])


def test_pictures_are_scored_in_pixels(tmp_path: Path) -> None:
    for n in range(2):
        labels = label_map(n)[:, :, 3]
        for folder, values in (("references", labels), ("predictions", np.roll(labels, 2, axis=1))):
            (tmp_path / folder).mkdir(exist_ok=True)
            Image.fromarray(values.T).save(tmp_path / folder / f"case{n}.png")
        Image.fromarray(np.zeros((18, 16, 3), np.uint8)).save(tmp_path / "predictions" / f"case{n}_overlay.png")
    _, failures, output = evaluate_in((tmp_path / "predictions", tmp_path / "references"))
    assert failures == {}
    row = metric_rows(output)["case1", "label 2"]
    assert (float(row["hausdorff_pixel"]), float(row["reference_area_pixel"])) == (2, 40)
    assert json.loads((output / "summary.json").read_text())["ignored"] == {}


def test_a_volume_of_one_slice_is_measured_as_an_image(tmp_path: Path) -> None:
    labels = label_map()[:, :, 3:4]
    save_labels(labels, tmp_path / "references" / "a.nii.gz")
    save_labels(np.roll(labels, 2, axis=0), tmp_path / "predictions" / "a.nii.gz")
    _, _, output = evaluate_in((tmp_path / "predictions", tmp_path / "references"))
    row = metric_rows(output)["a", "label 2"]
    assert (float(row["hausdorff_mm"]), float(row["reference_area_mm2"])) == pytest.approx((3, 40 * 1.5 * 0.8))


def test_groups_and_patients_come_from_a_table(folders: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "g.csv").write_text("case,patient,scanner\ncase0,p,A\ncase1,p,B\ncase2,q,A\n")
    table, _, output = evaluate_in(folders, groups=tmp_path / "g.csv", by="scanner")
    assert table.patients == {"case0": "p", "case1": "p", "case2": "q"}
    groups = json.loads((output / "groups.json").read_text())["groups"]
    assert {name: (part["cases"], part["patients"]) for name, part in groups.items()} == {"A": (2, 2), "B": (1, 1)}
    means = [table.cases[name][0] for name in ("case0", "case2")]
    assert groups["A"]["summary"]["label 1"]["dice"]["mean"] == pytest.approx(np.mean(means))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: save_labels(label_map(), folder / "case1.nii"), "two files have one name"),
        (lambda folder: [path.unlink() for path in folder.iterdir()], "holds no label map"),
        (lambda folder: [path.rename(folder / f"x_{path.name}") for path in folder.iterdir()], "no file has the name"),
    ],
)
def test_folders_that_cannot_be_matched_are_refused(folders: tuple[Path, Path], change: object, message: str) -> None:
    change(folders[0])
    with pytest.raises(InputError, match=message):
        evaluate_in(folders)
    assert not (folders[0].parent / "out").exists()


def test_other_mistakes_are_refused_before_anything_is_written(folders: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        evaluate_in((tmp_path / "absent", folders[1]))
    with pytest.raises(InputError, match="no table tells the sex"):
        evaluate_in(folders, by="sex")
    for path in folders[1].iterdir():
        save_labels(np.zeros((4, 4, 4), np.uint8), path)
    for path in folders[0].iterdir():
        save_labels(np.zeros((4, 4, 4), np.uint8), path)
    with pytest.raises(InputError, match="no label but background"):
        evaluate_in(folders)
    assert not (tmp_path / "out").exists()


def test_the_surface_and_the_tolerances_can_be_chosen(folders: tuple[Path, Path]) -> None:
    options = {"surface": "surface_element", "tolerance": ["label 1=0.5", "2=1.5"]}
    table, _, output = evaluate_in(folders, **options)
    for (case, label), row in metric_rows(output).items():
        value = int(label[-1])
        masks = [np.asarray(nib.load(folder / f"{case}.nii.gz").dataobj) == value for folder in folders[::-1]]
        theirs = surface_distance.compute_surface_distances(*masks, (1.5, 0.8, 2.5))
        tolerance = {1: 0.5, 2: 1.5}[value]
        assert float(row["tolerance_mm"]) == tolerance
        expected = surface_distance.compute_surface_dice_at_tolerance(theirs, tolerance)
        assert float(row["nsd"]) == pytest.approx(expected, rel=1e-6)
        assert float(row["hausdorff95_mm"]) == pytest.approx(surface_distance.compute_robust_hausdorff(theirs, 95))
    content = json.loads((output / "summary.json").read_text())
    assert content["tolerance"] == {"label 1": 0.5, "label 2": 1.5}
    assert content["surface"].startswith("surface elements weighted by their area")
    assert "surface: surface_element" in table.text()
    assert "label 1 nsd at 0.5 mm" in table.text()


def test_groups_of_an_earlier_evaluation_do_not_stay(folders: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "g.csv").write_text("case,scanner\ncase0,A\ncase1,B\ncase2,A\n")
    _, _, output = evaluate_in(folders, groups=tmp_path / "g.csv")
    assert {"groups.csv", "groups.json"} <= {path.name for path in output.iterdir()}
    evaluate_in(folders)
    assert not {"groups.csv", "groups.json"} & {path.name for path in output.iterdir()}


def test_the_command_ends_with_3_and_a_line_for_each_bad_case(
    folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """From another folder, by paths with spaces."""
    moved = [folder.rename(tmp_path / f"{folder.name} of a study") for folder in folders]
    _cut(moved[0] / "case0.nii.gz")
    _other_affine(moved[0] / "case1.nii.gz")
    monkeypatch.chdir(tmp_path)
    names = [folder.name for folder in moved]
    options = ["--predictions", names[0], "--references", names[1], "-o", "the scores", "--tolerance", "2"]
    assert main(["evaluate", *options]) == 3
    first, *lines = capsys.readouterr().err.strip().splitlines()[-3:]
    assert first == "medbundle: 2 of 3 cases failed:"
    for case, line in zip(("case0", "case1"), lines, strict=True):
        assert all(f"{name}/{case}.nii.gz" in line for name in names)
    assert {case for case, _ in metric_rows(tmp_path / "the scores")} == {"case0", "case1", "case2"}
