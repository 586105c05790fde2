"""Scores of classifications, and what they say together."""

from pipeline.evaluation.classification.table import ClassificationTable

__all__ = ["ClassificationTable"]
