"""Labels on the grid of their source images, against nibabel's reorientation and slicing."""

from __future__ import annotations

import itertools

import nibabel as nib
import numpy as np
import pytest

from pipeline.dicom.writing.placement import place
from pipeline.errors import InputError

SHAPE = (7, 5, 4)
ROTATION = np.array([[0.8, -0.6, 0.0], [0.48, 0.64, -0.6], [0.36, 0.48, 0.8]])
OBLIQUE = nib.affines.from_matvec(ROTATION @ np.diag([2.0, 2.5, 3.2]), [12.5, -40.25, 7.0])
SHEARED = OBLIQUE @ nib.affines.from_matvec(np.array([[1, 0, 0.4], [0, 1, -0.3], [0, 0, 1]]))


def labels() -> np.ndarray:
    """Every voxel has a value of its own."""
    return np.arange(1, 141, dtype=np.uint8).reshape(SHAPE)


def image(affine) -> nib.Nifti2Image:
    return nib.Nifti2Image(labels(), affine)


def on_source(turned: nib.Nifti2Image, affine) -> np.ndarray:
    return place(np.asarray(turned.dataobj), affine=turned.affine, shape=SHAPE, source_affine=affine)


TURNS = [
    np.column_stack([axes, signs])
    for axes in itertools.permutations(range(3))
    for signs in itertools.product((1, -1), repeat=3)
]


@pytest.mark.parametrize("affine", [OBLIQUE, SHEARED], ids=["oblique", "sheared"])
def test_all_orders_and_directions_of_axes(affine):
    shapes = set()
    for turn in TURNS:
        turned = image(affine).as_reoriented(turn)
        shapes.add(turned.shape)
        np.testing.assert_array_equal(on_source(turned, affine), labels())
    assert len(shapes) == 6


@pytest.mark.parametrize("turn", [TURNS[0], TURNS[13], TURNS[38]])
def test_a_box_cut_out_of_the_grid(turn):
    box = (slice(2, 6), slice(1, 3), slice(1, 4))
    expected = np.zeros(SHAPE, dtype=np.uint8)
    expected[box] = labels()[box]
    cropped = image(OBLIQUE).slicer[box].as_reoriented(turn)
    np.testing.assert_array_equal(on_source(cropped, OBLIQUE), expected)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_single_slice(axis):
    box = [slice(None)] * 3
    box[axis] = slice(3, 4)
    expected = np.zeros(SHAPE, dtype=np.uint8)
    expected[tuple(box)] = labels()[tuple(box)]
    one = image(OBLIQUE).slicer[tuple(box)]
    np.testing.assert_array_equal(on_source(one, OBLIQUE), expected)
    thicker = np.array(one.affine)
    thicker[:3, axis] *= 1.1
    with pytest.raises(InputError, match=r"got 0\.1 voxel off"):
        place(np.asarray(one.dataobj), affine=thicker, shape=SHAPE, source_affine=OBLIQUE)


def test_a_larger_grid_that_is_empty_outside():
    padded = np.pad(labels(), ((2, 1), (0, 3), (1, 0)))
    affine = OBLIQUE @ nib.affines.from_matvec(np.eye(3), [-2, 0, -1])
    np.testing.assert_array_equal(place(padded, affine=affine, shape=SHAPE, source_affine=OBLIQUE), labels())
    padded[0, 0, 0] = 1
    with pytest.raises(InputError, match=r"outside the source images .*1 of 141 labelled voxels outside"):
        place(padded, affine=affine, shape=SHAPE, source_affine=OBLIQUE)
    away = OBLIQUE @ nib.affines.from_matvec(np.eye(3), [0, 0, 100])
    with pytest.raises(InputError, match=r"140 of 140 labelled voxels outside, .* 100 voxels beyond"):
        place(labels(), affine=away, shape=SHAPE, source_affine=OBLIQUE)


@pytest.mark.parametrize("turn", [TURNS[0], TURNS[29]])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_hundredth_of_a_voxel(axis, turn):
    turned = image(OBLIQUE).as_reoriented(turn)
    for away in (0.009, -0.009):
        moved = OBLIQUE @ nib.affines.from_matvec(np.eye(3), away * np.eye(3)[axis])
        np.testing.assert_array_equal(on_source(turned, moved), labels())
    for away, words in ((0.02, "0.02 voxel off"), (-0.02, "0.02 voxel off"), (0.5, "0.5 voxel off")):
        moved = OBLIQUE @ nib.affines.from_matvec(np.eye(3), away * np.eye(3)[axis])
        with pytest.raises(InputError, match=rf"do not lie on the source images \(expected .*0\.01 voxel, got {words}"):
            on_source(turned, moved)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (np.diag([1.005, 1, 1]), r"0\.03 voxel"),  # 6 steps of 0.005
        (np.diag([2.0, 1, 1]), "3 voxels"),
        (np.array([[np.cos(0.1), -np.sin(0.1), 0], [np.sin(0.1), np.cos(0.1), 0], [0, 0, 1]]), "voxel"),
        (np.diag([0.2, 0.2, 0.2]), "voxel"),
    ],
)
def test_another_spacing_or_direction(change, words):
    with pytest.raises(InputError, match=rf"do not lie on the source images .*got .*{words}.* off"):
        on_source(image(OBLIQUE @ nib.affines.from_matvec(change)), OBLIQUE)


def test_no_volume():
    for shape in ((7, 5), (7, 5, 0), (7, 5, 4, 2)):
        with pytest.raises(InputError, match="not a volume"):
            place(np.zeros(shape, dtype=np.uint8), affine=OBLIQUE, shape=SHAPE, source_affine=OBLIQUE)
