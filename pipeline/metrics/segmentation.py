"""All measures of a segmented case, label by label."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt

from pipeline.errors import InputError
from pipeline.metrics.label_maps import IndexMap, checked_labels, checked_spacing, index_maps
from pipeline.metrics.lesions import LesionCounts, match_lesions
from pipeline.metrics.surfaces import Definition, SurfaceDistances, surface_distances

__all__ = ["Measures", "measure"]

_MM3_PER_ML = 1000.0
_VOLUME = 3  # dimensions


@dataclass(frozen=True)
class Measures:
    """How one label of a prediction agrees with the reference.

    "Empty" below means that no voxel has the label. Scores of overlap say 1 where both are empty, because it is right
    that nothing was found, and 0 where one is; distances are not defined where both are empty, and infinite where one
    is. Average them only over the cases where they are finite, and say how many were not; or compare ranks.

    ============================  ====  ==============  ===============
    what is empty                 both  only reference  only prediction
    ============================  ====  ==============  ===============
    dice, iou, nsd, lesion_dice   1     0               0
    sensitivity                   NaN   NaN             0
    precision                     NaN   0               0
    lesion_sensitivity            NaN   NaN             0
    size_difference_percent       0     infinite        -100
    the four distances            NaN   infinite        infinite
    ============================  ====  ==============  ===============

    Dice, sensitivity and precision are then as in the code of Metrics Reloaded (Maier-Hein et al. 2024), distances as
    in MONAI. Where both are empty Metrics Reloaded's code has 0 for distances, and MONAI has NaN for the NSD.

    Attributes:
        dice: Dice similarity coefficient, 2 TP / (2 TP + FP + FN).
        iou: intersection over union, TP / (TP + FP + FN).
        sensitivity: TP / (TP + FN), also called recall.
        precision: TP / (TP + FP), also called positive predictive value.
        reference_voxels: voxels (in 2D pixels) of the reference.
        prediction_voxels: voxels of the prediction.
        reference_size: volume in ml; in 2D the area in mm².
        prediction_size: in the same unit.
        size_difference: prediction - reference, in the same unit.
        size_difference_percent: that in percent of the reference.
        size_unit: "ml" or "mm2".
        hausdorff_mm: Hausdorff distance, the largest distance from either surface to the other.
        hausdorff95_mm: the larger of the two directed 95th percentiles of the distances.
        mean_surface_distance_mm: average symmetric surface distance: the mean over both surfaces.
        nsd: normalised surface Dice, the share of both surfaces within the tolerance of the other.
        tolerance_mm: the tolerance of ``nsd``.
        centroid_distance_mm: distance of the centres of mass.
        reference_lesions: connected components of the reference.
        prediction_lesions: connected components of the prediction.
        detected_lesions: lesions of the reference that share a voxel with a lesion of the prediction.
        false_positive_lesions: lesions of the prediction that share no voxel with a lesion of the reference.
        lesion_sensitivity: detected lesions / lesions of the reference.
        lesion_dice: mean Dice over lesions, a false positive counted as 0; see :func:`~pipeline.metrics.match_lesions`.
    """

    dice: float
    iou: float
    sensitivity: float
    precision: float
    reference_voxels: int
    prediction_voxels: int
    reference_size: float
    prediction_size: float
    size_difference: float
    size_difference_percent: float
    size_unit: Literal["ml", "mm2"]
    hausdorff_mm: float
    hausdorff95_mm: float
    mean_surface_distance_mm: float
    nsd: float
    tolerance_mm: float
    centroid_distance_mm: float
    reference_lesions: int
    prediction_lesions: int
    detected_lesions: int
    false_positive_lesions: int
    lesion_sensitivity: float
    lesion_dice: float


def measure(
    prediction: npt.ArrayLike,
    reference: npt.ArrayLike,
    *,
    labels: Mapping[int, str] | Sequence[int],
    spacing_mm: Sequence[float],
    tolerance_mm: float | Mapping[int, float] = 1.0,
    definition: Definition = "voxel",
) -> dict[int, Measures]:
    """Measure each label of a prediction against the reference.

    Bounding boxes, counts, components and surface distances are found once and shared by all measures. The masks are
    never widened to one channel per label.

    Args:
        prediction: label map of shape (X, Y) or (X, Y, Z), of integers, or of floats that are whole numbers.
        reference: label map of the same shape. What lies outside the maps is background.
        labels: the label values to measure, or a mapping from them (to their names). Others are background.
        spacing_mm: the distance of neighbouring voxels along each axis, in mm. With 1 for each axis of a picture
            without a known spacing, read pixels wherever mm is written.
        tolerance_mm: the tolerance of the NSD, one for all labels or one for each, 0 or more.
        definition: which surface the distances and the NSD are of. "voxel": the boundary voxels, as MONAI's
            ``HausdorffDistanceMetric``, ``SurfaceDistanceMetric(symmetric=True)`` and ``SurfaceDiceMetric``.
            "surface_element": elements weighted by their area, as in Nikolov et al. 2021 and the package
            surface-distance.

    Returns:
        The measures of each label value, in the order of ``labels``, of absent labels too; see :class:`Measures` for
        the values they have then.

    Raises:
        InputError: the maps differ in shape, are not 2D or 3D, or hold what is no whole number; labels, spacing or
            tolerance cannot be used.
    """
    if definition not in get_args(Definition):
        raise InputError("definition is unknown", expected=" or ".join(get_args(Definition)), got=definition)
    values = checked_labels(labels)
    tolerances = _tolerances(tolerance_mm, values)
    p, r = index_maps(prediction, reference, values)
    spacing = checked_spacing(spacing_mm, r.ndim)
    lesions = match_lesions(p, r, len(values))
    regions = _regions(p, len(values)), _regions(r, len(values))
    result = {}
    for k, (label, tolerance) in enumerate(zip(values, tolerances, strict=True)):
        in_p, in_r = regions[0][k], regions[1][k]
        box = _joint_box([in_p, in_r], r.ndim)
        mask_p, mask_r = p[box] == k + 1, r[box] == k + 1
        result[label] = Measures(
            **_overlap(in_p.voxels, in_r.voxels, int(np.count_nonzero(mask_p & mask_r))),
            **_sizes(in_p.voxels, in_r.voxels, spacing),
            **_distances(surface_distances(mask_p, mask_r, spacing, definition), tolerance),
            centroid_distance_mm=_centroid_distance(in_p, in_r, spacing),
            **_lesions(lesions, k),
        )
    return result


class _Region(NamedTuple):
    """Where a label is: its number of voxels, its bounding box (None without voxels) and its centre in voxels."""

    voxels: int
    box: tuple[slice, ...] | None
    centre: npt.NDArray[np.float64]


def _regions(values: IndexMap, count: int) -> list[_Region]:
    """The region of each label from 1 to ``count``."""
    import cc3d

    found = cc3d.statistics(values)
    columns = zip(found["voxel_counts"], found["bounding_boxes"], found["centroids"], strict=True)
    regions = [_Region(int(voxels), box if voxels else None, centre) for voxels, box, centre in columns][1:]
    absent = _Region(0, None, np.full(values.ndim, np.nan))
    return regions + [absent] * (count - len(regions))


def _joint_box(regions: Sequence[_Region], dimensions: int) -> tuple[slice, ...]:
    """The smallest box around regions; one element where they are empty."""
    boxes = [region.box for region in regions if region.box is not None] or [(slice(0, 1),) * dimensions]
    return tuple(slice(min(s.start for s in axis), max(s.stop for s in axis)) for axis in zip(*boxes, strict=True))


def _overlap(in_prediction: int, in_reference: int, in_both: int) -> dict[str, Any]:
    total, nan = in_prediction + in_reference, float("nan")
    return {
        "dice": 2 * in_both / total if total else 1.0,
        "iou": in_both / (total - in_both) if total else 1.0,
        "sensitivity": in_both / in_reference if in_reference else nan,
        "precision": in_both / in_prediction if in_prediction else (0.0 if in_reference else nan),
        "reference_voxels": in_reference,
        "prediction_voxels": in_prediction,
    }


def _sizes(in_prediction: int, in_reference: int, spacing: tuple[float, ...]) -> dict[str, Any]:
    solid = len(spacing) == _VOLUME
    voxel = math.prod(spacing) / (_MM3_PER_ML if solid else 1.0)
    difference = in_prediction - in_reference
    return {
        "reference_size": in_reference * voxel,
        "prediction_size": in_prediction * voxel,
        "size_difference": difference * voxel,
        "size_difference_percent": 100 * difference / in_reference
        if in_reference
        else (math.inf if difference else 0.0),
        "size_unit": "ml" if solid else "mm2",
    }


def _distances(distances: SurfaceDistances, tolerance: float) -> dict[str, Any]:
    nsd = distances.surface_dice(tolerance)
    return {
        "hausdorff_mm": distances.hausdorff(),
        "hausdorff95_mm": distances.hausdorff(95.0),
        "mean_surface_distance_mm": distances.mean(),
        "nsd": 1.0 if math.isnan(nsd) else nsd,
        "tolerance_mm": tolerance,
    }


def _centroid_distance(in_prediction: _Region, in_reference: _Region, spacing: tuple[float, ...]) -> float:
    if bool(in_prediction.voxels) != bool(in_reference.voxels):
        return math.inf
    return float(np.linalg.norm((in_prediction.centre - in_reference.centre) * spacing))


def _lesions(counts: LesionCounts, k: int) -> dict[str, Any]:
    reference, prediction, detected, wrong = (int(column[k]) for column in counts[:4])
    dice = float(counts.dice[k])
    return {
        "reference_lesions": reference,
        "prediction_lesions": prediction,
        "detected_lesions": detected,
        "false_positive_lesions": wrong,
        "lesion_sensitivity": detected / reference if reference else float("nan"),
        "lesion_dice": 1.0 if math.isnan(dice) else dice,
    }


def _tolerances(tolerance_mm: float | Mapping[int, float], labels: Sequence[int]) -> list[float]:
    try:
        given = [tolerance_mm[k] if isinstance(tolerance_mm, Mapping) else tolerance_mm for k in labels]
        values = [float(value) for value in given]
    except KeyError as error:
        raise InputError("tolerance is not given for every label", expected=labels, got=f"none for {error}") from None
    if not all(math.isfinite(value) and value >= 0 for value in values):
        raise InputError("tolerance cannot be used", expected="numbers of mm, 0 or more", got=values)
    return values
