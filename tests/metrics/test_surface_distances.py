from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
import scipy.ndimage

from pipeline.metrics import surface_distances, surfaces

Mask = npt.NDArray[np.bool_]


def boundary_distances(start: Mask, target: Mask, spacing: tuple[float, ...]) -> npt.NDArray[np.float64]:
    """By SciPy, over the whole array: from the boundary of one mask to that of the other."""
    edges = [mask & ~scipy.ndimage.binary_erosion(mask) for mask in (start, target)]
    distances = scipy.ndimage.distance_transform_edt(~edges[1], sampling=spacing)[edges[0]]
    return np.asarray(distances, dtype=np.float64)


def ball(shape: tuple[int, ...], centre: float, radius: float) -> Mask:
    square = sum(
        (axis - centre * size) ** 2 for axis, size in zip(np.ogrid[tuple(map(slice, shape))], shape, strict=True)
    )
    return np.asarray(square) <= radius**2


@pytest.fixture(params=["tree", "map"])
def _far_search(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways to find what is not near, each of which is chosen by its cost."""
    monkeypatch.setattr(surfaces, "_VOXELS_PER_SEARCH", {"tree": 0, "map": 10**9}[request.param])


@pytest.mark.usefixtures("_far_search")
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.7, 0.7, 0.7), (0.49, 0.61, 3.1), (4.0, 0.4, 0.45)])
@pytest.mark.parametrize("places", [(0.45, 0.5), (0.25, 0.75)])
@pytest.mark.parametrize("specks", [5, 400])
def test_near_and_far_distances_agree_with_scipy(
    spacing: tuple[float, ...], places: tuple[float, float], specks: int
) -> None:
    """Balls that overlap or do not, with far specks: few and many elements without another surface near them."""
    shape, generator = (46, 40, 34), np.random.default_rng(1)
    prediction, reference = (ball(shape, place, 8) for place in places)
    prediction[tuple(generator.integers(0, size, specks) for size in shape)] = True
    found = surface_distances(prediction, reference, spacing)
    pairs = (found.to_reference, prediction, reference), (found.to_prediction, reference, prediction)
    for distances, start, target in pairs:
        expected = boundary_distances(start, target, spacing)
        np.testing.assert_allclose(distances, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.usefixtures("_far_search")
@pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.3, 0.71)])
def test_distances_over_a_large_picture_agree_with_scipy(spacing: tuple[float, ...]) -> None:
    prediction, reference = ball((500, 400), 0.1, 30), ball((500, 400), 0.8, 70)
    found = surface_distances(prediction, reference, spacing)
    expected = boundary_distances(prediction, reference, spacing)
    np.testing.assert_allclose(found.to_reference, expected, rtol=1e-9)


def test_areas_of_a_box() -> None:
    """Flat faces count their area, and a large box is nearly all faces."""
    box = np.zeros((62, 52, 42), dtype=bool)
    box[1:-1, 1:-1, 1:-1] = True
    spacing = (0.5, 1.5, 2.0)
    weights = surface_distances(box, box, spacing, "surface_element").reference_weights
    sides = np.array([60, 50, 40]) * spacing
    expected = 2 * (sides[0] * sides[1] + sides[0] * sides[2] + sides[1] * sides[2])
    assert weights is not None
    assert weights.sum() == pytest.approx(expected, rel=0.03)
    assert np.isin(np.round([3.0, 1.0, 0.75], 5), np.round(weights, 5)).all()  # a voxel's faces in mm²


def test_empty_surfaces() -> None:
    nothing, something = np.zeros((5, 5), dtype=bool), np.eye(5, dtype=bool)
    found = surface_distances(nothing, something, (1, 1))
    assert found.to_reference.size == 0
    assert np.isinf(found.to_prediction).all()
    assert len(found.to_prediction) == 5
    assert math.isnan(surface_distances(nothing, nothing, (1, 1)).surface_dice(1.0))
