"""The methods section of an evaluation, ready to paste."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.reports.html.citing import EFRON, bundle_text, cited, counted, joined, software_text
from pipeline.reports.html.wording import heading

__all__ = ["methods_text"]

_PACKAGES = ("monai", "torch", "numpy", "scipy", "connected-components-3d")
_REFERENCES = {
    "dice": "Dice LR. Measures of the amount of ecologic association between species. Ecology 26(3):297-302, 1945. "
    "doi:10.2307/1932409",
    "metrics": "Maier-Hein L, Reinke A, Godau P, et al. Metrics reloaded: recommendations for image analysis "
    "validation. Nature Methods 21(2):195-212, 2024. doi:10.1038/s41592-023-02151-z",
    "nikolov": "Nikolov S, Blackwell S, Zverovitch A, et al. Clinically applicable segmentation of head and neck "
    "anatomy for radiotherapy: deep learning algorithm development and validation study. Journal of Medical Internet "
    "Research 23(7):e26151, 2021. doi:10.2196/26151",
    **EFRON,
}
_SURFACES = {
    "voxel": "The surface of a label is the set of its voxels that have a face neighbour outside of it (in 2D an edge "
    "neighbour), each counted once, at its centre, as in MONAI; percentiles are interpolated linearly.",
    "element": "The surface of a label consists of the marching-cubes elements around the corners between its voxels "
    "and others, each weighted by its area (in 2D its length) [nikolov].",
}


def methods_text(summary: Mapping[str, Any]) -> str:
    """What was measured and how, in paragraphs with numbered references.

    Args:
        summary: the content of ``summary.json``.

    Returns:
        Plain text; an empty line between paragraphs.
    """
    parts = (_data, _overlap, _surfaces, _lesions, _empty, _statistics)
    paragraphs = [*(part(summary) for part in parts), software_text(summary, _PACKAGES)]
    return cited(paragraphs, _REFERENCES)


def _data(summary: Mapping[str, Any]) -> str:
    labels = list(summary.get("labels", {}).values())
    cases, patients = summary.get("cases", 0), summary.get("patients", 0)
    subset = summary.get("subset")
    text = f"Segmentations of {counted(cases, 'case')} of {counted(patients, 'patient')}"
    text += f" (subset: {subset})" if subset else ""
    text += f" were compared with the reference for {counted(len(labels), 'label')}: {joined(labels)}."
    text += bundle_text(summary)
    missing, unscored = len(summary.get("missing") or {}), len(summary.get("unscored") or {})
    if missing:
        text += (
            f" {counted(missing, 'case')} without a usable prediction counted with scores of 0 and infinite distances."
        )
    if unscored:
        text += f" {counted(unscored, 'case')} without a usable reference could not be scored."
    if summary.get("resampled"):
        text += " Predictions on another grid were resampled to the grid of their references by the nearest neighbour."
    return text


def _overlap(summary: Mapping[str, Any]) -> str:
    return (
        "With TP, FP and FN the numbers of voxels (in 2D pixels) of a label that are in both label maps, only in the "
        "prediction and only in the reference, the Dice similarity coefficient is 2 TP / (2 TP + FP + FN) [dice], "
        "the intersection over union TP / (TP + FP + FN), sensitivity TP / (TP + FN) and precision TP / (TP + FP). "
        f"The {_size(summary)} difference is prediction minus reference, also given in percent of the reference. "
        "All measures were computed on the grid of the reference, per case and label."
    )


def _surfaces(summary: Mapping[str, Any]) -> str:
    surface = str(summary.get("surface", ""))
    kind = "element" if surface.startswith("surface elements") else "voxel"
    return (
        f"{_SURFACES[kind]} The Hausdorff distance (HD) is the largest distance from either surface to the other, HD95 "
        "the larger of the two directed 95th percentiles, and the average symmetric surface distance (ASSD) the mean "
        "of the distances from both surfaces. The normalised surface Dice (NSD) is the share of both surfaces that "
        f"lies within a tolerance of the other [nikolov], {_tolerances(summary)}. The centroid distance is that "
        f"between the centres of mass. Distances are Euclidean and exact, {_measured(summary)}."
    )


def _lesions(summary: Mapping[str, Any]) -> str:
    if not any("lesion" in column for column in summary.get("definitions", {})):
        return ""
    return (
        "Lesions are connected components of a label (26-connectivity; in 2D 8-connectivity). A lesion of the "
        "reference counts as detected where it shares at least one voxel with a lesion of the prediction; a lesion of "
        "the prediction that shares none with the reference is a false positive. Lesion sensitivity is the share of "
        "detected lesions. The lesion Dice is the mean over all lesions of the reference of their Dice with the union "
        "of the predicted lesions that touch them (0 where there are none), and over the false positives with 0 each."
    )


def _empty(_: Mapping[str, Any]) -> str:
    return (
        "Where a label was absent from both maps, Dice, IoU, NSD and lesion Dice are 1, the relative size difference "
        "is 0 % and the other measures undefined; where it was absent from one, these scores are 0 and distances "
        "infinite: overlap as in the code of Metrics Reloaded [metrics], distances as in MONAI. Means, standard "
        "deviations, medians and intervals are those of the finite values; infinite and undefined values are counted "
        "and reported beside them, never dropped silently."
    )


def _statistics(summary: Mapping[str, Any]) -> str:
    drawn = summary.get("bootstrap") or {}
    level = f"{100 * float(drawn.get('level', 0.95)):g}"
    return (
        f"Means are given with {level} % bias-corrected and accelerated (BCa) bootstrap confidence intervals [efron] "
        f"from {drawn.get('resamples', 2000)} resamples of patients, not of cases or slices (seed "
        f"{drawn.get('seed', 0)}). Where the correction cannot be computed the percentile interval is given, and none "
        "for fewer than two patients."
    )


def _tolerances(summary: Mapping[str, Any]) -> str:
    given = dict(summary.get("tolerance") or {})
    unit = "pixel" if _in_pixels(summary) else "mm"
    if len(set(given.values())) == 1:
        return f"here {next(iter(given.values())):g} {unit}"
    return "here " + joined([f"{value:g} {unit} for {name}" for name, value in given.items()])


def _in_pixels(summary: Mapping[str, Any]) -> bool:
    return any(column.endswith("_pixel") for column in summary.get("definitions", {}))


def _measured(summary: Mapping[str, Any]) -> str:
    return "in pixels" if _in_pixels(summary) else "in mm by the voxel spacing"


def _size(summary: Mapping[str, Any]) -> str:
    columns = [heading(column).title for column in summary.get("definitions", {})]
    return "area" if any(title.startswith("Area") for title in columns) else "volume"
