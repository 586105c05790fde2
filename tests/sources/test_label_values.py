"""Whole numbers that a scaled file holds rounded, against the label maps that were stored."""

from __future__ import annotations

import struct
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from monai.transforms import LoadImaged

from pipeline.errors import InputError
from pipeline.sources import CaseReader, read_label_map
from pipeline.transforms import CheckLabeld, DecodeMaskd
from pipeline.workflows.convert import convert

LABELS = np.zeros((12, 10, 8), dtype=np.uint8)
LABELS[2:6, 3:7, 1:5], LABELS[7:10, 3:7, 2:6] = 1, 2


def scaled(path: Path, samples: np.ndarray, slope: float, intercept: float = 0.0) -> Path:
    """Samples under a slope and an intercept of 32 bits, as SPM and others write them."""
    nib.save(nib.Nifti1Image(samples, np.eye(4)), path)
    content = bytearray(path.read_bytes())
    content[112:120] = struct.pack("<ff", slope, intercept)
    path.write_bytes(content)
    return path


# Slope, intercept, and the samples of 1 and 2.
SCALINGS = [(1 / 255, 0, 255, 510), (0.04, 0, 25, 50), (1 / 3, 0, 3, 6), (0.1, -10, 110, 120), (1 / 30000, 1, 0, 30000)]


@pytest.mark.parametrize(("slope", "intercept", "one", "two"), SCALINGS)
def test_scaled_labels_are_labels(slope: float, intercept: float, one: int, two: int, tmp_path: Path) -> None:
    samples = np.array([round(-intercept / slope), one, two], dtype=np.int16)[LABELS]
    path = scaled(tmp_path / "a.nii", samples, slope, intercept)
    stored = np.asarray(nib.load(path).dataobj)
    if one not in (25, 0):
        assert not np.array_equal(stored, LABELS)
    np.testing.assert_allclose(stored, LABELS, atol=1e-5)
    np.testing.assert_array_equal(read_label_map(path).labels, LABELS)
    data = LoadImaged(["label"], reader=CaseReader(), ensure_channel_first=True)({"label": str(path)})
    trained = CheckLabeld(["label"], image_key="label", values=[0, 1, 2])(data)["label"]
    np.testing.assert_array_equal(trained[0], LABELS)
    decoded = DecodeMaskd(["label"], values=[0, 1, 2])(data)["label"]
    np.testing.assert_array_equal(decoded[0], LABELS)
    nifti, _ = convert(path, tmp_path / "b.nii.gz")
    np.testing.assert_array_equal(np.asarray(nib.load(nifti).dataobj), LABELS)


@pytest.mark.parametrize("kind", [np.int16, np.uint16])
@pytest.mark.parametrize("largest", [2, 7, 13, 104])
def test_floats_in_samples_of_16_bits_are_labels(kind: type, largest: int, tmp_path: Path) -> None:
    """nibabel spreads floats over the samples, so that a whole number is met to half a step."""
    labels = np.arange(largest + 1).repeat(8).reshape(-1, 2, 4)
    image = nib.Nifti1Image(labels.astype(np.float32), np.eye(4))
    image.set_data_dtype(kind)
    nib.save(image, tmp_path / "a.nii.gz")
    assert not np.array_equal(np.asarray(nib.load(tmp_path / "a.nii.gz").dataobj), labels)
    np.testing.assert_array_equal(read_label_map(tmp_path / "a.nii.gz").labels, labels)


@pytest.mark.parametrize("value", [0.5, 1.01, 0.999, 1.0001, 254.99, np.nan])
def test_what_no_rounding_explains_is_refused(value: float, tmp_path: Path) -> None:
    values = LABELS.astype(np.float32)
    values[0, 0, 0] = value
    path = tmp_path / "a.nii"
    nib.save(nib.Nifti1Image(values, np.eye(4)), path)
    with pytest.raises(InputError, match="whole numbers, got"):
        read_label_map(path)
    with pytest.raises(InputError, match="whole numbers, got"):
        convert(path, tmp_path / "b.nii")
    data = LoadImaged(["label"], reader=CaseReader(), ensure_channel_first=True)({"label": str(path)})
    with pytest.raises(InputError, match="is not in the plan"):
        CheckLabeld(["label"], image_key="label", values=[0, 1, 2])(data)
