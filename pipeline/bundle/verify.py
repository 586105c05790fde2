"""Is a bundle what it says it is?"""

from __future__ import annotations

import csv
import logging
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
from monai.bundle import ConfigParser, verify_metadata, verify_net_in_out
from PIL import Image

from pipeline.bundle.build import stale_files
from pipeline.bundle.workflow import open_workflow
from pipeline.errors import InputError, one_line
from pipeline.networks.weights import load_weights
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
            cure=f"Run: medbundle build {bundle.name}",
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
        # Its cases bear numbers, which name no patient.
        other = {"ckpt_dir": folder, "split::patient_pattern": ""} if config == "train" else {}
        workflow = open_workflow(
            bundle,
            [config],
            training=config == "train",
            entries={"initialize": []},
            dataset_dir=folder,
            output_dir=folder,
            **other,
        )
        workflow.initialize()
        missing = workflow.check_properties()
    if missing:
        raise InputError("MONAI's properties are missing", where=bundle / "configs" / f"{config}.json", got=missing)


def _write_tiny_data_set(plan: Plan, folder: Path) -> None:
    """Noise in the size of the window, with every label or class, enough cases for each part of a split."""
    generator = np.random.default_rng(0)
    for kind in ("images", "labels") if plan.task == "segmentation" else ("images",):
        (folder / kind).mkdir()
    classes = [label.name for label in plan.labels]
    rows: list[list[str]] = []
    for case in range(2 * plan.data.folds * (1 if plan.task == "segmentation" or plan.multi_label else len(classes))):
        shape = (*plan.preprocessing.window, len(plan.data.channels))
        file = _write_image(generator.integers(0, 256, shape, dtype=np.uint8), folder / "images", case, plan)
        if plan.task == "segmentation":
            labels = generator.integers(0, len(plan.labels) + 1, (*shape[:-1], 1), dtype=np.uint8)
            _write_image(labels, folder / "labels", case, plan)
        elif plan.multi_label:
            rows.append([file, *(str(flag) for flag in generator.integers(0, 2, len(classes)))])
        else:
            rows.append([file, classes[case % len(classes)]])
    if rows:
        with (folder / "labels.csv").open("w", newline="", encoding="utf-8") as table:
            csv.writer(table).writerows([["image", *(classes if plan.multi_label else ["label"])], *rows])


def _write_image(samples: np.ndarray, folder: Path, case: int, plan: Plan) -> str:
    """Write samples (X, Y[, Z], C) as a picture or a volume; its path below the folder of the data set."""
    if plan.dimensions == 2:  # noqa: PLR2004
        path = folder / f"{case}.png"
        rows = samples.swapaxes(0, 1)
        Image.fromarray(rows[..., 0] if rows.shape[-1] == 1 else rows).save(path)
    else:
        path = folder / f"{case}.nii.gz"
        nib.save(nib.Nifti1Image(samples.squeeze(), np.eye(4)), path)
    return f"{folder.name}/{path.name}"


def _weights(bundle: Path) -> None:
    path = bundle / "models" / "model.pt"
    if not path.is_file():
        raise InputError("no weights", where=path, cure=f"Run: medbundle train {bundle} --data DIR")
    if path.stat().st_size > _MAX_WEIGHT_BYTES:
        raise InputError(
            "weights are too large to ship", where=path, expected="at most 25 MiB", got=path.stat().st_size
        )
    parser = ConfigParser()
    parser.read_config(str(bundle / "configs" / "inference.json"))
    load_weights(parser.get_parsed_content("network_def"), path)


def _documents(bundle: Path) -> None:
    missing = [name for name in ("LICENSE", "docs/README.md", "docs/data_license.txt") if not (bundle / name).is_file()]
    if missing:
        raise InputError(f"{', '.join(missing)} missing", where=bundle)
