from __future__ import annotations

import numpy as np
import pytest
from matplotlib.path import Path as Outline
from scipy.spatial import Delaunay

from pipeline.dicom.labels.polygons import fill_polygons

SQUARE = np.array([[0.5, 0.5], [4.5, 0.5], [4.5, 5.5], [0.5, 5.5]])


def _fill(*polygons, shape=(8, 8)) -> list[tuple[int, int]]:
    return list(zip(*np.nonzero(fill_polygons([np.array(one, dtype=float) for one in polygons], shape)), strict=True))


def _box(i, j) -> list[tuple[int, int]]:
    return [(a, b) for a in range(*i) for b in range(*j)]


def test_a_square_between_the_centres() -> None:
    assert _fill(SQUARE) == _box((1, 5), (1, 6))
    assert _fill(SQUARE[::-1]) == _fill([*SQUARE, SQUARE[0]]) == _fill(np.roll(SQUARE, 2, axis=0)) == _fill(SQUARE)


def test_a_triangle_counted_by_hand() -> None:
    # Its hypotenuse is i + j = 6: of column i the centres 1 ... 5 - i lie inside.
    triangle = [(0.5, 0.5), (5.5, 0.5), (0.5, 5.5)]
    assert _fill(triangle) == [(1, 1), (1, 2), (1, 3), (1, 4), (2, 1), (2, 2), (2, 3), (3, 1), (3, 2), (4, 1)]


def test_centres_on_an_edge_belong_to_the_side_of_higher_indices() -> None:
    assert _fill([(1, 1), (3, 1), (3, 4), (1, 4)]) == _box((1, 3), (1, 4))
    # The diagonal i = j: the triangle beyond it in i has its centres, the other has none.
    assert (2, 2) in _fill([(0, 0), (5, 5), (5, 0)])
    assert (2, 2) not in _fill([(0, 0), (5, 5), (0, 5)])
    # 0.1 + 2 / 3 * (4.45 - 0.1) is 3, though not in floating point.
    assert (3, 2) in _fill([(0.1, 0), (7.5, 0), (7.5, 3), (4.45, 3)], shape=(8, 10))


def test_holes() -> None:
    inner = [(1.5, 1.5), (3.5, 1.5), (3.5, 3.5), (1.5, 3.5)]
    ring = sorted(set(_box((1, 5), (1, 6))) - set(_box((2, 4), (2, 4))))
    assert _fill(SQUARE, inner) == ring
    assert _fill([*SQUARE, SQUARE[0], *inner, inner[0]]) == ring, "a keyhole"
    # An island in the hole.
    assert _fill(SQUARE, inner, [(1.75, 1.75), (2.25, 1.75), (2.25, 2.25), (1.75, 2.25)]) == sorted([*ring, (2, 2)])


def test_polygons_that_reach_beyond_are_clipped() -> None:
    rng = np.random.default_rng(3)
    for _ in range(20):
        polygon = rng.uniform(-8, 20, (7, 2))
        whole = fill_polygons([polygon + 10], (40, 40))
        np.testing.assert_array_equal(fill_polygons([polygon], (9, 12)), whole[10:19, 10:22])


def test_nothing_gives_nothing() -> None:
    assert _fill() == _fill([(2, 2)]) == _fill([(1, 2), (4, 2)]) == _fill([(0.2, 0.2), (5.1, 6.3)]) == []


def test_matplotlib_finds_the_same() -> None:
    rng = np.random.default_rng(1)
    centres = np.stack(np.meshgrid(range(30), range(25), indexing="ij"), axis=-1).reshape(-1, 2)
    for _ in range(50):
        angles = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(3, 40)))
        radii = rng.uniform(2, 14, len(angles))[:, np.newaxis]
        star = (14, 12) + radii * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        expected = Outline(star).contains_points(centres).reshape(30, 25)
        np.testing.assert_array_equal(fill_polygons([star], (30, 25)), expected)


@pytest.mark.parametrize("seed", range(5))
def test_a_mosaic_holds_each_centre_once(seed) -> None:
    """Triangles with corners on centres, moved by the rounding of an affine, share many edges that cross centres."""
    rng = np.random.default_rng(seed)
    corners = np.unique([*rng.integers(0, 13, (40, 2)), (0, 0), (0, 12), (12, 0), (12, 12)], axis=0)
    noise = rng.uniform(-1e-10, 1e-10, corners.shape)
    triangles = [(corners + noise)[simplex] for simplex in Delaunay(corners).simplices]
    counts = sum(fill_polygons([triangle], (14, 14)).astype(int) for triangle in triangles)
    expected = np.zeros((14, 14), dtype=int)
    expected[:12, :12] = 1
    np.testing.assert_array_equal(counts, expected)
