from __future__ import annotations

import csv

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.spatial.distance import pdist
from skimage.measure import regionprops

from pipeline.dicom import Segment
from pipeline.errors import InputError
from pipeline.metrics.regions import measure_regions
from pipeline.reports import write_measurements

TISSUE = ("85756007", "SCT", "Tissue")
OBLIQUE = np.array(
    [[1.2, -1.2, 0.1, -40.25], [0.72, 1.28, 1.8, 7.5], [-0.54, -0.96, 2.4, 3.0], [0, 0, 0, 1]]  # sheared, too
)
LEFT_HANDED = np.diag([-1.5, 2.0, 2.5, 1.0])


def segments(*names):
    return [Segment(value=v, name=name, category=TISSUE, property_type=TISSUE) for v, name in enumerate(names, start=1)]


def rows(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def random_labels(seed, shape=(20, 17, 13)):
    rng = np.random.default_rng(seed)
    field = gaussian_filter(rng.normal(size=shape), rng.uniform(0.3, 2.0))
    return np.digitize(field, np.quantile(field, [0.7, 0.9])).astype(np.uint8)


def millimetres(voxels, affine):
    return voxels @ affine[:3, :3].T + affine[:3, 3]


@pytest.mark.parametrize("affine", [OBLIQUE, LEFT_HANDED], ids=["oblique", "left-handed"])
@pytest.mark.parametrize("seed", range(6))
def test_against_all_pairs_of_voxels(affine, seed):
    labels = random_labels(seed)
    image = np.random.default_rng(seed).normal(100, 30, labels.shape).astype(np.float32)
    found = measure_regions(labels, affine=affine, values=[2, 1], image=image)
    assert list(found) == [2, 1]
    for value, region in found.items():
        voxels = np.argwhere(labels == value)
        points = millimetres(voxels, affine)
        assert region.voxels == len(voxels)
        columns = affine[:3, :3].T
        assert region.volume_ml == pytest.approx(len(voxels) * abs(columns[0] @ np.cross(columns[1], columns[2])) / 1e3)
        assert region.largest_diameter_mm == pytest.approx(pdist(points).max())
        in_slices = {k: pdist(points[voxels[:, 2] == k]).max(initial=0) for k in np.unique(voxels[:, 2])}
        assert region.long_axis_mm == pytest.approx(max(in_slices.values()))
        assert in_slices[region.long_axis_slice] == pytest.approx(region.long_axis_mm)
        start, end = (np.array(point) for point in region.long_axis_ends_mm)
        assert np.linalg.norm(start - end) == pytest.approx(region.long_axis_mm)
        for place in (start, end):
            voxel = np.linalg.solve(affine[:3, :3], place - affine[:3, 3])
            np.testing.assert_allclose(voxel, np.rint(voxel), atol=1e-9)
            i, j, k = np.rint(voxel).astype(int)
            assert (labels[i, j, k], k) == (value, region.long_axis_slice)
        np.testing.assert_allclose(region.centroid_mm, points.mean(axis=0))
        inside = image[labels == value].astype(float)
        assert region.mean == pytest.approx(inside.mean())
        assert region.standard_deviation == pytest.approx(np.sqrt(((inside - inside.mean()) ** 2).mean()))


def test_against_scikit_image():
    """Its Feret diameter is of the outline half a voxel further out, at most a voxel's diagonal on both sides."""
    labels = (random_labels(3) > 0).astype(np.uint8)
    region = measure_regions(labels, affine=np.eye(4), values=[1])[1]
    (props,) = regionprops(labels)
    assert 0 <= props.feret_diameter_max - region.largest_diameter_mm <= np.sqrt(3)
    np.testing.assert_allclose(region.centroid_mm, props.centroid)


@pytest.mark.parametrize("shape", [(1, 1, 1), (9, 1, 1), (1, 1, 9), (30, 30, 1), (1, 30, 30), (40, 1, 40)])
def test_points_lines_and_planes(shape):
    labels = np.ones(shape, dtype=np.uint8)
    region = measure_regions(labels, affine=np.diag([2.0, 3.0, 4.0, 1.0]), values=[1])[1]
    extent = (np.array(shape) - 1) * (2, 3, 4)
    assert region.largest_diameter_mm == pytest.approx(np.linalg.norm(extent))
    assert region.long_axis_mm == pytest.approx(np.linalg.norm(extent[:2]))
    assert region.voxels == np.prod(shape)


def test_an_oblique_plane():
    labels = np.zeros((24, 24, 24), dtype=np.uint8)
    i, j, k = np.indices(labels.shape)
    labels[i + j + k == 30] = 1
    region = measure_regions(labels, affine=np.eye(4), values=[1])[1]
    assert region.largest_diameter_mm == pytest.approx(pdist(np.argwhere(labels)).max())


def test_the_table(tmp_path):
    labels = np.zeros((6, 5, 4), dtype=np.uint8)
    labels[1:4, 2, 1] = 1
    labels[5, 4, 3] = 3
    image = np.arange(labels.size, dtype=np.int16).reshape(labels.shape)
    named = segments("Kidney, left", "none", "Läsion")
    path = write_measurements(labels, affine=LEFT_HANDED, segments=named, path=tmp_path / "a" / "m.csv", image=image)
    assert path == tmp_path / "a" / "m.csv"
    first, second, third = rows(path)
    assert list(first) == [
        "value", "name", "voxels", "volume_ml", "mean", "standard_deviation", "largest_diameter_mm", "long_axis_mm",
        "long_axis_slice", "long_axis_start_ras_mm", "long_axis_end_ras_mm", "centroid_ras_mm",
    ]  # fmt: skip
    assert (first["value"], first["name"], first["voxels"], first["volume_ml"]) == ("1", "Kidney, left", "3", "0.0225")
    assert float(first["mean"]) == image[2, 2, 1]
    assert float(first["standard_deviation"]) == pytest.approx(20 * np.sqrt(2 / 3))
    assert (first["largest_diameter_mm"], first["long_axis_mm"], first["long_axis_slice"]) == ("3", "3", "1")
    ends = {first["long_axis_start_ras_mm"], first["long_axis_end_ras_mm"]}
    assert ends == {"-1.5000 4.0000 2.5000", "-4.5000 4.0000 2.5000"}
    assert first["centroid_ras_mm"] == "-3.0000 4.0000 2.5000"
    assert list(second.values()) == ["2", "none", "0", "0", *[""] * 8]
    assert (third["name"], third["voxels"], third["standard_deviation"]) == ("Läsion", "1", "0")
    assert (third["largest_diameter_mm"], third["long_axis_slice"]) == ("0", "3")


def test_without_an_image_and_with_holes_in_it(tmp_path):
    labels = np.ones((3, 3, 3), dtype=np.uint8)
    (row,) = rows(write_measurements(labels, affine=np.eye(4), segments=segments("a"), path=tmp_path / "m.csv"))
    assert (row["mean"], row["standard_deviation"], row["voxels"]) == ("", "", "27")
    image = np.zeros(labels.shape)
    image[1, 1, 1] = np.nan
    arguments = {"affine": np.eye(4), "segments": segments("a"), "path": tmp_path / "m.csv"}
    (row,) = rows(write_measurements(labels, image=image, **arguments))
    assert (row["mean"], row["standard_deviation"]) == ("", "")
    with pytest.raises(InputError, match=r"differ in size \(expected \(3, 3, 3\), got \(3, 3\)\)"):
        write_measurements(labels, image=image[0], **arguments)


def test_whole_or_not_at_all(tmp_path):
    labels = np.ones((3, 3, 3), dtype=np.uint8)
    (tmp_path / "m.csv").mkdir()
    with pytest.raises(InputError, match="cannot be written"):
        write_measurements(labels, affine=np.eye(4), segments=segments("a"), path=tmp_path / "m.csv")
    assert [file.name for file in tmp_path.iterdir()] == ["m.csv"]
