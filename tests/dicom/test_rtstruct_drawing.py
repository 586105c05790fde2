"""Contours as people draw them: rarely, overlapping, twice, beyond the image. Volumes by formula, areas by hand."""

from __future__ import annotations

import logging

import numpy as np
import pydicom
import pytest
from skimage.draw import polygon2mask

from pipeline.data.phantoms import make_phantom, write_phantom_dicom
from pipeline.dicom import Grid, choose, read_rtstruct, scan
from pipeline.dicom.labels.between import gaps_between
from pipeline.dicom.labels.loops import combine
from pipeline.errors import InputError


@pytest.fixture
def draw(write_rtstruct, tmp_path):
    """Write ROIs, given in voxels, and read them."""
    folder = write_phantom_dicom(make_phantom(3, shape=(40, 36, 25), spacing_mm=(1, 1, 2)), tmp_path / "series")
    series = choose(scan(folder))
    grid = Grid.of_series(series)

    def read(rois, names=None, **options):
        def mm(voxels):
            return (np.asarray(voxels, dtype=float) @ grid.affine[:3, :3].T + grid.affine[:3, 3]) * (-1, -1, 1)

        in_mm = {
            name: [(one[0], mm(one[1])) if isinstance(one, tuple) else mm(one) for one in contours]
            for name, contours in rois.items()
        }

        path = write_rtstruct(tmp_path / "rs.dcm", in_mm, pydicom.dcmread(series.files[0]))
        return read_rtstruct(path, names=names or {1: ["GTV"]}, grid=grid, **options)

    return read


def circle(index, radius, centre=(20, 18), points=90):
    turn = np.linspace(0, 2 * np.pi, points, endpoint=False)
    x, y = centre[0] + radius * np.cos(turn), centre[1] + radius * np.sin(turn)
    return np.stack([x, y, np.full(points, float(index))], axis=1)


def box(index, low, high):
    (a, b), (c, d) = low, high
    return np.array([(a, b, index), (c, b, index), (c, d, index), (a, d, index)], dtype=float)


@pytest.mark.parametrize("every", [2, 3, 4])
def test_a_sphere_drawn_on_some_slices_has_its_volume(draw, every, caplog):
    radius_mm, centre = 15.0, 12
    slices = [k for k in range(25) if (k - centre) % every == 0 and abs(k - centre) * 2 < radius_mm]
    contours = [circle(k, np.sqrt(radius_mm**2 - (2 * (k - centre)) ** 2)) for k in slices]
    with caplog.at_level(logging.WARNING):
        labels = draw({"GTV": contours})
    assert set(np.flatnonzero(labels.any(axis=(0, 1)))) == set(range(min(slices), max(slices) + 1))
    half = (max(slices) - centre + 0.5) * 2  # mm, to the border of the last slice
    slab = 2 * np.pi * (radius_mm**2 * half - half**3 / 3) if half < radius_mm else 4 / 3 * np.pi * radius_mm**3
    assert labels.sum() * 2 == pytest.approx(slab, rel=0.06)  # mm3: pixels of 1 mm, slices of 2 mm
    made = len(range(min(slices), max(slices) + 1)) - len(slices)
    assert f"ROI 'GTV': {made} slices between its contours are interpolated" in caplog.text


def test_a_cylinder_between_two_radii_goes_over_evenly(draw):
    labels = draw({"GTV": [circle(k, radius) for k, radius in ((4, 5.3), (6, 7.3), (8, 9.3))]})
    for k, radius in ((5, 6.3), (7, 8.3)):
        assert labels[..., k].sum() == pytest.approx(np.pi * radius**2, rel=0.08)


def test_parts_stay_apart(draw, caplog):
    slices = [2, 3, 4, 5, 14, 15, 16]
    with caplog.at_level(logging.INFO):
        labels = draw({"GTV": [circle(k, 6) for k in slices]})
    assert np.flatnonzero(labels.any(axis=(0, 1))).tolist() == slices
    assert "8 slices between its contours stay empty" in caplog.text


@pytest.mark.parametrize(
    ("slices", "filled", "parting"),
    [
        ([1, 3, 5], [(1, 3), (3, 5)], []),
        ([1, 2, 3, 5], [], [(3, 5)]),
        ([1, 4, 7, 15, 18, 21], [(1, 4), (4, 7), (15, 18), (18, 21)], [(7, 15)]),
        ([2, 9], [], [(2, 9)]),
        ([4], [], []),
        ([3, 4, 5], [], []),
    ],
)
def test_which_gaps_are_filled(slices, filled, parting):
    assert gaps_between(slices) == (filled, parting)


