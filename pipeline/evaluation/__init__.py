"""Scores of cases, and what they say together."""

from pipeline.evaluation.bootstrap import bootstrap_interval, mean_intervals
from pipeline.evaluation.classification import ClassificationTable
from pipeline.evaluation.measure_table import MeasureTable, read_measures
from pipeline.evaluation.provenance import provenance
from pipeline.evaluation.quality_table import QualityTable
from pipeline.evaluation.score_table import ScoreTable, report_scores

__all__ = [
    "ClassificationTable",
    "MeasureTable",
    "QualityTable",
    "ScoreTable",
    "bootstrap_interval",
    "mean_intervals",
    "provenance",
    "read_measures",
    "report_scores",
]
