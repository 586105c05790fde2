from __future__ import annotations

import logging
import time

import numpy as np
import pydicom
import pytest
from matplotlib.path import Path as Outline

from pipeline.dicom import DicomSeriesReader, Grid, choose, read_labels, read_rtstruct, referenced_series, scan
from pipeline.errors import InputError


class Drawing:
    """Contours on a study, given in its voxels."""

    def __init__(self, study, write, path) -> None:
        self.write, self.path = write, path
        reader = DicomSeriesReader()
        array, meta = reader.get_data(reader.read(study.folder))
        self.shape, self.affine = array.shape, meta["affine"]
        self.source = study.read()[0]
        self.grid = Grid.of_series(choose(scan(study.folder)))

    def mm(self, voxels) -> np.ndarray:
        voxels = np.asarray(voxels, dtype=float)
        return (voxels @ self.affine[:3, :3].T + self.affine[:3, 3]) * (-1, -1, 1)

    def read(self, rois, names=None, **kwargs) -> np.ndarray:
        in_mm = {
            name: [(one[0], self.mm(one[1])) if isinstance(one, tuple) else self.mm(one) for one in contours]
            for name, contours in rois.items()
        }
        path = self.write(self.path, in_mm, self.source, **kwargs)
        return read_rtstruct(path, names=names or {1: ["GTV"]}, grid=self.grid)


@pytest.fixture
def drawing(study, write_rtstruct, tmp_path) -> Drawing:
    return Drawing(study, write_rtstruct, tmp_path / "rs.dcm")


def square(index, *, axis=2, low=(3.5, 4.5), high=(7.5, 9.5)) -> np.ndarray:
    """A rectangle with its borders between voxels, in slice ``index`` along an axis."""
    corners = np.array([low, (high[0], low[1]), high, (low[0], high[1])])
    return np.insert(corners, axis, index, axis=1)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("kind", ["study", "oblique"])
def test_boxes_drawn_along_each_axis(kind, axis, request, write_rtstruct, tmp_path):
    drawing = Drawing(request.getfixturevalue(kind), write_rtstruct, tmp_path / "rs.dcm")
    low, high = (2.5, 3.5), (5.5, 7.5)
    labels = drawing.read({"GTV": [square(k, axis=axis, low=low, high=high) for k in (2, 3, 4, 6)]})
    expected = np.zeros(drawing.shape, dtype=np.uint8)
    np.moveaxis(expected, axis, 0)[[2, 3, 4, 6], 3:6, 4:8] = 1
    np.testing.assert_array_equal(labels, expected)
    assert labels.dtype == np.uint8


def test_the_place_in_mm(drawing):
    # The phantom's voxels are 2 x 2.5 x 3 mm, with the origin of LPS in the middle of 24 x 20 x 9, from the head down.
    x, y, z = 2.0 * (5 - 11.5), 2.5 * (7 - 9.5), 3.0 * (4 - 1)
    corners = np.array([[x - 1, y - 1, z], [x + 1, y - 1, z], [x + 1, y + 1, z], [x - 1, y + 1, z]])
    drawing.write(drawing.path, {"GTV": [corners]}, drawing.source)
    labels = read_rtstruct(drawing.path, names={3: ["GTV"]}, grid=drawing.grid)
    assert np.argwhere(labels).tolist() == [[5, 7, 1]]
    assert labels.max() == 3


@pytest.mark.parametrize("kind", ["CLOSED_PLANAR", "CLOSEDPLANAR_XOR"])
def test_holes(drawing, kind):
    outer, inner = square(3), square(3, low=(4.5, 5.5), high=(6.5, 7.5))
    keyhole = np.concatenate([outer, outer[:1], inner, inner[:1]])
    expected = np.zeros(drawing.shape, dtype=np.uint8)
    expected[4:8, 5:10, 3] = 1
    expected[5:7, 6:8, 3] = 0
    np.testing.assert_array_equal(drawing.read({"GTV": [(kind, outer), (kind, inner)]}), expected)
    np.testing.assert_array_equal(drawing.read({"GTV": [(kind, keyhole)]}), expected)


