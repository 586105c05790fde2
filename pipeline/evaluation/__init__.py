"""Scores of cases, and what they say together."""

from pipeline.evaluation.bootstrap import bootstrap_interval
from pipeline.evaluation.classes import ClassificationTable
from pipeline.evaluation.scores import ScoreTable, report_scores

__all__ = ["ClassificationTable", "ScoreTable", "bootstrap_interval", "report_scores"]
