"""Volumes loaded in a small type have the values that nibabel gives."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.transforms import Compose, LoadImaged, Orientationd

from pipeline.data.phantoms import make_phantom, write_phantom_dicom
from pipeline.sources import CaseReader
from pipeline.sources.compact import compact_tensor
from pipeline.transforms import Spacingd

SHAPE = (7, 6, 5)
AFFINE = np.diag([-0.8, 0.8, 2.0, 1.0])


def _load(path: Path, **reader: Any) -> torch.Tensor:
    load = LoadImaged("image", reader=CaseReader(compact=True, **reader), ensure_channel_first=True, dtype=None)
    return load({"image": path})["image"]


def _save(path: Path, voxels: np.ndarray, *, slope: float = 1.0, intercept: float = 0.0) -> np.ndarray:
    """Write voxels as they are stored, and tell what nibabel reads."""
    header = nib.Nifti1Header(endianness="<" if voxels.dtype.newbyteorder("<") == voxels.dtype else ">")
    image = nib.Nifti1Image(voxels, AFFINE, header)
    image.header.set_data_dtype(voxels.dtype)
    content = bytearray(image.to_bytes())
    order = image.header.endianness
    content[112:120] = np.array([slope, intercept], dtype=f"{order}f4").tobytes()  # scl_slope and scl_inter
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    known = nib.load(path)
    assert known.get_data_dtype() == voxels.dtype
    return np.asanyarray(known.dataobj)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize(
    ("stored", "expected"),
    [("u1", "uint8"), ("i1", "int8"), ("<i2", "int16"), (">i2", "int16"), ("<u2", "int16"), ("<i4", "float32"),
     ("<f4", "float32"), ("<f8", "float32"), (">f4", "float32")],
)  # fmt: skip
def test_each_type_keeps_its_values(tmp_path: Path, stored: str, expected: str, suffix: str) -> None:
    voxels = np.random.default_rng(0).integers(0, 127, SHAPE).astype(stored)
    known = _save(tmp_path / f"case{suffix}", voxels)
    image = _load(tmp_path / f"case{suffix}")
    assert str(image.dtype) == f"torch.{expected}"
    np.testing.assert_array_equal(image.numpy()[0], known)


@pytest.mark.parametrize(
    ("kind", "values", "intercept", "expected"),
    [("<i2", (0, 4000), -1024.0, "int16"), ("<i2", (0, 30000), 5000.0, "float32"), ("<u2", (0, 60000), 0.0, "float32"),
     ("<i2", (0, 4000), -0.5, "float32")],
    ids=["a CT", "too large", "too large without an intercept", "halves"],
)  # fmt: skip
def test_an_intercept_stays_in_int16_where_it_fits(
    tmp_path: Path, kind: str, values: tuple[int, int], intercept: float, expected: str
) -> None:
    voxels = np.linspace(*values, np.prod(SHAPE)).astype(kind).reshape(SHAPE)
    known = _save(tmp_path / "case.nii.gz", voxels, slope=1.0, intercept=intercept)
    image = _load(tmp_path / "case.nii.gz")
    assert str(image.dtype) == f"torch.{expected}"
    np.testing.assert_array_equal(image.numpy()[0], known)


def test_a_slope_makes_float32_of_what_nibabel_computes_in_double_precision(tmp_path: Path) -> None:
    voxels = np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE)
    known = _save(tmp_path / "case.nii.gz", voxels, slope=0.1, intercept=3.0)
    np.testing.assert_array_equal(_load(tmp_path / "case.nii.gz").numpy()[0], known.astype(np.float32))


def test_a_large_file_is_converted_in_runs_of_slices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.sources.compact._SLICES_BYTES", 7 * 6 * 8 * 2)
    voxels = np.random.default_rng(0).normal(size=SHAPE)
    known = _save(tmp_path / "case.nii.gz", voxels)
    np.testing.assert_array_equal(_load(tmp_path / "case.nii.gz").numpy()[0], known.astype(np.float32))


def test_a_series_of_whole_hounsfield_units_is_int16(tmp_path: Path) -> None:
    write_phantom_dicom(make_phantom(0), tmp_path / "series")
    load = LoadImaged("image", reader=CaseReader(), ensure_channel_first=True)
    known = load({"image": tmp_path / "series"})["image"]
    image = _load(tmp_path / "series")
    assert image.dtype == torch.int16
    assert known.dtype == torch.float32
    np.testing.assert_array_equal(image.numpy(), known.numpy())
    np.testing.assert_array_equal(image.affine, known.affine)


def test_preprocessing_gives_what_it_gives_from_float32(tmp_path: Path) -> None:
    _save(tmp_path / "case.nii.gz", np.random.default_rng(0).integers(-1000, 1000, SHAPE).astype(np.int16))
    results = []
    for reader, dtype in ((CaseReader(compact=True), None), (CaseReader(), np.float32)):
        steps = [
            LoadImaged("image", reader=reader, ensure_channel_first=True, dtype=dtype),
            Orientationd("image", "RAS", labels=(("L", "R"), ("P", "A"), ("I", "S"))),
            Spacingd("image", (1.0, 1.0, 1.0)),
        ]
        results.append(Compose(steps)({"image": tmp_path / "case.nii.gz"})["image"])
    assert results[0].dtype == torch.float32
    np.testing.assert_array_equal(results[0].numpy(), results[1].numpy())


def test_a_mapped_file_is_never_written(tmp_path: Path) -> None:
    path = tmp_path / "case.nii"
    _save(path, np.ones(SHAPE, dtype=np.int16))
    before = path.read_bytes()
    image = _load(path)
    image += 5
    del image
    assert path.read_bytes() == before


def test_a_tensor_shares_the_memory_of_its_array() -> None:
    array = np.zeros(SHAPE, dtype=np.int16, order="F")
    tensor = compact_tensor(array)
    assert tensor.data_ptr() == array.ctypes.data
    assert tensor.stride() == tuple(n // 2 for n in array.strides)


@pytest.mark.parametrize("change", [lambda a: a[::-1], lambda a: a.astype(">i2"), lambda a: a.astype(np.uint16)])
def test_arrays_that_torch_cannot_take_are_copied(change: Any) -> None:
    array = change(np.arange(24, dtype=np.int16).reshape(4, 6))
    np.testing.assert_array_equal(compact_tensor(array).numpy(), array)
