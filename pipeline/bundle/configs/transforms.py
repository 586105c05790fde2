"""The transform lists of a bundle, as literal config, from its plan."""

from __future__ import annotations

import math

from pipeline.bundle.configs.parts import Config
from pipeline.planning import Plan

__all__ = ["augmentation", "checks", "geometry", "intensities", "loading"]

# MONAI's default axis codes, spelled out: the default depends on the image's metadata.
_AXIS_CODES = [["L", "R"], ["P", "A"], ["I", "S"]]


def loading(keys: list[str], *, reader: Config | str = "pipeline.transforms.CaseReader") -> Config:
    """Load each key with medpipe's reader, channel first."""
    return {"_target_": "LoadImaged", "keys": keys, "reader": reader, "ensure_channel_first": True}


def checks(plan: Plan, *, label: bool) -> list[Config]:
    """Refuse unusable images and, where there is one, labels."""
    image = {
        "_target_": "pipeline.transforms.CheckImaged",
        "keys": ["image"],
        "channels": len(plan.data.channels),
        "dimensions": plan.dimensions,
        "modality": plan.data.modality,
    }
    if not label:
        return [image]
    values = [0, *(one.value for one in plan.labels)]
    check = {"_target_": "pipeline.transforms.CheckLabeld", "keys": ["label"], "image_key": "image", "values": values}
    return [image, check]


def geometry(plan: Plan, keys: list[str]) -> list[Config]:
    """Bring each key to the plan's orientation and spacing; labels by nearest neighbour."""
    if plan.dimensions == 2:  # noqa: PLR2004 - pictures have neither orientation nor spacing
        return []
    steps: list[Config] = [
        {"_target_": "Orientationd", "keys": keys, "axcodes": plan.preprocessing.orientation, "labels": _AXIS_CODES}
    ]
    if plan.preprocessing.spacing_mm is not None:
        steps.append(
            {
                "_target_": "Spacingd",
                "keys": keys,
                "pixdim": list(plan.preprocessing.spacing_mm),
                "mode": ["nearest" if key == "label" else "bilinear" for key in keys],
            }
        )
    return steps


def intensities(plan: Plan) -> list[Config]:
    """The plan's intensity normalisation."""
    rule = plan.preprocessing.normalization
    if rule.kind == "ct_window":
        low, high = rule.center_hu - rule.width_hu / 2, rule.center_hu + rule.width_hu / 2
        return [_scale(low, high)]
    if rule.kind == "percentile":
        return [_percentiles(rule.lower, rule.upper)]
    if rule.kind == "zscore":
        foreground = rule.region == "foreground"
        clip = [] if rule.clip_percentiles is None else [_percentiles(*rule.clip_percentiles, rescale=not foreground)]
        return [*clip, {"_target_": "NormalizeIntensityd", "keys": ["image"], "nonzero": foreground,
                        "channel_wise": True}]  # fmt: skip
    clip = [] if rule.clip is None else [{"_target_": "ThresholdIntensityd", "keys": ["image"], "threshold": bound,
                                          "above": above, "cval": bound}
                                         for bound, above in zip(rule.clip, (True, False), strict=True)]  # fmt: skip
    return [*clip, {"_target_": "NormalizeIntensityd", "keys": ["image"], "subtrahend": rule.mean,
                    "divisor": rule.deviation}]  # fmt: skip


def augmentation(plan: Plan) -> list[Config]:
    """Random crops to the window and the plan's random changes, in this order: geometry first, then intensities."""
    both = ["image", "label"]
    changes = plan.training.augmentation
    steps = [_crop(plan)]
    steps += [
        {"_target_": "RandFlipd", "keys": both, "prob": 0.5, "spatial_axis": axis} for axis in changes.mirror_axes
    ]
    bend: Config = {"keys": both, "mode": ["bilinear", "nearest"], "padding_mode": "zeros"}
    if changes.elastic_probability > 0:
        steps.append({"_target_": f"Rand{plan.dimensions}DElasticd", "prob": changes.elastic_probability,
                      "sigma_range": list(changes.elastic_sigma_voxels),
                      "magnitude_range": list(changes.elastic_voxels), **bend})  # fmt: skip
    if changes.affine_probability > 0:
        angle = round(math.radians(changes.rotation_degrees), 6)
        steps.append({"_target_": "RandAffined", "prob": changes.affine_probability,
                      "rotate_range": [angle] * (3 if plan.dimensions == 3 else 1),  # noqa: PLR2004
                      "scale_range": [changes.scaling] * plan.dimensions,
                      "translate_range": [changes.translation_voxels] * plan.dimensions, **bend})  # fmt: skip
    return [*steps, *_intensity_changes(plan)]


def _crop(plan: Plan) -> Config:
    window = list(plan.preprocessing.window)
    training = plan.training
    if training.foreground_fraction is not None:
        return {"_target_": "RandCropByPosNegLabeld", "keys": ["image", "label"], "label_key": "label",
                "spatial_size": window, "pos": training.foreground_fraction, "neg": 1 - training.foreground_fraction,
                "num_samples": training.samples_per_case}  # fmt: skip
    return {"_target_": "RandSpatialCropSamplesd", "keys": ["image", "label"], "roi_size": window,
            "num_samples": training.samples_per_case, "random_size": False}  # fmt: skip


def _intensity_changes(plan: Plan) -> list[Config]:
    changes = plan.training.augmentation
    sigmas = {f"sigma_{axis}": list(changes.blur_sigma_voxels) for axis in "xyz"[: plan.dimensions]}
    table: list[tuple[str, float, Config]] = [
        ("RandGaussianNoised", changes.noise_probability, {"mean": 0.0, "std": changes.noise_std}),
        ("RandGaussianSmoothd", changes.blur_probability, sigmas),
        ("RandScaleIntensityd", changes.brightness_probability, {"factors": changes.brightness}),
        ("RandShiftIntensityd", changes.shift_probability, {"offsets": changes.shift}),
        ("RandAdjustContrastd", changes.gamma_probability, {"gamma": list(changes.gamma), "retain_stats": True}),
        (
            "RandSimulateLowResolutiond",
            changes.low_resolution_probability,
            {"zoom_range": list(changes.low_resolution_zoom)},
        ),
    ]
    return [{"_target_": name, "keys": ["image"], "prob": prob, **rest} for name, prob, rest in table if prob > 0]


def _scale(low: float, high: float) -> Config:
    return {"_target_": "ScaleIntensityRanged", "keys": ["image"], "a_min": low, "a_max": high, "b_min": 0.0,
            "b_max": 1.0, "clip": True}  # fmt: skip


def _percentiles(lower: float, upper: float, *, rescale: bool = True) -> Config:
    if not rescale:  # the background keeps its 0
        return {"_target_": "ClipIntensityPercentilesd", "keys": ["image"], "lower": lower, "upper": upper,
                "channel_wise": True}  # fmt: skip
    return {"_target_": "ScaleIntensityRangePercentilesd", "keys": ["image"], "lower": lower, "upper": upper,
            "b_min": 0.0, "b_max": 1.0, "clip": True, "channel_wise": True}  # fmt: skip
