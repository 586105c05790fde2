"""The scores of classifications, as a table that is written and shown."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.evaluation.classification.output import classification_text, write_classification
from pipeline.evaluation.classification.scores import ClassifiedCase, ClassScores
from pipeline.sources.given import given_path

__all__ = ["ClassificationTable", "ClassifiedCase"]


class ClassificationTable(ClassScores):
    """Scores with a way to files and to people."""

    def write(self, folder: str | Path, *, about: Mapping[str, Any] | None = None) -> list[Path]:
        """Write the table: ``probabilities.csv`` and, where references are known, four files more.

        Those are ``classification.json`` and ``confusion.csv``; ``summary.json`` with every measure of the whole and
        of each class with its interval, the definitions and the calibration; and ``metrics.csv`` with what was said
        of each case and class.

        Args:
            folder: made when needed.
            about: facts for the JSON, such as the split.
        """
        return write_classification(self, given_path(folder), about or {})

    def text(self) -> str:
        """The summary as a table for people: measures with their intervals, classes, and the confusion matrix."""
        return classification_text(self)
