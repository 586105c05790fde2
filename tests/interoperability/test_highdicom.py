"""Segmentation objects through highdicom: by the source images, and as one volume."""

from __future__ import annotations

import highdicom
import numpy as np
import pytest
from interoperability.label_objects_made import SEGMENTS


def same_voxels(array, made) -> None:
    """Compare (slice, row, column, segment) with what was written."""
    assert array.shape == (*made.labels.shape[::-1], len(SEGMENTS))
    for number, segment in enumerate(SEGMENTS):
        np.testing.assert_array_equal(array[..., number].transpose(2, 1, 0), made.labels == segment.value)


def test_by_source_images(made):
    segmentation = highdicom.seg.segread(made.segmentation)
    numbers = list(made.case.numbers.values())
    uids = [frame.sop_instance_uid for frame in made.frames]
    if len(made.source_files) == len(uids):
        planes = segmentation.get_pixels_by_source_instance(uids, segment_numbers=numbers)
    else:
        frames = [frame.number for frame in made.frames]
        planes = segmentation.get_pixels_by_source_frame(uids[0], frames, segment_numbers=numbers)
    same_voxels(planes, made)


def test_as_a_volume(made):
    segmentation = highdicom.seg.segread(made.segmentation)
    if made.case.tilted:
        with pytest.raises(RuntimeError, match="volume"):
            segmentation.get_volume()
        return
    volume = segmentation.get_volume(segment_numbers=list(made.case.numbers.values()))
    columns = [0, 1, 3] if made.labels.shape[2] == 1 else [0, 1, 2, 3]  # one slice has no next one
    affine = volume.affine[:, [2, 1, 0, 3]]
    np.testing.assert_allclose(affine[:, columns], made.lps_affine[:, columns], rtol=0, atol=1e-4)
    same_voxels(volume.array, made)
