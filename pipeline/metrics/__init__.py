"""Measures of agreement that MONAI lacks or computes slowly."""

from pipeline.metrics.classification import (
    calibration_bins,
    confusion_matrix,
    expected_calibration_error,
    roc_auc,
    roc_auc_of_ranks,
)
from pipeline.metrics.lesions import LesionCounts, match_lesions
from pipeline.metrics.overlap import dice_per_label
from pipeline.metrics.segmentation import Measures, measure
from pipeline.metrics.surfaces import SurfaceDistances, surface_distances

__all__ = [
    "LesionCounts",
    "Measures",
    "SurfaceDistances",
    "calibration_bins",
    "confusion_matrix",
    "dice_per_label",
    "expected_calibration_error",
    "match_lesions",
    "measure",
    "roc_auc",
    "roc_auc_of_ranks",
    "surface_distances",
]
