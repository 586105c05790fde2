"""The page of a classification."""

from pipeline.reports.html.classification.report import report_classes

__all__ = ["report_classes"]
