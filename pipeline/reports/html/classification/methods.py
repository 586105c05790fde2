"""The methods section of a classification's evaluation, ready to paste."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.reports.html.citing import EFRON, bundle_text, cited, counted, joined, software_text

__all__ = ["class_methods_text"]

_PACKAGES = ("monai", "torch", "numpy", "scipy")
_REFERENCES = {
    "hanley": "Hanley JA, McNeil BJ. The meaning and use of the area under a receiver operating characteristic (ROC) "
    "curve. Radiology 143(1):29-36, 1982. doi:10.1148/radiology.143.1.7063747",
    "fawcett": "Fawcett T. An introduction to ROC analysis. Pattern Recognition Letters 27(8):861-874, 2006. "
    "doi:10.1016/j.patrec.2005.10.010",
    "davis": "Davis J, Goadrich M. The relationship between precision-recall and ROC curves. ICML 2006:233-240. "
    "doi:10.1145/1143844.1143874",
    "guo": "Guo C, Pleiss G, Sun Y, Weinberger KQ. On calibration of modern neural networks. ICML 2017, PMLR "
    "70:1321-1330.",
    "brier": "Brier GW. Verification of forecasts expressed in terms of probability. Monthly Weather Review "
    "78(1):1-3, 1950.",
    "wilson": "Wilson EB. Probable inference, the law of succession, and statistical inference. Journal of the "
    "American Statistical Association 22(158):209-212, 1927. doi:10.1080/01621459.1927.10502953",
    "gradcam": "Selvaraju RR, Cogswell M, Das A, Vedantam R, Parikh D, Batra D. Grad-CAM: visual explanations from "
    "deep networks via gradient-based localization. ICCV 2017:618-626. doi:10.1109/ICCV.2017.74",
    **EFRON,
}


def class_methods_text(summary: Mapping[str, Any], *, maps: bool) -> str:
    """What was measured and how, in paragraphs with numbered references.

    Args:
        summary: the content of ``summary.json``.
        maps: whether Grad-CAM maps are shown.

    Returns:
        Plain text; an empty line between paragraphs.
    """
    parts = (_data, _decisions, _curves, _calibration, _statistics)
    return cited(
        [*(part(summary) for part in parts), _maps(shown=maps), software_text(summary, _PACKAGES)], _REFERENCES
    )


def _data(summary: Mapping[str, Any]) -> str:
    subset = summary.get("subset")
    classes = [f"{name} ({count})" for name, count in summary["classes"].items()]
    text = f"Classifications of {counted(summary['with_reference'], 'case')} with a reference"
    text += f" (subset: {subset})" if subset else ""
    text += f" were compared with it; {counted(summary['patients'], 'patient')}. Cases by class: {joined(classes)}."
    text += bundle_text(summary)
    missing = len(summary.get("missing") or {})
    if missing:
        text += (
            f" {counted(missing, 'case')} without a prediction counted as wrong, in ROC and precision-recall curves "
            "below all others for their own class and above them for the rest, and not in calibration, Brier score and "
            "predictive values."
        )
    return text


def _decisions(summary: Mapping[str, Any]) -> str:
    if summary["multi_label"]:
        text = f"A case may be of several classes; those of a probability of at least {summary['threshold']:g} were "
        text += "taken as predicted. Exact match is the share of cases that are right in every class, and balanced "
        text += "accuracy the mean over classes of (sensitivity + specificity) / 2."
    elif len(summary["classes"]) == 2:  # noqa: PLR2004 - a binary classification
        negative, positive = summary["classes"]
        text = "The more probable class was taken as predicted, which is a threshold of 0.5 on the probability of "
        text += f"{positive}, the positive class against {negative}. Accuracy is the share of right decisions, and "
        text += "balanced accuracy the mean of sensitivity and specificity."
    else:
        text = "The most probable class was taken as predicted. Accuracy is the share of right decisions, and balanced "
        text += "accuracy the mean of the classes' sensitivities. Each class was also looked at against the rest."
    return (
        f"{text} With TP, FP, TN and FN the numbers of true and false positive and negative cases of a class, "
        "sensitivity (recall) is TP / (TP + FN), specificity TN / (TN + FP), precision (positive predictive value) "
        "TP / (TP + FP), negative predictive value TN / (TN + FN) and F1 2 TP / (2 TP + FP + FN). Means over classes "
        "are unweighted, over the classes for which a measure is defined."
    )


def _curves(_: Mapping[str, Any]) -> str:
    return (
        "The area under the ROC curve is the share of pairs of a positive and a negative case in which the positive "
        "one has the higher probability, ties counting one half [hanley]. Average precision is the sum over the "
        "distinct probabilities of precision times the gain in recall; the precision-recall curve is drawn in the "
        "same steps, because straight lines between its points would flatter [davis]. Shaded bands hold, at each of "
        "101 false positive rates (vertical averaging [fawcett]) or recalls, the middle 95 % of the curves of "
        "bootstrap resamples of patients; they are pointwise."
    )


def _calibration(summary: Mapping[str, Any]) -> str:
    two = len(summary["classes"]) == 2 and not summary["multi_label"]  # noqa: PLR2004 - a binary classification
    brier = "mean squared difference of probability and truth (0 or 1)"
    if two:
        brier += " of the positive class"
    elif summary["multi_label"]:
        brier += ", averaged over classes"
    else:
        brier += ", of the whole summed over classes"
    return (
        "Calibration curves show the observed frequency against the mean probability in at most 10 bins of equal "
        "count (cases of one probability share a bin), with 95 % Wilson intervals [wilson] that take cases as "
        "independent; the calibration error of a class is the mean over cases of the gap in these bins. The expected "
        "calibration error (ECE) is that between confidence and accuracy of the decisions, in 15 bins of equal width "
        f"[guo]. The Brier score is the {brier} [brier]."
    )


def _statistics(summary: Mapping[str, Any]) -> str:
    drawn = summary["bootstrap"]
    return (
        f"Intervals of measures are {100 * float(drawn['level']):g} % bias-corrected and accelerated (BCa) bootstrap "
        f"intervals [efron] from {drawn['resamples']} resamples of patients, not of cases (seed {drawn['seed']}); for "
        "proportions and the Brier score of the patients with a case that counts. Where the correction cannot be "
        "computed the percentile interval is given, and none for fewer than two patients. Where every case agrees the "
        "interval has no width, which does not mean certainty."
    )


def _maps(*, shown: bool) -> str:
    if not shown:
        return ""
    return (
        "Grad-CAM maps [gradcam] show what speaks for a class in the last layer of the network that gives a map, "
        "applied once in float32, scaled to a maximum of 1 in each case. They show where evidence was found, not that "
        "it is the right evidence."
    )