def test_names(drawing, caplog):
    rois = {"  gTv_Mass ": [square(2)], "Gtv node": [square(3)], "Läsion": [square(5)], "Heart": [square(6)]}
    labels = drawing.read(rois, {2: ["GTV_MASS", "GTV  Node", "not there"], 1: ["LÄSION"]})
    assert {k: np.unique(labels[..., k]).tolist() for k in (2, 3, 5, 6)} == {2: [0, 2], 3: [0, 2], 5: [0, 1], 6: [0]}
    with pytest.raises(InputError, match=r"no ROI is named 'Hart' .*got 'Heart', .* and 1 more\)"):
        drawing.read(rois, {1: ["Hart"]})
    with pytest.raises(InputError, match="labels 1 and 2 share the name 'heart'"):
        drawing.read(rois, {1: ["Heart"], 2: ["HEART "]})


def test_nothing_of_the_patient_is_told(drawing, caplog):
    caplog.set_level(logging.DEBUG)
    with pytest.raises(InputError) as error:
        drawing.read({"GTV": []})
    assert not any(secret in caplog.text + str(error.value) for secret in ("Nobody", "Knows", "SECRET7"))


def test_contours_near_a_slice_are_of_that_slice(drawing):
    # 0.09 of a step of 3 mm is 0.27 mm; 0.3 mm are allowed.
    expected = drawing.read({"GTV": [square(4)]})
    np.testing.assert_array_equal(drawing.read({"GTV": [square(4.09)]}), expected)
    np.testing.assert_array_equal(drawing.read({"GTV": [square(3.91)]}), expected)
    with pytest.raises(InputError, match=r"between the slices \(expected at most 0.3 mm from slice 5, got 0.36 mm\)"):
        drawing.read({"GTV": [square(4.12)]})
    tilted = square(4)
    tilted[2:, 2] = 5
    with pytest.raises(InputError, match=r"in no plane .* within 0.3 mm .*got points 3 mm apart"):
        drawing.read({"GTV": [tilted]})


def test_points_and_open_contours_are_left_out(drawing, caplog):
    caplog.set_level(logging.INFO)
    others = [("POINT", square(1)[:1]), ("OPEN_PLANAR", square(2)), ("OPEN_NONPLANAR", square(2.5))]
    labels = drawing.read({"GTV": [*others, square(4)]})
    np.testing.assert_array_equal(labels, drawing.read({"GTV": [square(4)]}))
    assert "1 OPEN_NONPLANAR contours left out" in caplog.text
    for contours in (others, []):
        with pytest.raises(InputError, match="ROI 'GTV' has no closed contour"):
            drawing.read({"GTV": contours})


def test_what_reaches_beyond_the_image_is_clipped(drawing, caplog):
    labels = drawing.read({"GTV": [square(4, low=(-9, -9), high=(2.5, 3.5)), square(-3), square(5)]})
    expected = np.zeros(drawing.shape, dtype=np.uint8)
    expected[:3, :4, 4] = expected[4:8, 5:10, 5] = 1
    np.testing.assert_array_equal(labels, expected)
    assert "2 of 3 contours reach beyond the image and are clipped" in caplog.text
    for away in (square(9.5), square(-2), square(4, low=(-9, 2), high=(-2, 6))):
        with pytest.raises(InputError, match="ROI 'GTV' lies wholly outside the image"):
            drawing.read({"GTV": [away]})


def test_a_whole_image_is_not_clipped(drawing, caplog):
    labels = drawing.read({"GTV": [square(k, low=(-0.5, -0.5), high=(23.5, 19.5)) for k in range(9)]})
    assert labels.all()
    assert caplog.text == ""


def test_a_roi_between_the_centres_is_told(drawing, caplog):
    labels = drawing.read({"GTV": [square(4, low=(4.2, 4.2), high=(4.8, 4.8))]})
    assert not labels.any()
    assert "holds the centre of no voxel" in caplog.text


def test_a_contour_that_is_there_twice_counts_once(drawing, caplog):
    labels = drawing.read({"GTV": [square(4), square(4)]})
    assert labels.sum() == 20
    assert "1 contours are there twice" in caplog.text


def test_later_labels_lie_over_earlier_ones(drawing, caplog):
    rois = {"a": [square(4)], "b": [square(4, low=(5.5, 4.5), high=(9.5, 9.5))]}
    labels = drawing.read(rois, {1: ["a"], 2: ["b"]})
    assert [(labels == value).sum() for value in (1, 2)] == [10, 20]
    assert "label 2 takes 10 voxels from label 1" in caplog.text
    labels = drawing.read(rois, {2: ["b"], 1: ["a"]})
    assert [(labels == value).sum() for value in (1, 2)] == [20, 10]


