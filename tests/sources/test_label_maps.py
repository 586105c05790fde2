from __future__ import annotations

import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from PIL import Image

from pipeline.errors import InputError
from pipeline.sources import LabelMap, read_label_map, read_label_table, resample_to
from pipeline.sources.label_table import label_names

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def _labels(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Without symmetry, and coarse, so that a turn or a shift shows."""
    coarse = np.random.default_rng(seed).integers(0, 4, [-(-n // 3) for n in shape])
    return np.kron(coarse, np.ones([3] * len(shape)))[tuple(map(slice, shape))].astype(np.uint8)


def _rotation(degrees: float) -> np.ndarray:
    angle = np.deg2rad(degrees)
    return np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])


def _affine(spacing: tuple[float, ...], origin: tuple[float, ...], degrees: float = 0) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = _rotation(degrees) @ np.diag(spacing), origin
    return affine


def _sitk(label_map: LabelMap) -> sitk.Image:
    image = sitk.GetImageFromArray(label_map.labels.transpose(2, 1, 0))
    lps = LPS_TO_RAS @ label_map.affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    return image


@pytest.mark.parametrize(
    "grid",
    [
        _affine((1.3, 0.9, 2.1), (-7.2, -9.1, 3.3), 17),
        _affine((-0.77, 1.13, 3.07), (25.31, -3.17, -4.43)),
        np.array([[0, 0, 2.57, -3.1], [0.81, 0, 0, -8.3], [0, -1.27, 0, 16.4], [0, 0, 0, 1]], dtype=float),
    ],
    ids=["turned", "flipped", "axes swapped"],
)
def test_resampling_is_simpleitks_nearest_neighbour(grid: np.ndarray) -> None:
    moving = LabelMap(labels=_labels((20, 23, 11)), affine=_affine((0.83, 0.97, 1.91), (-5.03, -8.07, 1.01), 5))
    target = LabelMap(labels=np.zeros((25, 19, 16), dtype=np.uint8), affine=grid)
    ours = resample_to(moving, target)
    expected = sitk.Resample(_sitk(moving), _sitk(target), sitk.Transform(), sitk.sitkNearestNeighbor, 0)
    np.testing.assert_array_equal(ours.labels, sitk.GetArrayFromImage(expected).transpose(2, 1, 0))
    assert len(np.unique(ours.labels)) == 4
    np.testing.assert_array_equal(ours.affine, grid)


def test_resampling_to_a_reordered_grid_loses_nothing() -> None:
    labels = _labels((6, 7, 5))
    moving = LabelMap(labels=labels, affine=_affine((1, 2, 3), (4, 5, 6)))
    flipped = moving.affine @ np.array([[-1, 0, 0, 5], [0, 1, 0, 0], [0, 0, -1, 4], [0, 0, 0, 1.0]])
    out = resample_to(moving, LabelMap(labels=np.zeros_like(labels), affine=flipped))
    np.testing.assert_array_equal(out.labels, labels[::-1, :, ::-1])


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".nrrd", ".mha"])
def test_every_volume_format_gives_the_same_map(tmp_path: Path, suffix: str) -> None:
    expected = LabelMap(labels=_labels((9, 8, 7)), affine=_affine((1.5, 0.7, 2.0), (3.0, -4.0, 5.5), 20))
    sitk.WriteImage(_sitk(expected), str(tmp_path / f"a{suffix}"))
    got = read_label_map(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(got.labels, expected.labels)
    np.testing.assert_allclose(got.affine, expected.affine, atol=1e-4)
    assert expected.difference(got) is None
    assert got.spacing_mm() == pytest.approx((1.5, 0.7, 2.0), abs=1e-6)


def test_a_picture_has_no_place_in_space(tmp_path: Path) -> None:
    labels = _labels((9, 7))
    Image.fromarray(labels.T).save(tmp_path / "a.png")
    got = read_label_map(tmp_path / "a.png")
    np.testing.assert_array_equal(got.labels, labels)
    assert (got.affine, got.spacing_mm()) == (None, None)
    volume = LabelMap(labels=np.zeros((9, 7, 1), int), affine=np.eye(4))
    with pytest.raises(InputError, match="a picture has no place in space"):
        resample_to(got, volume)


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int16, np.uint16])
def test_whole_floats_are_labels(tmp_path: Path, kind: type) -> None:
    labels = _labels((5, 6, 7))
    nib.save(nib.Nifti1Image(labels.astype(kind), np.eye(4)), tmp_path / "a.nii")
    got = read_label_map(tmp_path / "a.nii").labels
    np.testing.assert_array_equal(got, labels)
    assert got.dtype.kind in "iu"


@pytest.mark.parametrize("value", [0.5, np.nan, np.inf, 1e12])
def test_floats_that_are_no_labels_are_refused(tmp_path: Path, value: float) -> None:
    values = np.zeros((4, 4, 4), dtype=np.float32)
    values[1, 2, 3] = value
    nib.save(nib.Nifti1Image(values, np.eye(4)), tmp_path / "a.nii")
    message = f"a.nii: is no label map (expected whole numbers, got {np.float32(value):g})"
    with pytest.raises(InputError, match=re.escape(message)):
        read_label_map(tmp_path / "a.nii")


def test_several_channels_are_refused(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(np.zeros((4, 4, 4, 2), np.uint8), np.eye(4)), tmp_path / "a.nii")
    with pytest.raises(InputError, match="one value per voxel"):
        read_label_map(tmp_path / "a.nii")
    nib.save(nib.Nifti1Image(np.zeros((4, 5, 6, 1), np.uint8), np.eye(4)), tmp_path / "b.nii")
    assert read_label_map(tmp_path / "b.nii").labels.shape == (4, 5, 6)


def test_the_difference_of_grids_is_said_in_mm() -> None:
    first = LabelMap(labels=np.zeros((11, 5, 5), int), affine=np.eye(4))
    turned = np.eye(4)
    turned[0, 0] = 1.05
    second = LabelMap(labels=np.zeros((11, 5, 5), int), affine=turned)
    assert first.difference(second) == "an affine that puts voxels up to 0.5 mm away"
    near = LabelMap(labels=first.labels, affine=np.eye(4) + 1e-4 * np.eye(4)[:, [3, 0, 1, 2]])
    assert first.difference(near) is None
    other = LabelMap(labels=np.zeros((11, 5, 6), int), affine=np.eye(4))
    assert first.difference(other) == "shape (11, 5, 6) instead of (11, 5, 5)"


def _grid(shape: tuple[int, ...], affine: np.ndarray) -> LabelMap:
    return LabelMap(labels=np.zeros(shape, np.uint8), affine=affine)


def test_grids_of_one_lattice_are_known_and_others_told_apart() -> None:
    affine = _affine((0.5, 0.5, 3), (10, -20, 30), 30)
    whole = _grid((20, 22, 9), affine)
    moved = _affine((0.5, 0.5, 3), tuple((affine @ [3, -2, 4, 1])[:3]), 30)
    assert whole.shares_voxels(_grid((20, 22, 2), moved))
    flipped = affine @ np.array([[0, 1, 0, 0], [-1, 0, 0, 19], [0, 0, -1, 8], [0, 0, 0, 1.0]])
    assert whole.shares_voxels(_grid((22, 20, 9), flipped))
    half = _affine((0.5, 0.5, 3), tuple((affine @ [3, -2.5, 4, 1])[:3]), 30)
    assert not whole.shares_voxels(_grid((20, 22, 2), half))
    assert not whole.shares_voxels(_grid((20, 22, 5), _affine((0.5, 0.5, 6), (10, -20, 30), 30)))
    assert not whole.shares_voxels(_grid((20, 22, 9), _affine((0.5, 0.5, 3), (10, -20, 30), 31)))
    assert not whole.shares_voxels(LabelMap(labels=np.zeros((4, 4), int), affine=None))


@pytest.mark.parametrize("other", [np.diag([1.0, 0, 1, 1]), np.full((4, 4), np.nan), _affine((1, 2, 3), (0, 0, 0), 30)])
def test_a_map_is_turned_to_no_other_lattice(other: np.ndarray) -> None:
    label_map = LabelMap(labels=_labels((6, 7, 5)), affine=_affine((1, 2, 3), (4, 5, 6)))
    assert label_map.turned_to(_grid((6, 7, 5), other)) is label_map


def test_covering_keeps_every_label_in_its_place() -> None:
    affine = _affine((0.5, 0.8, 3), (10, -20, 30), 30)
    labels = _labels((6, 7, 3))
    part = LabelMap(labels=labels, affine=affine)
    whole = part.covering(_grid((9, 7, 8), _affine((0.5, 0.8, 3), tuple((affine @ [-2, 1, -4, 1])[:3]), 30)))
    assert whole.labels.shape == (9, 8, 8)  # from -2 to 6, 0 to 7 and -4 to 3
    for place in np.argwhere(labels):
        point = affine @ [*place, 1]
        index = np.round(np.linalg.solve(whole.affine, point))[:3].astype(int)
        assert whole.labels[tuple(index)] == labels[tuple(place)]
    assert np.count_nonzero(whole.labels) == np.count_nonzero(labels)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.json", '{"0": "background", "1": "Liver", "7": "Spleen"}'),
        ("a.json", '{"1": "Liver", "7": "Spleen"}'),
        ("dataset.json", '{"name": "x", "labels": {"0": "background", "1": "Liver", "7": "Spleen"}}'),
        ("dataset.json", '{"labels": {"background": 0, "Liver": 1, "Spleen": 7}, "file_ending": ".nii.gz"}'),
        ("a.csv", "\ufeffvalue,name\n1,Liver\n7,Spleen\n"),
        ("a.csv", 'name,value,note\nLiver,1,"a, b"\nSpleen,7,\n'),
    ],
)
def test_names_of_labels(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert label_names(read_label_table(tmp_path / name), tmp_path) == {1: "Liver", 7: "Spleen"}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.json", "{"),
        ("a.json", "[1, 2]"),
        ("a.json", '{"labels": {"background": 0, "whole": [1, 2]}}'),
        ("a.json", '{"labels": {"0": "background"}}'),
        ("a.json", '{"1": "Liver", "2": "Liver"}'),
        ("a.json", '{"Liver": 1, "Spleen": 1}'),
        ("a.csv", "label,name\n1,Liver\n"),
        ("a.csv", "value,name\none,Liver\n"),
        ("a.csv", "value,name\n1,\n"),
        ("a.csv", "value,name\n1\n"),
        ("a.csv", ""),
    ],
)
def test_what_names_no_labels_is_refused_in_one_line(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=name) as caught:
        label_names(read_label_table(tmp_path / name), tmp_path / name)
    assert "\n" not in str(caught.value)


def test_an_absent_table_of_labels_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such table of labels"):
        read_label_table(tmp_path / "absent.json")
