"""Series of a tilted gantry that show a function of the place in the patient."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from dicom_altered.enhanced import write_enhanced
from dicom_altered.slices import AXIAL, STEP_MM, move, set_pixels, stack, write
from dicom_altered.truth import LPS_TO_RAS, directions, place

COUNT, ROWS, COLUMNS = 16, 44, 52
ROW_MM, COLUMN_MM = 1.25, 1.0  # between rows and between columns
SLOPE, INTERCEPT = 0.0625, -1024
OBLIQUE = (0.8, 0.48, -0.36, -0.6, 0.64, -0.48)
BALL_MM = 14.0
WAVES = ((300.0, (0.11, -0.06, 0.05)), (200.0, (-0.04, 0.1, 0.07)))  # amplitude, and wave vector in radians per mm


def waves(points):
    """A smooth function of the place in LPS mm."""
    return sum(amplitude * np.sin(points @ np.array(vector)) for amplitude, vector in WAVES)


def second_derivative(direction) -> float:
    """The most that it can be of :func:`waves` along a direction."""
    return sum(amplitude * float(np.dot(vector, direction)) ** 2 for amplitude, vector in WAVES)


@dataclass(frozen=True, kw_only=True)
class Tilted:
    """A series whose slices drift along a row (axis 0) or a column (axis 1)."""

    degrees: float
    axis: int
    orientation: tuple[float, ...] = AXIAL
    enhanced: bool = False
    modality: str = "CT"

    def slices(self, function=waves, *, count=COUNT) -> list[pydicom.Dataset]:
        slices = stack(
            count=count, rows=ROWS, columns=COLUMNS, orientation=self.orientation, spacing=(ROW_MM, COLUMN_MM)
        )
        drift = STEP_MM * np.tan(np.radians(self.degrees))
        for k, dataset in enumerate(slices):
            move(dataset, k * drift * directions(dataset)[self.axis])
            dataset.RescaleSlope, dataset.RescaleIntercept = str(SLOPE), str(INTERCEPT)
            dataset.Modality = self.modality
            values = np.rint((function(pixel_places(dataset)) - INTERCEPT) / SLOPE)
            assert values.min() >= 0
            set_pixels(dataset, values)
        return slices

    def write(self, folder: Path, function=waves) -> list[pydicom.Dataset]:
        slices = self.slices(function)
        save = write_enhanced(order=np.random.default_rng(3).permutation(COUNT)) if self.enhanced else write
        save(slices, folder)
        return slices


KINDS = [
    Tilted(degrees=10, axis=1),
    Tilted(degrees=-18, axis=1),
    Tilted(degrees=25, axis=1, enhanced=True),
    Tilted(degrees=10, axis=0, enhanced=True),
    Tilted(degrees=-18, axis=0, orientation=OBLIQUE),
    Tilted(degrees=25, axis=0, modality="MR"),
    Tilted(degrees=-18, axis=1, orientation=OBLIQUE, enhanced=True),
]


def name(kind: Tilted) -> str:
    turned = "" if kind.orientation == AXIAL else "-oblique"
    return f"{kind.degrees}-{'rows' if kind.axis else 'columns'}{turned}{'-enhanced' if kind.enhanced else ''}"


def pixel_places(dataset):
    """The places of all pixels (row, column) in LPS mm."""
    first = place(dataset, 0, 0)
    along_row, along_column = place(dataset, 1, 0) - first, place(dataset, 0, 1) - first
    rows, columns = np.mgrid[: dataset.Rows, : dataset.Columns]
    return first + columns[..., None] * along_row + rows[..., None] * along_column


def in_order(slices):
    """Against the normal of row x column, as the reader stacks them."""
    return slices[::-1]


def voxel_places(affine, shape):
    """The places of all voxels (i, j, k) in LPS mm."""
    indices = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    return (indices @ affine[:3, :3].T + affine[:3, 3]) * LPS_TO_RAS


def bell(distance_mm):
    return 1000 * np.exp(-(distance_mm**2) / 450)


def ball(center):
    """A function of the place that is more than LEVEL within BALL_MM of a centre."""
    return lambda points: bell(np.linalg.norm(points - center, axis=-1))


LEVEL = float(bell(BALL_MM))


def middle(kind: Tilted):
    slices = kind.slices()
    return (place(slices[7], COLUMNS / 2, ROWS / 2) + place(slices[8], COLUMNS / 2 - 1, ROWS / 2 - 1)) / 2


def dice(one, other) -> float:
    return 2 * (one & other).sum() / (one.sum() + other.sum())
