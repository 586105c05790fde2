"""The transform lists of a bundle, as literal config, from its plan."""

from __future__ import annotations

import math

from pipeline.bundle.configs.parts import Config
from pipeline.bundle.literal import literal
from pipeline.planning import Plan
from pipeline.planning.normalization import Fixed, Normalization

__all__ = ["augmentation", "checks", "geometry", "in_place", "intensities", "loading"]

# MONAI's default axis codes, spelled out: the default depends on the image's metadata.
_AXIS_CODES = [["L", "R"], ["P", "A"], ["I", "S"]]
_READER = "pipeline.sources.CaseReader"
_UPSAMPLING: dict[int, Config] = {2: {"upsample_mode": "bilinear"}, 3: {}}  # MONAI's default is trilinear
_IMAGENET_MEAN, _IMAGENET_DEVIATION = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def loading(plan: Plan, *, label: bool, series: str | None = None, untilt: str | None = None) -> list[Config]:
    """Load the image and, where there is one, the label map with medbundle's reader, channel first."""
    given = {"series": series, "untilt": untilt}
    reader: Config = {"_target_": _READER, **{key: value for key, value in given.items() if value is not None}}
    label = label and not _outlines(plan)  # those wait for the grid of a sound image, see checks
    if plan.dimensions == 3:  # noqa: PLR2004
        if series is not None and plan.preprocessing.spacing_mm is not None:  # Spacingd makes float32 of any type
            return [{**_load(["image"], {**reader, "compact": True}), "dtype": None}]
        return [_load(["image", "label"] if label else ["image"], reader if len(reader) > 1 else _READER)]
    reader |= {"dimensions": 2, "channels": len(plan.data.channels)}
    masks = {"_target_": _READER, "dimensions": 2, "label": True, "colors": bool(_mask_colors(plan))}
    return [_load(["image"], reader), *([_load(["label"], masks)] if label else [])]


def _load(keys: list[str], reader: Config | str) -> Config:
    return {"_target_": "LoadImaged", "keys": keys, "reader": reader, "ensure_channel_first": True}


def _outlines(plan: Plan) -> list[Config]:
    """Load label maps, RTSTRUCT and SEG among them, where the plan has the names for it."""
    if not any(label.source_names for label in plan.labels):
        return []
    names = {str(label.value): literal(label.source_names or (label.name,)) for label in plan.labels}
    return [{"_target_": "pipeline.transforms.LoadLabeld", "keys": ["label"], "image_key": "image", "names": names}]


def _mask_colors(plan: Plan) -> dict[str, list[list[int]]]:
    return {
        str(label.value): [list(color) for color in label.mask_colors] for label in plan.labels if label.mask_colors
    }


def checks(plan: Plan, *, label: bool) -> list[Config]:
    """Refuse unusable images and, where there is one, label maps."""
    image = {
        "_target_": "pipeline.transforms.CheckImaged",
        "keys": ["image"],
        "channels": len(plan.data.channels),
        "dimensions": plan.dimensions,
        "modality": literal(plan.data.channels[0].modality or plan.data.modality),
    }
    if plan.task == "classification":  # a blank picture has a class where the data says so
        image["constant"] = "warn"
    if not label:
        return [image]
    values = [0, *(one.value for one in plan.labels)]
    check = {"_target_": "pipeline.transforms.CheckLabeld", "keys": ["label"], "image_key": "image", "values": values}
    if plan.dimensions == 3:  # noqa: PLR2004
        return [image, *_outlines(plan), check]
    decode = {"_target_": "pipeline.transforms.DecodeMaskd", "keys": ["label"], "values": values,
              "colors": _mask_colors(plan) or None}  # fmt: skip
    return [image, decode, check]


def geometry(plan: Plan, keys: list[str]) -> list[Config]:
    """Bring each key to the plan's orientation, spacing and size; labels by nearest neighbour."""
    rules, steps = plan.preprocessing, list[Config]()
    if plan.dimensions == 3:  # noqa: PLR2004 - pictures have neither orientation nor spacing
        steps.append({"_target_": "Orientationd", "keys": keys, "axcodes": rules.orientation, "labels": _AXIS_CODES})
    if rules.spacing_mm is not None:
        steps.append(
            {
                "_target_": "pipeline.transforms.Spacingd",
                "keys": keys,
                "pixdim": list(rules.spacing_mm),
                "mode": ["nearest" if key == "label" else "bilinear" for key in keys],
            }
        )
    if rules.median_radius is not None:
        steps.append({"_target_": "MedianSmoothd", "keys": ["image"], "radius": rules.median_radius})
    if rules.resize is not None:
        steps += _resize(list(rules.resize), keys, keep_aspect=rules.keep_aspect)
    if rules.center_crop is not None:
        steps.append({"_target_": "CenterSpatialCropd", "keys": keys, "roi_size": list(rules.center_crop)})
    return steps


def _resize(size: list[int], keys: list[str], *, keep_aspect: bool) -> list[Config]:
    linear = "trilinear" if len(size) == 3 else "bilinear"  # noqa: PLR2004
    resize: Config = {
        "_target_": "Resized",
        "keys": keys,
        "spatial_size": max(size) if keep_aspect else size,
        "size_mode": "longest" if keep_aspect else "all",
        # nearest-exact takes the voxel under the centre, as the linear modes do; nearest is half a voxel off.
        "mode": ["nearest-exact" if key == "label" else linear for key in keys],
        "anti_aliasing": [key != "label" for key in keys],
    }
    pad = {"_target_": "SpatialPadd", "keys": keys, "spatial_size": size}
    return [resize, pad] if keep_aspect else [resize]


