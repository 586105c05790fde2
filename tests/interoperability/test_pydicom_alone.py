"""Label objects through pydicom alone, frame by frame of the source."""

from __future__ import annotations

import pydicom
import pytest
from interoperability.label_decoding import same_segmentation, same_structures


def test_segmentation(made):
    same_segmentation(pydicom.dcmread(made.segmentation), made)


def test_structures(drawn):
    same_structures(pydicom.dcmread(drawn.structures), drawn)


@pytest.mark.parametrize("byte", [0, 100, -1])
def test_one_wrong_voxel_is_seen(make, byte):
    made = make("axial")
    dataset = pydicom.dcmread(made.segmentation)
    pixels = bytearray(dataset.PixelData)
    pixels[byte] ^= 1
    dataset.PixelData = bytes(pixels)
    with pytest.raises(AssertionError, match="Mismatched elements: 1 /"):
        same_segmentation(dataset, made)


@pytest.mark.parametrize("index", [0, -1])
def test_one_wrong_contour_is_seen(make, index):
    made = make("axial")
    dataset = pydicom.dcmread(made.structures)
    del dataset.ROIContourSequence[-1].ContourSequence[index]
    with pytest.raises(AssertionError, match="Mismatched elements"):
        same_structures(dataset, made)
