"""Measures of agreement that MONAI lacks or computes slowly."""

from pipeline.metrics.classification import (
    calibration_bins,
    confusion_matrix,
    expected_calibration_error,
    roc_auc,
    roc_auc_of_ranks,
)
from pipeline.metrics.overlap import dice_per_label

__all__ = [
    "calibration_bins",
    "confusion_matrix",
    "dice_per_label",
    "expected_calibration_error",
    "roc_auc",
    "roc_auc_of_ranks",
]
