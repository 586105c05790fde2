"""Label maps as files: NIfTI, NRRD, MHA, pictures and DICOM SEG, with their grids."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.errors import InputError
from pipeline.sources import CaseReader
from pipeline.sources.kinds import PICTURE_KINDS, is_label_object, kind_of

__all__ = ["LabelMap", "read_label_map", "resample_to"]

_VOLUME, _PLANE = 3, 2
_GRID_TOLERANCE = 0.02  # of the smallest side of a voxel: what formats round
_TIE = 1e-6  # of a voxel: what lies between two goes to the lower one, whatever the rounding

_Labels = npt.NDArray[np.integer[Any]]
_Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class LabelMap:
    """One label map.

    Attributes:
        labels: integers of shape (X, Y, Z), or (X, Y) of a picture.
        affine: 4x4, voxel indices to RAS mm; None of a picture, which has no place in space.
        names: what the file itself calls the label values, as a DICOM SEG does.
        partial: whether slices without a label may be left out, as a DICOM SEG may.
    """

    labels: _Labels
    affine: _Floats | None
    names: Mapping[int, str] = field(default_factory=dict)
    partial: bool = False

    def spacing_mm(self) -> tuple[float, ...] | None:
        """The voxel size along each axis; None of a picture."""
        if self.affine is None:
            return None
        return tuple(np.linalg.norm(self.affine[:3, :3], axis=0).tolist())

    def difference(self, other: LabelMap) -> str | None:
        """What another map's grid has that this one's has not, in words; None where they are the same."""
        if self.labels.shape != other.labels.shape:
            return f"shape {other.labels.shape} instead of {self.labels.shape}"
        if self.affine is None or other.affine is None:
            return None if self.affine is other.affine else "a picture instead of a volume, or the reverse"
        away = float(np.linalg.norm((other.affine - self.affine) @ other.corners(), axis=0).max())
        return f"an affine that puts voxels up to {away:.3g} mm away" if away > self._tolerance_mm() else None

    def shares_voxels(self, other: LabelMap) -> bool:
        """Whether another map's voxels are of the same lattice, wherever its grid starts and however it runs."""
        if self.affine is None or other.affine is None:
            return False
        step = np.linalg.inv(self.affine) @ other.affine
        places = step @ other.corners()
        away = np.linalg.norm(self.affine @ (places - np.round(places)), axis=0).max()
        whole_steps = abs(abs(np.linalg.det(step)) - 1) < _GRID_TOLERANCE and np.allclose(
            step[:3, :3], np.round(step[:3, :3]), atol=_GRID_TOLERANCE
        )
        return bool(whole_steps and away <= self._tolerance_mm())

    def covering(self, other: LabelMap) -> LabelMap:
        """The same map with background around it, as far as another one reaches; both are volumes."""
        if self.affine is None or other.affine is None:
            return self
        places = np.round((np.linalg.inv(self.affine) @ other.affine @ other.corners())[:3]).astype(int)
        before = np.maximum(-places.min(axis=1), 0)
        after = np.maximum(places.max(axis=1) + 1 - self.labels.shape, 0)
        affine = self.affine.copy()
        affine[:3, 3] -= affine[:3, :3] @ before
        labels = np.pad(self.labels, np.stack([before, after], axis=1))
        return LabelMap(labels=labels, affine=affine, names=self.names, partial=self.partial)

    def corners(self) -> _Floats:
        """The indices of the corner voxels of a volume, of shape (4, 8), homogeneous."""
        ends = [(0.0, float(n - 1)) for n in self.labels.shape]
        corners: _Floats = np.array([*itertools.product(*ends, (1.0,))]).T
        return corners

    def _tolerance_mm(self) -> float:
        return _GRID_TOLERANCE * min(self.spacing_mm() or (0.0,))


def read_label_map(path: Path) -> LabelMap:
    """Read a file as a label map.

    Args:
        path: NIfTI, NRRD, MHA, a picture (grey values or palette indices) or a DICOM SEG.

    Raises:
        InputError: it cannot be read, has several channels, or its values are not whole numbers.
    """
    if is_label_object(path):
        return _from_dicom(path)
    array, meta = CaseReader(label=True).get_data((path,))
    labels = _whole_numbers(np.asarray(array), path)
    if kind_of(path) in PICTURE_KINDS:
        return LabelMap(labels=_shaped(labels, _PLANE, path), affine=None)
    affine = np.eye(4)
    given = np.asarray(meta["affine"], dtype=np.float64)
    size = min(len(given), 4) - 1  # a 2D file has a smaller one
    affine[:size, :size], affine[:size, 3] = given[:size, :size], given[:size, -1]
    return LabelMap(labels=_shaped(labels, _VOLUME, path), affine=affine)


def resample_to(moving: LabelMap, grid: LabelMap) -> LabelMap:
    """Bring a label map to another one's grid: each voxel takes the nearest one's label, 0 outside.

    Raises:
        InputError: one of them is a picture, which has no place in space.
    """
    if moving.affine is None or grid.affine is None:
        raise InputError("a picture has no place in space and cannot be resampled")
    matrix = np.linalg.inv(moving.affine) @ grid.affine
    shape = np.array(moving.labels.shape)[:, None]
    plane = np.indices(grid.labels.shape[:2]).reshape(2, -1)
    out = np.zeros(grid.labels.shape, dtype=moving.labels.dtype)
    for k in range(grid.labels.shape[2]):  # slice by slice, for memory
        place: _Floats = matrix[:3, :2] @ plane + (matrix[:3, 2] * k + matrix[:3, 3])[:, None]
        nearest = np.floor(place + 0.5 - _TIE).astype(np.int64)
        inside = ((nearest >= 0) & (nearest < shape)).all(axis=0)
        values = np.zeros(plane.shape[1], dtype=out.dtype)
        values[inside] = moving.labels[tuple(nearest[:, inside])]
        out[:, :, k] = values.reshape(out.shape[:2])
    return LabelMap(labels=out, affine=grid.affine, names=moving.names)


def _from_dicom(path: Path) -> LabelMap:
    from pipeline.dicom import read_segmentation

    found = read_segmentation(path)
    names = {one.value: one.name for one in found.segments}
    return LabelMap(labels=found.labels, affine=found.affine, names=names, partial=True)


def _whole_numbers(array: npt.NDArray[Any], path: Path) -> _Labels:
    if array.dtype.kind in "bui":
        return array.astype(np.uint8) if array.dtype.kind == "b" else array
    with np.errstate(invalid="ignore"):
        whole = array.astype(np.int32)
    different = array[whole != array]
    if different.size:
        raise InputError("is no label map", where=path, expected="whole numbers", got=f"{different.flat[0]:g}")
    return whole


def _shaped(labels: _Labels, dimensions: int, path: Path) -> _Labels:
    """With further axes of length 1 dropped or added."""
    shape = labels.shape[:dimensions] + (1,) * (dimensions - labels.ndim)
    if any(size != 1 for size in labels.shape[dimensions:]):
        raise InputError("is no label map", where=path, expected="one value per voxel", got=f"shape {labels.shape}")
    return labels.reshape(shape)
