"""Is a bundle what it says it is?"""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from monai.bundle import ConfigParser, verify_metadata, verify_net_in_out

from pipeline.bundle.build import stale_files
from pipeline.bundle.workflow import open_workflow
from pipeline.errors import InputError, one_line
from pipeline.planning import Plan, load_plan

__all__ = ["verify_bundle"]

_SCHEMA = Path(__file__).with_name("meta_schema_20240725.json")
_MAX_WEIGHT_BYTES = 25 * 2**20


def verify_bundle(bundle: Path) -> dict[str, str | None]:
    """Run all checks of a bundle, MONAI's and ours; no network access.

    Args:
        bundle: the bundle's folder.

    Returns:
        Each check by name, with None where it passed and else the reason in one line.
    """
    checks: dict[str, Callable[[Path], None]] = {
        "configs match plan.yaml": _matches_plan,
        "metadata follows the schema": _metadata,
        "network fits the metadata (inference)": lambda root: _network(root, "inference"),
        "network fits the metadata (train)": lambda root: _network(root, "train"),
        "inference has MONAI's properties": lambda root: _properties(root, "inference"),
        "train has MONAI's properties": lambda root: _properties(root, "train"),
        "weights load and fit": _weights,
        "documents are there": _documents,
    }
    for name in ("monai.bundle.scripts", "monai.bundle.workflows", "monai.apps"):
        logging.getLogger(name).setLevel(logging.ERROR)
    return {name: _reason(check, bundle) for name, check in checks.items()}


def _reason(check: Callable[[Path], None], bundle: Path) -> str | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            check(bundle)
    except Exception as error:  # noqa: BLE001 - a check that breaks has failed; the others still count
        return one_line(error)
    return None


def _matches_plan(bundle: Path) -> None:
    stale = stale_files(bundle)
    if stale:
        raise InputError(
            f"{', '.join(path.name for path in stale)} differ from the plan",
            where=bundle / "configs",
            cure=f"Run: medpipe build {bundle.name}",
        )


def _metadata(bundle: Path) -> None:
    # MONAI downloads a schema that is not at `filepath`; it is.
    verify_metadata(meta_file=str(bundle / "configs" / "metadata.json"), filepath=str(_SCHEMA))


def _network(bundle: Path, config: str) -> None:
    configs = bundle / "configs"
    verify_net_in_out(
        net_id="network_def",
        meta_file=str(configs / "metadata.json"),
        config_file=str(configs / f"{config}.json"),
        device="cpu",
    )


def _properties(bundle: Path, config: str) -> None:
    # MONAI looks for a property by making it, data set included: so there must be one.
    with tempfile.TemporaryDirectory() as folder:
        _write_tiny_data_set(load_plan(bundle / "plan.yaml"), Path(folder))
        places = {"ckpt_dir": folder} if config == "train" else {}
        workflow = open_workflow(
            bundle, [config], training=config == "train", dataset_dir=folder, output_dir=folder, initialize=[], **places
        )
        workflow.initialize()
        missing = workflow.check_properties()
    if missing:
        raise InputError("MONAI's properties are missing", where=bundle / "configs" / f"{config}.json", got=missing)


def _write_tiny_data_set(plan: Plan, folder: Path) -> None:
    """Noise in the size of the window, with every label in it, enough cases for each part of a split."""
    generator = np.random.default_rng(0)
    window = plan.preprocessing.window
    for case in range(2 * plan.data.folds):
        volumes = {
            "images": generator.random((*window, len(plan.data.channels)), dtype=np.float32).squeeze(),
            "labels": generator.integers(0, len(plan.labels) + 1, window).astype(np.uint8),
        }
        for kind, volume in volumes.items():
            (folder / kind).mkdir(exist_ok=True)
            nib.save(nib.Nifti1Image(volume, np.eye(4)), folder / kind / f"{case}.nii.gz")


def _weights(bundle: Path) -> None:
    path = bundle / "models" / "model.pt"
    if not path.is_file():
        raise InputError("no weights", where=path, cure=f"Run: medpipe train {bundle} --data DIR")
    if path.stat().st_size > _MAX_WEIGHT_BYTES:
        raise InputError(
            "weights are too large to ship", where=path, expected="at most 25 MiB", got=path.stat().st_size
        )
    weights = torch.load(path, map_location="cpu", weights_only=True)
    parser = ConfigParser()
    parser.read_config(str(bundle / "configs" / "inference.json"))
    parser.get_parsed_content("network_def").load_state_dict(weights)


def _documents(bundle: Path) -> None:
    missing = [name for name in ("LICENSE", "docs/README.md", "docs/data_license.txt") if not (bundle / name).is_file()]
    if missing:
        raise InputError(f"{', '.join(missing)} missing", where=bundle)
