"""The way back from the network's grid, against SciPy and nibabel."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, Orientationd, Spacingd
from scipy import ndimage

from pipeline.inferers.resampling import ObliqueMap, SeparableMap, linear_matrix
from pipeline.inferers.undoing import way_back

_AXES = [["L", "R"], ["P", "A"], ["I", "S"]]


def _matrix(*, shear: float = 0.0) -> np.ndarray:
    """An oblique grid of 0.8 x 1.1 x 2 mm whose first axis points to the back."""
    turn, _ = np.linalg.qr([[0.1, 0.9, 0.2], [-0.95, 0.2, 0.1], [-0.1, -0.2, 0.9]])
    turn = turn @ np.diag(np.sign([-turn[1, 0], turn[0, 1], turn[2, 2]]))
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([0.8, 1.1, 2.0])
    affine[:3, 2] += shear * affine[:3, 1]
    affine[:3, 3] = [-20, 33, 4]
    return affine


def _resampled(affine: np.ndarray) -> MetaTensor:
    steps = Compose([Orientationd("image", "RAS", labels=_AXES), Spacingd("image", (1.0, 1.3, 1.4))])
    return steps({"image": MetaTensor(torch.rand(1, 13, 17, 11), affine=torch.as_tensor(affine))})["image"]


@pytest.mark.parametrize(("shear", "kind"), [(0.0, SeparableMap), (0.3, ObliqueMap)])
def test_values_are_those_at_the_same_place_in_the_world(shear: float, kind: type) -> None:
    """Spacing keeps the directions of orthogonal axes, oblique as they are, but not those of a sheared grid."""
    affine = _matrix(shear=shear)
    image = _resampled(affine)
    back = way_back(image.applied_operations, affine=image.affine, network_size=image.shape[1:])
    assert isinstance(back.grid, kind)
    assert back.grid.input_size == (13, 17, 11)
    np.testing.assert_allclose(back.affine, affine, atol=1e-9)
    values = torch.rand(2, *image.shape[1:])
    # Where each voxel of the input is on the network's grid; beyond it the nearest place on it counts.
    indices = np.moveaxis(np.indices((13, 17, 11)), 0, -1)
    places = nib.affines.apply_affine(np.linalg.inv(image.affine.numpy()) @ affine, indices)
    places = np.clip(places, 0, np.array(image.shape[1:]) - 1)
    expected = np.stack([ndimage.map_coordinates(one.numpy(), np.moveaxis(places, -1, 0), order=1) for one in values])
    expected = np.transpose(expected, [0, *(back.grid.axes.index(axis) + 1 for axis in range(3))])
    whole = tuple((0, n) for n in back.grid.size)
    for box in (whole, ((3, 5), (0, 13), (2, 9)), ((16, 17), (4, 5), (10, 11))):
        support = back.grid.support(box)
        part = values[(slice(None), *(slice(*ends) for ends in support))]
        found = back.grid.sampler(support, box)(part)
        inside = (slice(None), *(slice(*ends) for ends in box))
        np.testing.assert_allclose(found.numpy(), expected[inside], atol=5e-6)


def test_one_voxel_is_enough() -> None:
    assert linear_matrix(np.array([-1.0, 0.0, 3.0]), 1).toarray().tolist() == [[1.0], [1.0], [1.0]]


def test_interpolation_is_that_of_numpy() -> None:
    positions = np.array([-2.0, 0.0, 0.25, 1.0, 2.999, 3.0, 7.0])
    values = np.array([5.0, -1.0, 4.0, 2.0])
    np.testing.assert_allclose(linear_matrix(positions, 4) @ values, np.interp(positions, np.arange(4), values))
