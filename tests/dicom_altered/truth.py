"""What an altered series really shows and where, by plain NumPy from the headers alone.

The place of a pixel is equation C.7.6.2.1-1 of DICOM PS3.3; a value is RescaleSlope x stored value +
RescaleIntercept (PS3.3 C.11.1), taken in double precision and rounded once. No medical library is asked.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

LPS_TO_RAS = np.array([-1.0, -1.0, 1.0])
CORNERS = tuple(itertools.product((0, 1), repeat=3))
"""The corners of a volume: 0 is the first and 1 the last voxel along (column, row, slice)."""


@dataclass(frozen=True, eq=False)
class Truth:
    """The volume of a sound series.

    ``values`` are float32 with axes (column, row, slice), the slices along the normal. ``corners`` are the RAS
    places in mm of the centres of its eight outermost voxels, (8, 3), as :data:`CORNERS` lists them; they are
    known to ``tolerance_mm``, which is more than rounding only where the slices themselves are off a grid.
    """

    values: np.ndarray
    corners: np.ndarray
    tolerance_mm: float = 1e-4


@dataclass(frozen=True)
class Difference:
    """How far a volume that was read is from the truth; ``corners_mm`` is infinite for another shape."""

    corners_mm: float
    value: float


def numbers(dataset, keyword):
    return np.array([float(value) for value in getattr(dataset, keyword)])


def directions(dataset):
    """The unit vectors along a row (column index grows), along a column, and their normal."""
    cosines = numbers(dataset, "ImageOrientationPatient")
    return cosines[:3], cosines[3:], np.cross(cosines[:3], cosines[3:])


def place(dataset, column, row):
    """PS3.3 equation C.7.6.2.1-1, in LPS mm."""
    along_row, along_column, _ = directions(dataset)
    between_rows, between_columns = numbers(dataset, "PixelSpacing")
    position = numbers(dataset, "ImagePositionPatient")
    return position + along_row * between_columns * column + along_column * between_rows * row


def stored(dataset):
    """The stored values, (row, column), of native little endian pixel data: PS3.5 section 8.1.1.

    The lowest bit of a value is bit HighBit + 1 - BitsStored.
    """
    signed = dataset.PixelRepresentation == 1
    unsigned = np.frombuffer(dataset.PixelData, f"<u{dataset.BitsAllocated // 8}")
    values = unsigned[: dataset.Rows * dataset.Columns].astype(np.int64)
    values = (values >> (dataset.HighBit + 1 - dataset.BitsStored)) % 2**dataset.BitsStored
    if signed:
        values = np.where(values >= 2 ** (dataset.BitsStored - 1), values - 2**dataset.BitsStored, values)
    return values.reshape(dataset.Rows, dataset.Columns)


def rescaled(dataset):
    """Float32 values in the units of the series, (row, column)."""
    if "ModalityLUTSequence" in dataset:
        table = dataset.ModalityLUTSequence[0]
        entries = np.frombuffer(table.LUTData, "<u2")
        index = np.clip(stored(dataset) - table.LUTDescriptor[1], 0, len(entries) - 1)
        return entries[index].astype(np.float32)
    slope = float(dataset.get("RescaleSlope", 1))
    intercept = float(dataset.get("RescaleIntercept", 0))
    return (stored(dataset) * slope + intercept).astype(np.float32)


def plane_truth(slices, tolerance_mm=1e-4) -> Truth:
    """The truth of single-frame slices in any order."""
    normal = directions(slices[0])[2]
    ordered = sorted(slices, key=lambda dataset: float(numbers(dataset, "ImagePositionPatient") @ normal))
    values = np.stack([rescaled(dataset).T for dataset in ordered], axis=-1)
    last_column, last_row = values.shape[0] - 1, values.shape[1] - 1
    corners = [place(ordered[-k], i * last_column, j * last_row) * LPS_TO_RAS for i, j, k in CORNERS]
    return Truth(values, np.array(corners), tolerance_mm)


def difference(truth: Truth, array, affine) -> Difference:
    """Compare a volume, (x, y, z) with its affine to RAS, with the truth, whichever way its axes run."""
    array, affine = np.asarray(array), np.asarray(affine, dtype=float)
    best = Difference(np.inf, np.inf)
    if array.ndim != 3:
        return best
    for order in itertools.permutations(range(3)):
        turned = array.transpose(order)
        if turned.shape != truth.values.shape:
            continue
        for flips in itertools.product((False, True), repeat=3):
            ends = np.array([[bit != flip for bit, flip in zip(corner, flips, strict=True)] for corner in CORNERS])
            indices = np.empty((8, 3))
            indices[:, order] = ends * (np.array(turned.shape) - 1)
            corners = indices @ affine[:3, :3].T + affine[:3, 3]
            away = float(np.max(np.linalg.norm(corners - truth.corners, axis=1)))
            if away < best.corners_mm:
                view = turned[tuple(slice(None, None, -1 if flip else 1) for flip in flips)]
                gap = np.abs(view.astype(np.float64) - truth.values)
                best = Difference(away, float(np.max(np.where(np.isnan(gap), np.inf, gap))))
    return best