def test_interpolated_contours_of_a_file_count(draw):
    kinds = ["CLOSED_PLANAR", "INTERPOLATED_PLANAR"]
    labels = draw({"GTV": [(kinds[k % 2], box(k, (3.5, 4.5), (13.5, 9.5))) for k in range(8)]})
    assert labels.sum() == 8 * 10 * 5


def test_contours_that_overlap_are_joined(draw, caplog):
    low, high = box(5, (3.5, 4.5), (13.5, 9.5)), box(5, (8.5, 6.5), (20.5, 14.5))
    with caplog.at_level(logging.WARNING):
        assert draw({"GTV": [low, high]}).sum() == 50 + 96 - 5 * 3
    assert "1 contours overlap others of their slice and are joined" in caplog.text
    assert draw({"GTV": [("CLOSEDPLANAR_XOR", low), ("CLOSEDPLANAR_XOR", high)]}).sum() == 50 + 96 - 2 * 5 * 3


def test_what_lies_within_is_a_hole_and_within_that_solid(draw):
    rings = [box(5, (2.5, 2.5), (22.5, 22.5)), box(5, (4.5, 4.5), (20.5, 20.5)), box(5, (8.5, 8.5), (12.5, 12.5))]
    assert draw({"GTV": rings}).sum() == 20**2 - 16**2 + 4**2
    two_holes = [box(5, (4.5, 4.5), (10.5, 10.5)), box(5, (8.5, 8.5), (14.5, 14.5))]  # which overlap each other
    assert draw({"GTV": [rings[0], *two_holes]}).sum() == 20**2 - (36 + 36 - 4)


@pytest.mark.parametrize(
    "again",
    [
        lambda loop: loop[::-1],
        lambda loop: np.add(loop, (0.01, -0.01, 0)),
        lambda loop: np.roll(loop, 7, axis=0),
        lambda loop: np.concatenate([loop, loop[:1]]),
        lambda loop: np.repeat(loop, 2, axis=0),
    ],
)
def test_what_is_drawn_again_counts_once(draw, again, caplog):
    loop = circle(6, 8.2)
    expected = draw({"GTV": [loop]})
    with caplog.at_level(logging.WARNING):
        np.testing.assert_array_equal(draw({"GTV": [loop, again(loop)]}), expected)
    assert "1 contours are there twice" in caplog.text


def test_an_roi_outside_the_image_does_not_take_the_others_along(draw, caplog):
    rois = {"GTV": [circle(5, 6)], "Couch": [circle(5, 4, centre=(300, 300))]}
    with caplog.at_level(logging.WARNING):
        labels = draw(rois, {1: ["GTV"], 2: ["Couch"]})
    assert np.unique(labels).tolist() == [0, 1]
    assert "ROI 'Couch' lies wholly outside the image and is left out" in caplog.text
    with pytest.raises(InputError, match="ROI 'Couch' lies wholly outside the image"):
        draw(rois, {2: ["Couch"]})


@pytest.mark.parametrize(
    ("contours", "word"),
    [
        ([circle(k, 6) for k in (2, 4, 6)], "interpolated"),
        ([box(5, (3.5, 4.5), (13.5, 9.5)), box(5, (8.5, 6.5), (20.5, 14.5))], "joined"),
        ([circle(5, 6), circle(5, 6)[::-1]], "there twice"),
        ([circle(5, 6, centre=(1, 1))], "clipped"),
        ([circle(5, 6), ("POINT", circle(5, 6)[:1])], "left out"),
        ([circle(5, 6), circle(6, 6)[:2]], "less than three points"),
    ],
)
def test_strict_refuses_what_is_decided(draw, contours, word):
    draw({"GTV": contours})
    with pytest.raises(InputError, match=f"ROI 'GTV': .*{word}") as caught:
        draw({"GTV": contours}, strict=True)
    assert "\n" not in str(caught.value)


def test_sound_contours_are_strictly_sound(draw):
    loops = [box(k, (2.5, 2.5), (22.5, 22.5)) for k in range(3, 9)] + [box(5, (4.5, 4.5), (20.5, 20.5))]
    np.testing.assert_array_equal(draw({"GTV": loops}, strict=True), draw({"GTV": loops}))


def test_random_loops_are_joined_as_another_library_fills_them():
    rng = np.random.default_rng(5)
    for _ in range(40):
        loops = []
        for _ in range(3):
            centre, radius = rng.uniform(15, 45, 2), rng.uniform(4, 9)
            turn = np.sort(rng.uniform(0, 2 * np.pi, 12))
            loops.append(centre + radius * np.stack([np.cos(turn), np.sin(turn)], axis=1))
        masks = [polygon2mask((60, 60), loop) for loop in loops]
        if any((one & ~other).sum() == 0 for one in masks for other in masks if one is not other):
            continue  # one within another
        found = combine(loops, (60, 60)).mask
        assert (found != np.any(masks, axis=0)).sum() <= 6  # centres on an edge
