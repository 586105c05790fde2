"""``summary.json`` and ``metrics.csv`` of a classification: every measure with its interval, every case and class."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pipeline.evaluation.bootstrap import LEVEL, RESAMPLES, SEED, bootstrap_interval, mean_intervals
from pipeline.evaluation.classification.curves import class_bins, positive_classes
from pipeline.evaluation.measure_table import MeasureTable
from pipeline.evaluation.tables import write_json
from pipeline.metrics import roc_auc_of_ranks
from pipeline.metrics.calibration import CalibrationBins
from pipeline.metrics.thresholds import average_precision_of_ranks

if TYPE_CHECKING:
    from pipeline.evaluation.classification.measures import JudgedCases
    from pipeline.evaluation.classification.scores import ClassScores

__all__ = ["CLASS_DEFINITIONS", "class_measures", "overall_measures", "write_class_summary"]

FORMAT_VERSION = 1
CLASS_DEFINITIONS = {
    "accuracy": "share of cases whose predicted class is the reference",
    "exact_match": "share of cases that are right in every class",
    "balanced_accuracy": "mean of the classes' sensitivities; with several classes per case of (sensitivity + "
    "specificity) / 2",
    "f1_macro": "unweighted mean of the classes' F1",
    "roc_auc_macro": "unweighted mean of the classes' ROC AUC, each against the rest",
    "expected_calibration_error": "mean gap between confidence and accuracy of the decisions, in 15 bins of equal "
    "width",
    "brier": "mean squared difference of probability and truth (0 or 1); of the whole, summed over exclusive classes "
    "(0 to 2; of two classes that of the second, 0 to 1)",
    "roc_auc": "area under the ROC curve of the class against the rest, ties counting one half",
    "average_precision": "sum over the distinct probabilities of precision times the gain in recall",
    "sensitivity": "TP / (TP + FN) of the decisions",
    "specificity": "TN / (TN + FP) of the decisions; a case without a prediction counts as wrong",
    "precision": "TP / (TP + FP) of the decisions (positive predictive value)",
    "negative_predictive_value": "TN / (TN + FN) of the decisions that were made",
    "f1": "2 TP / (2 TP + FP + FN)",
    "calibration_error": "mean gap between probability and observed frequency, in bins of equal count",
}
_CONVENTIONS = {
    "no prediction": "counts as wrong; in ROC and precision-recall ranks below all cases where it is of the class, "
    "above all where it is not; left out of calibration, Brier score and predictive values",
    "class absent from the references": "sensitivity, ROC AUC and average precision undefined",
    "undefined measures": "null, and left out of means over classes",
}

_Floats = npt.NDArray[np.float64]


def overall_measures(table: ClassScores) -> dict[str, dict[str, float]]:
    """The measures of the whole set: those of :meth:`ClassScores.summary`, and the Brier score.

    Returns:
        ``value``, ``low`` and ``high`` by measure; empty without references.
    """
    judged = table.judged()
    if judged is None:
        return {}
    found = {name: dict(row) for name, row in table.summary().items() if name != "classes"}
    squared = (judged.probabilities - judged.truth) ** 2
    squared = squared[:, positive_classes(table)]
    scores = squared.mean(axis=1) if table.multi_label else squared.sum(axis=1)  # Brier 1950
    return {**found, "brier": _means({"brier": np.where(judged.made, scores, np.nan)}, _patients(table))["brier"]}


def class_measures(table: ClassScores) -> dict[str, dict[str, dict[str, float]]]:
    """The measures of each class against the rest, with 95 % BCa bootstrap intervals over patients.

    Returns:
        For each of :func:`positive_classes`, ``value``, ``low`` and ``high`` by measure; NaN where undefined. Empty
        without references.
    """
    judged = table.judged()
    if judged is None:
        return {}
    patients = _patients(table)
    return {table.classes[k]: _measures(judged, k, patients) for k in positive_classes(table)}


def write_class_summary(table: ClassScores, root: Path, about: Mapping[str, Any]) -> list[Path]:
    """Write ``summary.json`` and ``metrics.csv``, a row per case and class."""
    return [write_json(root / "summary.json", _content(table, about)), _case_measures(table).write(root, about)]


def _patients(table: ClassScores) -> list[str]:
    return [table.cases[name].patient or name for name in table.judged_names()]


def _measures(judged: JudgedCases, k: int, patients: list[str]) -> dict[str, dict[str, float]]:
    truth, decided, made = judged.truth[:, k], judged.decisions[:, k], judged.made
    ranks = np.unique(judged.scores[:, k], return_inverse=True)[1]
    drawn: dict[str, Callable[[npt.NDArray[np.int64]], float]] = {
        "roc_auc": lambda cases: roc_auc_of_ranks(ranks[cases], truth[cases]),
        "average_precision": lambda cases: average_precision_of_ranks(ranks[cases], truth[cases]),
        "f1": lambda cases: _f1(truth[cases], decided[cases]),
    }
    everything = np.arange(len(truth))
    found = {}
    for name, function in drawn.items():
        low, high = bootstrap_interval(function, patients)
        found[name] = {"value": function(everything), "low": low, "high": high}
    columns = {
        "sensitivity": np.where(truth, decided, np.nan),
        "specificity": np.where(~truth, made & ~decided, np.nan),
        "precision": np.where(decided, truth, np.nan),
        "negative_predictive_value": np.where(made & ~decided, ~truth, np.nan),
        "brier": np.where(made, (judged.probabilities[:, k] - truth) ** 2, np.nan),
    }
    found |= _means(columns, patients)
    return {name: found[name] for name in ("roc_auc", "average_precision", *list(columns)[:4], "f1", "brier")}


def _f1(truth: npt.NDArray[np.bool_], decided: npt.NDArray[np.bool_]) -> float:
    whole = int(truth.sum() + decided.sum())
    return 2 * int((truth & decided).sum()) / whole if whole else float("nan")


def _means(columns: Mapping[str, _Floats], patients: list[str]) -> dict[str, dict[str, float]]:
    """The means of columns with undefined values, and their intervals over the patients that have a value."""
    values = np.stack([column.astype(np.float64) for column in columns.values()], axis=1)
    low, high = mean_intervals(values, patients)
    known = ~np.isnan(values)
    counts = known.sum(axis=0)
    means = np.where(known, values, 0).sum(axis=0) / np.where(counts > 0, counts, np.nan)
    rows = zip(means, low, high, strict=True)
    return {name: {"value": float(m), "low": float(a), "high": float(b)}
            for name, (m, a, b) in zip(columns, rows, strict=True)}  # fmt: skip


def _content(table: ClassScores, about: Mapping[str, Any]) -> dict[str, Any]:
    judged, counts = table.judged(), table.counts()
    overall, classes = overall_measures(table), class_measures(table)
    used = {*overall, *(name for row in classes.values() for name in row), "calibration_error"}
    return {
        "format_version": FORMAT_VERSION,
        "task": "classification",
        **about,
        **counts,
        "classes": _truths(table),
        "multi_label": table.multi_label,
        "threshold": table.threshold if table.multi_label else None,
        "bootstrap": {"method": "BCa", "level": LEVEL, "resamples": RESAMPLES, "seed": SEED, "drawn": "patients"},
        "definitions": {name: words for name, words in CLASS_DEFINITIONS.items() if name in used},
        "conventions": _CONVENTIONS,
        "missing": table.missing(),
        "summary": {"overall": overall, "classes": classes},
        "confusion": judged.confusion().tolist() if judged else [],
        "calibration": {name or "decisions": _bins(bins) for name, bins in class_bins(table).items()},
    }


def _truths(table: ClassScores) -> dict[str, int]:
    """How many judged cases have each class."""
    judged = table.judged()
    return {} if judged is None else dict(zip(table.classes, judged.truth.sum(axis=0, dtype=int).tolist(), strict=True))


def _bins(bins: CalibrationBins) -> dict[str, Any]:
    return {
        "calibration_error": bins.error,
        "counts": bins.counts.tolist(),
        "hits": bins.hits.tolist(),
        "mean_probability": bins.means.tolist(),
    }


def _case_measures(table: ClassScores) -> MeasureTable:
    """What was said of each case and class; NaN where there is no prediction."""
    names, judged = table.judged_names(), table.judged()
    if judged is None:
        return MeasureTable(cases=(), patients=(), labels=table.classes, values={})
    made = judged.made[:, None]
    values = {
        "reference": judged.truth,
        "predicted": np.where(made, judged.decisions, np.nan),
        "probability": np.where(made, judged.probabilities, np.nan),
        "correct": made & (judged.truth == judged.decisions),
        "squared_error": np.where(made, (judged.probabilities - judged.truth) ** 2, np.nan),
    }
    missing = {name: f"no prediction: {reason}" for name, reason in table.missing().items() if name in names}
    return MeasureTable(
        cases=tuple(names),
        patients=tuple(_patients(table)),
        labels=table.classes,
        values={name: one.astype(np.float64) for name, one in values.items()},
        notes=missing,
    )