def test_another_frame_of_reference(drawing):
    with pytest.raises(InputError, match=r"of another frame of reference .*got 1\.2\.3\)"):
        drawing.read({"GTV": [square(4)]}, frame_of_reference_uid="1.2.3")
    drawing.grid = Grid(shape=drawing.grid.shape, affine=drawing.grid.affine)
    assert drawing.read({"GTV": [square(4)]}, frame_of_reference_uid="1.2.3").sum() == 20


def test_the_image_that_was_drawn_on(drawing, study, caplog):
    drawing.read({"GTV": [square(4)]})
    assert referenced_series(drawing.path) == (drawing.source.SeriesInstanceUID,)
    assert choose(scan(study.folder), referenced_series(drawing.path)[0]).slices == 9
    assert read_labels(drawing.path, names={1: ["GTV"]}, grid=drawing.grid).sum() == 20
    assert caplog.text == ""
    other = Grid(shape=drawing.grid.shape, affine=drawing.grid.affine, series_uid="1.2.3")
    assert read_labels(drawing.path, names={1: ["GTV"]}, grid=other).sum() == 20
    assert "was made on another series" in caplog.text


@pytest.mark.parametrize(
    ("data", "message"),
    [("1\\2\\3\\4", "without whole points"), ("1\\2\\nan", "whole points"), ("", "whole points")],
)
def test_contours_that_cannot_be_used(drawing, data, message):
    drawing.read({"GTV": [square(4)]})
    dataset = pydicom.dcmread(drawing.path)
    dataset.ROIContourSequence[0].ContourSequence[0]["ContourData"] = pydicom.DataElement(
        "ContourData", "UN", data.encode()
    )
    dataset.save_as(drawing.path)
    with pytest.raises(InputError, match=message):
        read_rtstruct(drawing.path, names={1: ["GTV"]}, grid=drawing.grid)


def test_files_that_are_none(drawing, study, tmp_path):
    with pytest.raises(InputError, match="is not an RT structure set"):
        read_rtstruct(study.files[0], names={1: ["GTV"]}, grid=drawing.grid)
    with pytest.raises(InputError, match=r"holds no labels .*expected an RTSTRUCT or SEG"):
        read_labels(study.files[0], names={1: ["GTV"]}, grid=drawing.grid)
    drawing.read({"GTV": [square(4)]})
    (tmp_path / "cut.dcm").write_bytes(drawing.path.read_bytes()[:100])
    with pytest.raises(InputError, match=r"cut\.dcm: the file cannot be read"):
        read_labels(tmp_path / "cut.dcm", names={1: ["GTV"]}, grid=drawing.grid)


def test_real_contours(shared_data):
    """Against matplotlib, contour by contour; the contours of these patients are not nested but for exclusive or."""
    taken = 0.0
    for folder in ("STS_001/MR_T1", "STS_002/MR_T1", "STS_045/MR_T1", "STS_006/CT", "STS_025/PET"):
        path = shared_data / "STS_Sarcoma" / folder / "rtstruct" / "RS.dcm"
        series = choose(scan(path.parent.parent / "image"))
        grid = Grid.of_series(series)
        assert referenced_series(path) == (series.series_uid,)
        start = time.perf_counter()
        labels = read_labels(path, names={1: [f"gtv_mass_{folder.split('/')[1]}"]}, grid=grid)
        taken += time.perf_counter() - start
        expected = np.zeros(grid.shape, dtype=bool)
        to_voxels = np.linalg.inv(np.diag([-1, -1, 1, 1]) @ grid.affine)
        centres = np.stack(np.meshgrid(*map(range, grid.shape[:2]), indexing="ij"), axis=-1).reshape(-1, 2)
        for contour in pydicom.dcmread(path).ROIContourSequence[0].ContourSequence:
            points = np.array(contour.ContourData, dtype=float).reshape(-1, 3)
            voxels = points @ to_voxels[:3, :3].T + to_voxels[:3, 3]
            inside = Outline(voxels[:, :2]).contains_points(centres).reshape(grid.shape[:2])
            expected[:, :, round(voxels[0, 2])] ^= inside
        assert expected.any()
        np.testing.assert_array_equal(labels, expected)
    assert taken < 10, "seconds for five patients"
