"""Scores of cases, and what they say together."""

from pipeline.evaluation.scores import ScoreTable, report_scores

__all__ = ["ScoreTable", "report_scores"]
