"""Ignite handlers and the evaluator that bundle configs name."""

from pipeline.handlers.batch_norm import BatchNormStatistics
from pipeline.handlers.case_evaluator import CaseEvaluator
from pipeline.handlers.checkpoint import BestCheckpoint, ResumableState
from pipeline.handlers.curves import TrainingCurves
from pipeline.handlers.progress import CaseProgress, TrainingProgress
from pipeline.handlers.quality import PredictQuality
from pipeline.handlers.roc_auc import RocAuc
from pipeline.handlers.schedule import BudgetSchedule, EarlyStopping, FinalValidationHandler, GradientClipping
from pipeline.handlers.scoring import ScoreCases, ScoreClasses
from pipeline.handlers.seeding import EpochSeed
from pipeline.handlers.shared import Shared
from pipeline.handlers.training_set import CheckTrainingSet
from pipeline.handlers.weights import LoadWeights

__all__ = [
    "BatchNormStatistics",
    "BestCheckpoint",
    "BudgetSchedule",
    "CaseEvaluator",
    "CaseProgress",
    "CheckTrainingSet",
    "EarlyStopping",
    "EpochSeed",
    "FinalValidationHandler",
    "GradientClipping",
    "LoadWeights",
    "PredictQuality",
    "ResumableState",
    "RocAuc",
    "ScoreCases",
    "ScoreClasses",
    "Shared",
    "TrainingCurves",
    "TrainingProgress",
]
