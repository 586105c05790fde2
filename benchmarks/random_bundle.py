"""A bundle with random weights, for what depends on the size of a network and not on what it learned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

_PLAN = Path(__file__).resolve().parents[1] / "pipeline" / "workflows" / "demo_plan.yaml"


def write_random_bundle(
    folder: Path,
    name: str,
    *,
    classes: int,
    preprocessing: dict[str, Any],
    network: dict[str, Any],
    inference: dict[str, Any],
) -> Path:
    """The plan of the demo with that many classes, background included, and those changes; seed 0.

    Args:
        folder: Where the bundle's own folder comes.
        name: Of the bundle.
        classes: What the network tells apart, background included.
        preprocessing: Entries of the plan's ``preprocessing`` that are other than the demo's.
        network: All of the plan's ``network``.
        inference: All of the plan's ``inference``.
    """
    import torch
    import yaml
    from monai.bundle import ConfigParser

    from pipeline.bundle import build_bundle

    plan = yaml.safe_load(_PLAN.read_text(encoding="utf-8"))
    plan["labels"] = [{"value": value, "name": f"label {value}"} for value in range(1, classes)]
    plan["preprocessing"].update(preprocessing)
    plan.update(name=name, network=network, inference=inference)
    bundle = folder / name
    (bundle / "models").mkdir(parents=True)
    (bundle / "plan.yaml").write_text(yaml.safe_dump(plan), encoding="utf-8")
    build_bundle(bundle)
    parser = ConfigParser()
    parser.read_config(str(bundle / "configs" / "inference.json"))
    torch.manual_seed(0)
    torch.save(parser.get_parsed_content("network_def").state_dict(), bundle / "models" / "model.pt")
    return bundle
