"""What the configs of a bundle share."""

from __future__ import annotations

from typing import Any

from pipeline.planning import Plan

__all__ = ["Config", "compose", "inferer", "labels", "network", "places"]

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


def labels(plan: Plan) -> dict[str, str]:
    """The names of the label values or classes; JSON has no integer keys."""
    return {str(label.value): label.name for label in plan.labels}


def compose(*steps: Config) -> Config:
    """A transform of several."""
    return {"_target_": "Compose", "transforms": list(steps)}


def inferer(plan: Plan, *, mirrored: bool) -> Config:
    """Sliding windows in bfloat16 where it is fast, averaged over the plan's mirror axes if asked."""
    sliding: Config = {
        "_target_": "SlidingWindowInferer",
        "roi_size": list(plan.preprocessing.window),
        "sw_batch_size": plan.inference.window_batch,
        "overlap": plan.inference.overlap,
        "mode": "gaussian",
    }
    inferer: Config = {"_target_": "pipeline.inferers.AutocastInferer", "inferer": sliding}
    if mirrored and plan.inference.mirror_axes:
        axes = list(plan.inference.mirror_axes)
        inferer = {"_target_": "pipeline.inferers.MirroredInferer", "inferer": inferer, "axes": axes}
    return inferer
