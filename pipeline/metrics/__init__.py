"""Measures of agreement that MONAI lacks or computes slowly."""

from pipeline.metrics.overlap import dice_per_label

__all__ = ["dice_per_label"]
