"""The measures of a segmented case as columns of tables: their names with units, definitions and directions."""

from __future__ import annotations

import math
from typing import NamedTuple

from pipeline.metrics import Measures

__all__ = ["Column", "about_column", "measure_columns", "missing_value"]

_HIGHER, _LOWER = 1, -1


class Column(NamedTuple):
    """What a column of ``metrics.csv`` says.

    Attributes:
        definition: how it is computed, in words for a methods section.
        better: 1 where higher is better, -1 where lower is, 0 where neither.
    """

    definition: str
    better: int = 0


_COLUMNS = {
    "dice": Column("Dice similarity coefficient, 2 TP / (2 TP + FP + FN)", _HIGHER),
    "iou": Column("intersection over union, TP / (TP + FP + FN)", _HIGHER),
    "sensitivity": Column("TP / (TP + FN)", _HIGHER),
    "precision": Column("TP / (TP + FP)", _HIGHER),
    "nsd": Column("normalised surface Dice: share of both surfaces within the tolerance of the other", _HIGHER),
    "tolerance": Column("tolerance of the normalised surface Dice"),
    "hausdorff": Column("Hausdorff distance", _LOWER),
    "hausdorff95": Column("larger of the two directed 95th percentiles of the surface distances", _LOWER),
    "mean_surface_distance": Column("average symmetric surface distance: mean over both surfaces", _LOWER),
    "centroid_distance": Column("distance of the centres of mass", _LOWER),
    "reference_size": Column("size of the reference"),
    "prediction_size": Column("size of the prediction"),
    "size_difference": Column("prediction - reference; compared by its absolute value", _LOWER),
    "size_difference_percent": Column("that in percent of the reference; compared by its absolute value", _LOWER),
    "reference_voxels": Column("voxels (in 2D pixels) of the reference"),
    "prediction_voxels": Column("voxels (in 2D pixels) of the prediction"),
    "reference_lesions": Column("connected components of the reference (26-, in 2D 8-connectivity)"),
    "prediction_lesions": Column("connected components of the prediction"),
    "detected_lesions": Column("lesions of the reference that share a voxel with one of the prediction"),
    "false_positive_lesions": Column("lesions of the prediction that share no voxel with one of the reference", _LOWER),
    "lesion_sensitivity": Column("detected lesions / lesions of the reference", _HIGHER),
    "lesion_dice": Column("mean Dice over lesions, a false positive counted as 0", _HIGHER),
}
_SIZES = {"ml": ("volume", "ml"), "mm2": ("area", "mm2"), "pixel": ("area", "pixel")}
_DISTANCES = ("tolerance", "hausdorff", "hausdorff95", "mean_surface_distance", "centroid_distance")


def _name(measure: str, length: str, size: str) -> str:
    kind, unit = _SIZES[size]
    if measure in _DISTANCES:
        return f"{measure}_{length}"
    if measure == "size_difference_percent":
        return f"{kind}_difference_percent"
    return f"{measure.replace('size', kind)}_{unit}" if "size" in measure else measure


_KNOWN = {
    _name(measure, length, size): measure
    for length, size in (("mm", "ml"), ("mm", "mm2"), ("pixel", "pixel"))
    for measure in _COLUMNS
}


def measure_columns(measures: Measures, *, pixels: bool = False) -> dict[str, float]:
    """The measures of one case and label by the names of their columns.

    Args:
        measures: of the case.
        pixels: whether it is a picture without a known spacing, measured with a spacing of 1.

    Returns:
        Numbers by names that end in their unit: ``hausdorff_mm``, ``reference_volume_ml``; of a 2D image
        ``reference_area_mm2``; of a picture ``hausdorff_pixel`` and ``reference_area_pixel``.
    """
    length, size = ("pixel", "pixel") if pixels else ("mm", measures.size_unit)
    fields = {name: f"{name}_mm" for name in _DISTANCES}
    return {_name(name, length, size): getattr(measures, fields.get(name, name)) for name in _COLUMNS}


def about_column(column: str) -> Column:
    """What a column says; a column that is not ours has no direction."""
    return _COLUMNS[_KNOWN[column]] if column in _KNOWN else Column("")


def missing_value(column: str) -> float:
    """What a case without a prediction has: scores 0 and distances without end; sizes and counts are not known."""
    measure = _KNOWN.get(column, "")
    if measure in _DISTANCES and about_column(column).better:
        return math.inf
    return 0.0 if about_column(column).better == _HIGHER else math.nan
