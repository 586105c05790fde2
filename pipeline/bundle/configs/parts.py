"""What the configs of a bundle share."""

from __future__ import annotations

from typing import Any

from pipeline.bundle.literal import literal
from pipeline.planning import Plan

__all__ = [
    "Config",
    "channels",
    "compose",
    "dense_inferer",
    "fastest",
    "labels",
    "network",
    "places",
    "streaming_inferer",
]

Config = dict[str, Any]


def places() -> Config:
    """Where the bundle and the data are, and the device."""
    return {
        "bundle_root": {"_target_": "pipeline.bundle.running_bundle_root"},
        "dataset_dir": None,
        "device": "$torch.device('cuda' if torch.cuda.is_available() else 'cpu')",
    }


def network(plan: Plan) -> Config:
    """The plan's network, as MONAI names it in bundles."""
    return {"network_def": plan.network, "network": "$@network_def.to(@device)"}


def labels(plan: Plan) -> Config:
    """The names of the label values or classes; JSON has no integer keys."""
    return {str(label.value): literal(label.name) for label in plan.labels}


def channels(plan: Plan) -> Config:
    """What tells the images of a case of several; nothing where each is one file."""
    rules = plan.channel_rules
    return {} if rules is None else {"channels": literal(rules)}


def compose(*steps: Config) -> Config:
    """A transform of several."""
    return {"_target_": "Compose", "transforms": list(steps)}


def dense_inferer(plan: Plan) -> Config:
    """Sliding windows in bfloat16 where it is fast: logits on the network's grid, which a validation needs."""
    return _autocast({"_target_": "SlidingWindowInferer", **_windows(plan)})


def streaming_inferer(plan: Plan, probabilities: str | None = None) -> Config:
    """The same windows, each averaged over the plan's mirror axes: label maps on the input's grid, in bounded memory.

    Each change of the grid that a plan can ask for has its way back in :mod:`pipeline.inferers.undoing`.

    Args:
        plan: of the bundle.
        probabilities: a reference to the classes whose probabilities are written to ``output_dir``.
    """
    streaming: Config = {
        "_target_": "pipeline.inferers.StreamingInferer",
        **_windows(plan),
        "out_channels": plan.channel_count,
        "values": [0, *(label.value for label in plan.labels)],
        "skip_below": plan.inference.skip_below,
        "max_slab_mb": plan.inference.max_slab_mb,
    }
    if plan.inference.mirror_axes:
        streaming["inferer"] = {
            "_target_": "pipeline.inferers.MirroredInferer",
            "inferer": {"_target_": "SimpleInferer"},
            "axes": list(plan.inference.mirror_axes),
        }
    if probabilities is not None:
        streaming["probabilities"] = {
            "_target_": "pipeline.inferers.ProbabilityMaps",
            "classes": probabilities,
            "names": ["background", *(literal(label.name) for label in plan.labels)],
            "folder": "@output_dir",
        }
    return fastest(streaming)


def _windows(plan: Plan) -> Config:
    return {
        "roi_size": list(plan.preprocessing.window),
        "sw_batch_size": plan.inference.window_batch,
        "overlap": plan.inference.overlap,
        "mode": "gaussian",
    }


def fastest(inferer: Config) -> Config:
    """An inferer of a finished network, with the engine that the config names."""
    return {"_target_": "pipeline.inferers.FastestInferer", "inferer": inferer, "engine": "@engine"}


def _autocast(inferer: Config) -> Config:
    return {"_target_": "pipeline.inferers.AutocastInferer", "inferer": inferer}
