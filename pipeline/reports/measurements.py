"""The measurements of a label map as a table."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.dicom import Segment
from pipeline.errors import InputError
from pipeline.metrics.regions import Region, measure_regions
from pipeline.writing import whole_file

__all__ = ["COLUMNS", "write_measurements"]

COLUMNS = (
    "value",
    "name",
    "voxels",
    "volume_ml",
    "mean",
    "standard_deviation",
    "largest_diameter_mm",
    "long_axis_mm",
    "long_axis_slice",
    "long_axis_start_ras_mm",
    "long_axis_end_ras_mm",
    "centroid_ras_mm",
)


def write_measurements(
    labels: npt.NDArray[np.uint8],
    *,
    affine: npt.NDArray[np.float64],
    segments: Sequence[Segment],
    path: str | os.PathLike[str],
    image: npt.NDArray[Any] | None = None,
) -> Path:
    """Write a CSV file with a row for each label, in the order of ``segments``.

    The columns are those of :class:`pipeline.metrics.regions.Region`: ``volume_ml`` is the number of voxels x the
    volume of one; ``mean`` and ``standard_deviation`` are of the image's values, in its units; ``largest_diameter_mm``
    is between the centres of any two voxels; ``long_axis_mm`` is the same within one slice (the longest diameter of
    RECIST 1.1, Eisenhauer et al. 2009), ``long_axis_slice`` that slice, counted from 0. Points are "x y z". A label
    without voxels has zeros and empty cells.

    Args:
        labels: uint8, axes (i, j, k) = (column, row, slice).
        affine: 4x4, voxel (i, j, k) to RAS mm.
        segments: what each label value means.
        path: the file; an older one is replaced. It appears whole or not at all.
        image: of the labels' shape; None leaves mean and deviation empty.

    Returns:
        The path of the file.

    Raises:
        InputError: the image has another shape, or the file cannot be written.
    """
    path = Path(path)
    if image is not None and image.shape != labels.shape:
        raise InputError("labels and image differ in size", expected=labels.shape, got=image.shape)
    regions = measure_regions(labels, affine=affine, values=[segment.value for segment in segments], image=image)
    with whole_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        table.writerows(_row(segment, regions[segment.value]) for segment in segments)
    return path


def _row(segment: Segment, region: Region) -> list[object]:
    start, end = region.long_axis_ends_mm or (None, None)
    return [
        segment.value,
        segment.name,
        region.voxels,
        _number(region.volume_ml),
        _number(region.mean),
        _number(region.standard_deviation),
        _number(region.largest_diameter_mm),
        _number(region.long_axis_mm),
        "" if region.long_axis_slice is None else region.long_axis_slice,
        *(" ".join(f"{value + 0.0:.4f}" for value in point or ()) for point in (start, end, region.centroid_mm)),
    ]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.9g}"