def intensities(plan: Plan) -> list[Config]:
    """The plan's intensity normalisation, channel by channel where a case may lack one or one has its own."""
    rule, channels = plan.preprocessing.normalization, plan.data.channels
    if any(channel.optional or channel.normalization for channel in channels):
        own = [_normalization(channel.normalization or rule) for channel in channels]
        return [{"_target_": "pipeline.transforms.PerChanneld", "keys": ["image"], "transforms": own}]
    return _normalization(rule)


def _normalization(rule: Normalization) -> list[Config]:
    if rule.kind == "ct_window":
        low, high = rule.center_hu - rule.width_hu / 2, rule.center_hu + rule.width_hu / 2
        return [_scale(low, high)]
    if rule.kind == "percentile":
        return [_percentiles(rule.lower, rule.upper)]
    if rule.kind == "clahe":
        return [{"_target_": "pipeline.transforms.Clahed", "keys": ["image"], "clip_limit": rule.clip_limit,
                 "tiles": rule.tiles}]  # fmt: skip
    if rule.kind == "unit" or rule.kind == "imagenet":  # noqa: PLR1714 - mypy narrows no membership
        unit = {"_target_": "pipeline.transforms.UnitRanged", "keys": ["image"]}
        statistics = {"_target_": "NormalizeIntensityd", "keys": ["image"], "subtrahend": _IMAGENET_MEAN,
                      "divisor": _IMAGENET_DEVIATION, "channel_wise": True}  # fmt: skip
        return [unit, statistics] if rule.kind == "imagenet" else [unit]
    if rule.kind == "zscore":
        foreground = rule.region == "foreground"
        clip = [] if rule.clip_percentiles is None else [_percentiles(*rule.clip_percentiles, rescale=not foreground)]
        return [*clip, {"_target_": "NormalizeIntensityd", "keys": ["image"], "nonzero": foreground,
                        "channel_wise": True}]  # fmt: skip
    return _fixed(rule)


def in_place(steps: list[Config]) -> list[Config]:
    """The same intensities with less memory, for images that nothing else holds."""
    own = {"ScaleIntensityRanged": "pipeline.transforms.ScaleIntensityRanged"}
    return [{**step, "_target_": own.get(step["_target_"], step["_target_"])} for step in steps]


def _fixed(rule: Fixed) -> list[Config]:
    clip = [] if rule.clip is None else [{"_target_": "ThresholdIntensityd", "keys": ["image"], "threshold": bound,
                                          "above": above, "cval": bound}
                                         for bound, above in zip(rule.clip, (True, False), strict=True)]  # fmt: skip
    return [*clip, {"_target_": "NormalizeIntensityd", "keys": ["image"], "subtrahend": rule.mean,
                    "divisor": rule.deviation}]  # fmt: skip


def augmentation(plan: Plan, keys: list[str]) -> list[Config]:
    """Random crops to the window and the plan's random changes, in this order: geometry first, then intensities.

    One random transform changes all keys, so that an image and its label map never part.
    """
    changes = plan.training.augmentation
    steps = [_crop(plan, keys)]
    steps += [
        {"_target_": "RandFlipd", "keys": keys, "prob": 0.5, "spatial_axis": axis} for axis in changes.mirror_axes
    ]
    modes = ["nearest" if key == "label" else "bilinear" for key in keys]
    bend: Config = {"keys": keys, "mode": modes, "padding_mode": "zeros"}
    if changes.elastic_probability > 0:
        steps.append({"_target_": "Rand3DElasticd", "prob": changes.elastic_probability,
                      "sigma_range": list(changes.elastic_sigma_voxels),
                      "magnitude_range": list(changes.elastic_voxels), **bend})  # fmt: skip
    if changes.affine_probability > 0:
        angle = round(math.radians(changes.rotation_degrees), 6)
        steps.append({"_target_": "RandAffined", "prob": changes.affine_probability,
                      "rotate_range": [angle] * (3 if plan.dimensions == 3 else 1),  # noqa: PLR2004
                      "scale_range": [changes.scaling] * plan.dimensions,
                      "translate_range": [changes.translation_voxels] * plan.dimensions, **bend})  # fmt: skip
    return [*steps, *_intensity_changes(plan)]


def _crop(plan: Plan, keys: list[str]) -> Config:
    window = list(plan.preprocessing.window)
    training = plan.training
    if training.foreground_fraction is not None and "label" in keys:
        return {"_target_": "RandCropByPosNegLabeld", "keys": keys, "label_key": "label",
                "spatial_size": window, "pos": training.foreground_fraction, "neg": 1 - training.foreground_fraction,
                "num_samples": training.samples_per_case}  # fmt: skip
    return {"_target_": "RandSpatialCropSamplesd", "keys": keys, "roi_size": window,
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
            {"zoom_range": list(changes.low_resolution_zoom)} | _UPSAMPLING[plan.dimensions],
        ),
    ]
    may_lack = [index for index, channel in enumerate(plan.data.channels) if channel.optional]
    dropout: Config = {"channels": may_lack} if may_lack else {}
    table.append(("pipeline.transforms.RandChannelDropoutd", changes.channel_dropout, dropout))
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
