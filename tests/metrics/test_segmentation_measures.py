from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import scipy.ndimage
import surface_distance
import torch
from monai.metrics import (
    DiceMetric,
    HausdorffDistanceMetric,
    MeanIoU,
    SurfaceDiceMetric,
    SurfaceDistanceMetric,
)
from monai.metrics.utils import get_edge_surface_distance
from sklearn.metrics import precision_score, recall_score

from pipeline.errors import InputError
from pipeline.metrics import Measures, dice_per_label, measure

Maps = tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]


def noise(seed: int, shape: tuple[int, ...]) -> Maps:
    prediction, reference = np.random.default_rng(seed).integers(0, 3, (2, *shape)).astype(np.uint8)
    return prediction, reference


def blobs(seed: int, shape: tuple[int, ...]) -> Maps:
    """Smooth shapes of two labels that touch the border, and a prediction that is moved and has false positives."""
    generator = np.random.default_rng(seed)
    field = scipy.ndimage.gaussian_filter(generator.normal(size=shape), 3)
    other = field + 0.4 * scipy.ndimage.gaussian_filter(generator.normal(size=shape), 2)
    cuts = np.quantile(field, [0.7, 0.9])
    return np.digitize(np.roll(other, 1, axis=0), cuts).astype(np.uint8), np.digitize(field, cuts).astype(np.uint8)


def far_apart(seed: int, shape: tuple[int, ...]) -> Maps:
    """Two balls with a long way between them, more than the nearest neighbours of any surface element."""
    grid = np.indices(shape)
    prediction, reference = np.zeros((2, *shape), dtype=np.uint8)
    radius = min(shape) // 4
    for target, centre in ((prediction, radius), (reference, np.array(shape) - radius - 1)):
        centres = np.broadcast_to(centre, (len(shape),)).reshape(-1, *([1] * len(shape)))
        target[((grid - centres) ** 2).sum(axis=0) <= (radius - seed % 2) ** 2] = 1
    prediction[-1], reference[:, -1] = 2, 2  # sheets along the border
    return prediction, reference


