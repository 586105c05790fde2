"""Probabilities and forecasts of untilted series."""

from __future__ import annotations

import logging

import nibabel
import numpy as np
import pytest
from dicom_altered.tilted import KINDS, ball, in_order, middle, name, pixel_places, voxel_places
from monai.transforms import LoadImage

from pipeline.sources import CaseReader, Options, open_image
from pipeline.workflows.segment import segment


@pytest.mark.parametrize("kind", [KINDS[1], KINDS[3], KINDS[6]], ids=name)
def test_probabilities_lie_on_the_acquired_slices(kind, threshold, tmp_path):
    center = middle(kind)
    slices = in_order(kind.write(tmp_path / "case", ball(center)))
    out = tmp_path / "out"
    segment(tmp_path / "case", bundle=threshold, output_dir=out, untilt=True, probabilities=["GTV"])
    assert sorted(path.name for path in out.iterdir()) == ["case.dcm", "case.nii.gz", "case_GTV.nii"]
    mask, found = nibabel.load(out / "case.nii.gz"), nibabel.load(out / "case_GTV.nii")
    assert np.array_equal(found.affine, mask.affine)
    places = np.stack([pixel_places(dataset).swapaxes(0, 1) for dataset in slices], axis=2)
    np.testing.assert_allclose(voxel_places(found.affine, found.shape), places, atol=1e-3)
    probability = np.asarray(found.dataobj)
    # Both are of the nearest upright voxel, so that a probability above one half is the label, but for ties.
    certain = np.abs(probability - 0.5) > 1e-6
    assert certain.mean() > 0.999
    np.testing.assert_array_equal(probability[certain] > 0.5, np.asarray(mask.dataobj)[certain] == 1)
    inside = np.linalg.norm(places - center, axis=-1)
    assert probability[inside < 3].min() > 0.9
    assert probability[inside > 30].max() < 0.1


@pytest.mark.parametrize("kind", KINDS, ids=name)
def test_the_upright_grid_is_told_from_headers(kind, tmp_path):
    kind.write(tmp_path / "case")
    loaded = LoadImage(reader=CaseReader(untilt=True))(str(tmp_path / "case"))
    image = open_image(tmp_path / "case", Options(untilt=True))
    size, affine = image.size, image.affine
    assert size == tuple(loaded.shape)
    np.testing.assert_allclose(affine, loaded.affine, atol=1e-4)


def test_a_tilted_case_is_forecast(threshold, tmp_path, caplog):
    KINDS[1].write(tmp_path / "case", ball(middle(KINDS[1])))
    with caplog.at_level(logging.INFO, logger="pipeline.planning.forecast"):
        segment(tmp_path / "case", bundle=threshold, output_dir=tmp_path / "out", untilt=True, max_memory_gb=50)
    (line,) = [one.getMessage() for one in caplog.records if one.name == "pipeline.planning.forecast"]
    assert line.startswith("case: forecast about")
