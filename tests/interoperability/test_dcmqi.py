"""Segmentation objects through dcmqi's segimage2itkimage, compared in physical space."""

from __future__ import annotations

import json
import subprocess

import numpy as np
import SimpleITK
from interoperability.label_objects_made import SEGMENTS
from interoperability.programs import find_program


def test_segmentation(made, tmp_path):
    options = ["--inputDICOM", made.segmentation, "--outputDirectory", tmp_path, "-t", "nrrd"]
    subprocess.run([find_program("segimage2itkimage"), *options], capture_output=True, timeout=60, check=True)
    described = json.loads((tmp_path / "meta.json").read_text())["segmentAttributes"]
    found = {}
    for file, items in enumerate(described, start=1):  # a file per segment, or one of all segments of a label map
        image = SimpleITK.ReadImage(str(tmp_path / f"{file}.nrrd"))
        values = on_grid(image, made.labels.shape, upright(made.lps_affine))
        assert np.count_nonzero(SimpleITK.GetArrayViewFromImage(image)) == np.count_nonzero(values), "nothing outside"
        for item in items:
            assert item["labelID"] == made.case.numbers[item["SegmentLabel"]]
            found[item["SegmentLabel"]] = values == item["labelID"]
    assert len(found) == len(SEGMENTS)
    for segment in SEGMENTS:
        np.testing.assert_array_equal(found[segment.name], made.labels == segment.value)


def upright(lps_affine) -> np.ndarray:
    """The grid without its shear: an ITK image has none, so that dcmqi stacks tilted slices along their normal."""
    affine = lps_affine.copy()
    normal = np.cross(affine[:3, 0], affine[:3, 1])
    normal /= np.linalg.norm(normal)
    affine[:3, 2] = (normal @ affine[:3, 2]) * normal
    return affine


def on_grid(image: SimpleITK.Image, shape, lps_affine) -> np.ndarray:
    """The values of an image at the voxels of a grid, which must lie on the image's voxels."""
    voxels = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    points = voxels @ lps_affine[:3, :3].T + lps_affine[:3, 3]
    to_points = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    indices = (points - image.GetOrigin()) @ np.linalg.inv(to_points).T
    whole = np.rint(indices).astype(int)
    np.testing.assert_allclose(indices, whole, atol=0.01)
    assert (whole >= 0).all()
    assert (whole < image.GetSize()).all()
    return SimpleITK.GetArrayViewFromImage(image).transpose(2, 1, 0)[tuple(np.moveaxis(whole, -1, 0))]