def points(seed: int, shape: tuple[int, ...]) -> Maps:
    """Single voxels, some in the corners of the image."""
    prediction, reference = np.zeros((2, *shape), dtype=np.uint8)
    generator = np.random.default_rng(seed)
    prediction[tuple(generator.integers(0, shape))], reference[(0,) * len(shape)] = 1, 1
    prediction[(-1,) * len(shape)], reference[tuple(np.array(shape) // 2)] = 2, 2
    return prediction, reference


SHAPES_3D = [((20, 17, 23), (1.0, 1.0, 1.0)), ((24, 25, 12), (0.71, 0.83, 3.3)), ((9, 31, 30), (5.0, 0.4, 0.45))]
SHAPES_2D = [((41, 37), (1.0, 1.0)), ((60, 33), (0.31, 1.27))]
GRIDS = SHAPES_3D + SHAPES_2D
MAKERS = [noise, blobs, far_apart, points]
TOLERANCES = {1: 1.02, 2: 2.53}  # no distance of two grid points, where rounding would decide


def one_hot(values: npt.NDArray[np.uint8], classes: int = 3) -> torch.Tensor:
    return torch.nn.functional.one_hot(torch.as_tensor(values).long(), classes).movedim(-1, 0)[None]


def by_monai(prediction: npt.NDArray[np.uint8], reference: npt.NDArray[np.uint8], spacing: Any) -> dict[str, Any]:
    metrics = {
        "dice": DiceMetric(reduction="none", include_background=False, ignore_empty=False),
        "iou": MeanIoU(reduction="none", include_background=False, ignore_empty=False),
        "hausdorff_mm": HausdorffDistanceMetric(reduction="none"),
        "hausdorff95_mm": HausdorffDistanceMetric(reduction="none", percentile=95),
        "mean_surface_distance_mm": SurfaceDistanceMetric(reduction="none", symmetric=True),
        "nsd": SurfaceDiceMetric(list(TOLERANCES.values()), reduction="none"),
    }
    with_spacing = {"hausdorff_mm", "hausdorff95_mm", "mean_surface_distance_mm", "nsd"}
    pair = one_hot(prediction), one_hot(reference)
    return {
        name: metric(*pair, **({"spacing": spacing} if name in with_spacing else {})).numpy()[0]
        for name, metric in metrics.items()
    }


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize(("shape", "spacing"), GRIDS)
@pytest.mark.parametrize("seed", [0, 1])
def test_voxel_definition_agrees_with_monai(
    make: Callable[..., Maps], shape: tuple[int, ...], spacing: tuple[float, ...], seed: int
) -> None:
    prediction, reference = make(seed, shape)
    ours = measure(prediction, reference, labels=[1, 2], spacing_mm=spacing, tolerance_mm=TOLERANCES)
    for name, expected in by_monai(prediction, reference, spacing).items():
        tolerance = 1e-4 if name == "hausdorff95_mm" else 1e-6  # torch.quantile finds its rank in float32
        np.testing.assert_allclose([getattr(ours[k], name) for k in (1, 2)], expected, rtol=tolerance, err_msg=name)
    for k in (1, 2):
        masks = (torch.as_tensor(values == k) for values in (prediction, reference))
        _, distances, _ = get_edge_surface_distance(*masks, spacing=spacing, symmetric=True)
        expected = max(np.percentile(side.double(), 95) for side in distances)
        assert ours[k].hausdorff95_mm == pytest.approx(expected, rel=1e-6)


@pytest.mark.filterwarnings("ignore:.*namespace is deprecated:DeprecationWarning")
@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize(("shape", "spacing"), GRIDS)
@pytest.mark.parametrize("seed", [0, 1])
def test_surface_elements_agree_with_surface_distance(
    make: Callable[..., Maps], shape: tuple[int, ...], spacing: tuple[float, ...], seed: int
) -> None:
    prediction, reference = make(seed, shape)
    options: dict[str, Any] = {"spacing_mm": spacing, "tolerance_mm": TOLERANCES, "definition": "surface_element"}
    for label, ours in measure(prediction, reference, labels=[1, 2], **options).items():
        theirs = surface_distance.compute_surface_distances(reference == label, prediction == label, spacing)
        means = np.array(surface_distance.compute_average_surface_distance(theirs))
        areas = np.array([theirs["surfel_areas_gt"].sum(), theirs["surfel_areas_pred"].sum()])
        expected = [
            surface_distance.compute_robust_hausdorff(theirs, 100),
            surface_distance.compute_robust_hausdorff(theirs, 95),
            means @ areas / areas.sum(),
            surface_distance.compute_surface_dice_at_tolerance(theirs, TOLERANCES[label]),
        ]
        got = [ours.hausdorff_mm, ours.hausdorff95_mm, ours.mean_surface_distance_mm, ours.nsd]
        np.testing.assert_allclose(got, expected, rtol=1e-6)


@pytest.mark.parametrize("make", [noise, blobs])
@pytest.mark.parametrize(("shape", "spacing"), GRIDS)
def test_overlap_and_centres_agree_with_scikit_learn_and_scipy(
    make: Callable[..., Maps], shape: tuple[int, ...], spacing: tuple[float, ...]
) -> None:
    prediction, reference = make(3, shape)
    for label, ours in measure(prediction, reference, labels=[2, 1], spacing_mm=spacing).items():
        p, r = prediction == label, reference == label
        assert ours.sensitivity == pytest.approx(recall_score(r.ravel(), p.ravel()))
        assert ours.precision == pytest.approx(precision_score(r.ravel(), p.ravel()))
        assert ours.dice == dice_per_label(prediction, reference, [label])[0]
        centres = [np.array(scipy.ndimage.center_of_mass(mask)) for mask in (p, r)]
        assert ours.centroid_distance_mm == pytest.approx(np.linalg.norm((centres[0] - centres[1]) * spacing))
        assert (ours.prediction_voxels, ours.reference_voxels) == (p.sum(), r.sum())


def test_sizes_have_units() -> None:
    reference, prediction = np.zeros((2, 10, 10, 10), dtype=np.uint8)
    reference[:4, :5, :5], prediction[:5, :5, :5] = 7, 7
    ours = measure(prediction, reference, labels={7: "liver"}, spacing_mm=(0.5, 2.0, 3.0))[7]
    assert (ours.reference_size, ours.prediction_size, ours.size_unit) == pytest.approx((0.3, 0.375, "ml"))
    assert ours.size_difference == pytest.approx(0.075)
    assert ours.size_difference_percent == pytest.approx(25)
    flat = measure(reference[0], prediction[4], labels=[7], spacing_mm=(2.0, 3.0))[7]
    assert (flat.reference_size, flat.prediction_size, flat.size_unit) == (150, 150, "mm2")


NAN, INF = math.nan, math.inf
EMPTY = {  # which is empty: both, only the reference, only the prediction
    "dice": (1, 0, 0),
    "iou": (1, 0, 0),
    "nsd": (1, 0, 0),
    "lesion_dice": (1, 0, 0),
    "sensitivity": (NAN, NAN, 0),
    "precision": (NAN, 0, 0),
    "lesion_sensitivity": (NAN, NAN, 0),
    "reference_size": (0, 0, 0.008),
    "prediction_size": (0, 0.008, 0),
    "size_difference": (0, 0.008, -0.008),
    "size_difference_percent": (0, INF, -100),
    "hausdorff_mm": (NAN, INF, INF),
    "hausdorff95_mm": (NAN, INF, INF),
    "mean_surface_distance_mm": (NAN, INF, INF),
    "centroid_distance_mm": (NAN, INF, INF),
    "reference_voxels": (0, 0, 8),
    "prediction_voxels": (0, 8, 0),
    "reference_lesions": (0, 0, 1),
    "prediction_lesions": (0, 1, 0),
    "detected_lesions": (0, 0, 0),
    "false_positive_lesions": (0, 1, 0),
    "tolerance_mm": (1, 1, 1),
    "size_unit": ("ml", "ml", "ml"),
}


@pytest.mark.parametrize("definition", ["voxel", "surface_element"])
@pytest.mark.parametrize("others", [False, True])
@pytest.mark.parametrize("case", range(3))
def test_empty_masks(definition: Any, others: bool, case: int) -> None:
    cube = np.zeros((6, 6, 6), dtype=np.int16)
    cube[2:4, 2:4, 2:4] = 3
    nothing = np.zeros_like(cube)
    prediction, reference = [(nothing, nothing), (cube, nothing), (nothing, cube)][case]
    if others:  # which must not be taken for the label
        prediction, reference = (np.where(values == 0, 9, values) for values in (prediction, reference))
    ours = measure(prediction, reference, labels=[3], spacing_mm=(1, 1, 1), definition=definition)[3]
    assert {field.name for field in dataclasses.fields(Measures)} == set(EMPTY)
    for name, expected in EMPTY.items():
        assert getattr(ours, name) == pytest.approx(expected[case], nan_ok=True), name


@pytest.mark.filterwarnings("ignore:the (prediction|ground truth) of class:UserWarning")
@pytest.mark.parametrize("case", range(3))
def test_empty_masks_have_the_distances_of_monai(case: int) -> None:
    filled = np.zeros((6, 6, 6), dtype=np.uint8)
    filled[2:4] = 1
    nothing = np.zeros_like(filled)
    theirs = by_monai(*[(nothing, nothing), (filled, nothing), (nothing, filled)][case], (1, 1, 1))
    for name in ("hausdorff_mm", "mean_surface_distance_mm"):  # its 95th percentile of infinite values is NaN
        assert theirs[name][0] == pytest.approx(EMPTY[name][case], nan_ok=True), name


def test_absent_labels_are_kept_in_order() -> None:
    ours = measure(np.ones((4, 4)), np.ones((4, 4)), labels={5: "a", 1: "b", 300: "c"}, spacing_mm=(1, 1))
    assert list(ours) == [5, 1, 300]
    assert [ours[k].reference_voxels for k in ours] == [0, 16, 0]


@pytest.mark.parametrize(
    "dtype", [np.uint8, np.int8, np.uint16, ">i2", np.int32, np.int64, np.uint64, np.float32, np.float64]
)
def test_any_type_and_memory_order_gives_the_same(dtype: npt.DTypeLike) -> None:
    prediction, reference = blobs(0, (15, 16, 17))
    options: dict[str, Any] = {"labels": [1, 2], "spacing_mm": (1, 2, 3)}
    expected = measure(prediction, reference, **options)
    assert measure(np.asfortranarray(prediction.astype(dtype)), reference.astype(dtype), **options) == expected


@pytest.mark.parametrize(("values", "dtype"), [((-7, 100), np.int8), ((-40000, 2**40), np.int64), ((1, 70000), "<u4")])
def test_any_label_value(values: tuple[int, int], dtype: npt.DTypeLike) -> None:
    prediction, reference = blobs(0, (15, 16, 17))
    names = np.array([0, *values], dtype=dtype)
    plain = measure(prediction, reference, labels=[1, 2], spacing_mm=(1, 2, 3))
    ours = measure(names[prediction], names[reference], labels=values, spacing_mm=(1, 2, 3))
    assert [ours[k] for k in values] == [plain[k] for k in (1, 2)]


def test_background_can_be_measured() -> None:
    prediction, reference = blobs(0, (15, 16, 17))
    ours = measure(prediction, reference, labels=[0], spacing_mm=(1, 2, 3))[0]
    swapped = measure(prediction == 0, reference == 0, labels=[1], spacing_mm=(1, 2, 3))[1]
    assert ours == swapped
    assert ours.reference_voxels == (reference == 0).sum()


@pytest.mark.parametrize("definition", ["voxel", "surface_element"])
def test_a_distance_that_equals_the_tolerance_is_within_it(definition: Any) -> None:
    prediction, reference = np.zeros((2, 30, 9), dtype=np.uint8)
    prediction[3:27, :], reference[6:27, :] = 1, 1
    for spacing in (0.1, 0.3, 0.7, 1.1):
        options: dict[str, Any] = {"labels": [1], "spacing_mm": (spacing, spacing), "definition": definition}
        within = measure(prediction, reference, tolerance_mm=3 * spacing, **options)[1]
        below = measure(prediction, reference, tolerance_mm=2.99 * spacing, **options)[1]
        assert within.nsd == 1 > below.nsd


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prediction": np.zeros((4, 5))}, "differ in shape"),
        ({"prediction": np.full((4, 4), 0.5)}, "whole numbers, got 0.5"),
        ({"reference": np.full((4, 4), np.nan)}, "whole numbers, got nan"),
        ({"reference": np.full((4, 4), np.inf)}, "whole numbers, got inf"),
        ({"reference": np.full((4, 4), "a")}, "expected integers"),
        ({"prediction": np.zeros((4,)), "reference": np.zeros((4,))}, "2 or 3 dimensions"),
        ({"prediction": np.zeros((0, 4)), "reference": np.zeros((0, 4))}, "none of size 0"),
        ({"spacing_mm": (1, -1)}, "2 numbers above 0"),
        ({"spacing_mm": (1, 0)}, "2 numbers above 0"),
        ({"spacing_mm": (1, math.nan)}, "2 numbers above 0"),
        ({"spacing_mm": (1, 1, 1)}, "2 numbers above 0"),
        ({"labels": []}, "at least one"),
        ({"labels": [1, 1]}, "each once"),
        ({"labels": [1.5]}, "integers"),
        ({"tolerance_mm": -1}, "0 or more"),
        ({"tolerance_mm": {2: 1.0}}, "every label"),
        ({"definition": "edge"}, "definition is unknown"),
    ],
)
def test_refuses_what_cannot_be_measured_in_one_line(change: dict[str, Any], message: str) -> None:
    options: dict[str, Any] = {"labels": [1], "spacing_mm": (1, 1)}
    options |= {"prediction": np.zeros((4, 4)), "reference": np.zeros((4, 4))} | change
    with pytest.raises(InputError, match=message) as caught:
        measure(options.pop("prediction"), options.pop("reference"), **options)
    assert "\n" not in str(caught.value)
