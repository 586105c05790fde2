"""Write a bundle's configs from its plan."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pipeline
from pipeline.bundle.configs import evaluate_config, inference_config, multi_gpu_config, train_config
from pipeline.bundle.literal import inert
from pipeline.planning import Plan, load_plan
from pipeline.writing import whole_file

__all__ = ["build_bundle", "built_files", "stale_files"]

# The schema's own address is its name; it is never fetched (see verify.py).
_SCHEMA = "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json"
# The versions that the built configs were made for and tested with.
_VERSIONS = {"monai_version": "1.6.1", "pytorch_version": "2.13.0", "numpy_version": "2.4.6"}
_REQUIRED = {
    "medbundle": pipeline.__version__,
    "pytorch-ignite": "0.5.5",
    "nibabel": "5.4.2",
    "pydicom": "3.0.2",
    "highdicom": "0.28.2",
    "itk": "5.4.7",
}

_LOGGING = """\
[loggers]
keys=root,ignite

[handlers]
keys=console

[formatters]
keys=plain

[logger_root]
level=INFO
handlers=console

[logger_ignite]
level=WARNING
handlers=console
qualname=ignite
propagate=0

[handler_console]
class=StreamHandler
formatter=plain
args=(sys.stdout,)

[formatter_plain]
format=%(asctime)s %(levelname)s %(message)s
"""


def build_bundle(bundle: Path) -> list[Path]:
    """Write ``configs/`` of a bundle from its ``plan.yaml``.

    Args:
        bundle: the bundle's folder.

    Returns:
        The files whose content changed.

    Raises:
        InputError: the plan is missing or wrong, or the folder cannot be written.
    """
    changed = []
    for name, content in built_files(load_plan(bundle / "plan.yaml")).items():
        target = bundle / name
        if target.is_file() and target.read_text(encoding="utf-8") == content:
            continue
        with whole_file(target) as temporary:
            temporary.write_text(content, encoding="utf-8")
        changed.append(target)
    return changed


def stale_files(bundle: Path) -> list[Path]:
    """The built files that differ from what the plan gives now, or are missing."""
    built = built_files(load_plan(bundle / "plan.yaml"))
    paths = {bundle / name: content for name, content in built.items()}
    return [path for path, content in paths.items() if not path.is_file() or path.read_text("utf-8") != content]


def built_files(plan: Plan) -> dict[str, str]:
    """The content of each built file by its path in the bundle."""
    configs = {
        "metadata": inert(metadata(plan)),
        "inference": inference_config(plan),
        "train": train_config(plan),
        "evaluate": evaluate_config(plan),
        "multi_gpu_train": multi_gpu_config(plan),
    }
    files = {f"configs/{name}.json": json.dumps(config, indent=2) + "\n" for name, config in configs.items()}
    return {**files, "configs/logging.conf": _LOGGING}


def metadata(plan: Plan) -> dict[str, Any]:
    """``metadata.json``, by MONAI's schema meta_schema_20240725."""
    ct = plan.preprocessing.normalization.kind == "ct_window"
    segments = plan.task == "segmentation"
    pictures = plan.dimensions == 2  # noqa: PLR2004
    return {
        "schema": _SCHEMA,
        "version": plan.version,
        "changelog": plan.changelog or {plan.version: "first version"},
        **_VERSIONS,
        "required_packages_version": _REQUIRED,
        "supported_apps": {},
        "name": plan.title,
        "task": f"{plan.dimensions}D {plan.task}",
        "description": plan.description,
        "authors": plan.authors,
        "copyright": plan.copyright,
        "data_source": plan.data.source,
        "data_type": "png, jpeg, tiff, bmp, dicom, nifti" if pictures else "dicom, nifti",
        "image_classes": f"{', '.join(one.name for one in plan.data.channels)}: {len(plan.data.channels)} channel(s)",
        "label_classes": ", ".join(f"{label.value} {label.name}" for label in plan.labels),
        "pred_classes": f"{plan.channel_count} channels of logits: "
        + ("background and each label" if segments else "each class"),
        "intended_use": plan.intended_use,
        "references": list(plan.references),
        "network_data_format": {
            "inputs": {
                "image": {
                    "type": "image",
                    "format": "hounsfield" if ct else "magnitude",
                    "modality": plan.data.modality,
                    "num_channels": len(plan.data.channels),
                    "spatial_shape": list(plan.preprocessing.window),
                    "dtype": "float32",
                    "value_range": [],
                    "is_patch_data": segments,
                    "channel_def": {str(index): one.name for index, one in enumerate(plan.data.channels)},
                }
            },
            "outputs": {"pred": _output(plan)},
        },
    }


def _output(plan: Plan) -> dict[str, Any]:
    """The network's output; MONAI's check wants a spatial shape for a classifier as well."""
    segments = plan.task == "segmentation"
    background = {"0": "background"} if segments else {}
    return {
        "type": "image" if segments else "probabilities",
        "format": plan.task,
        "num_channels": plan.channel_count,
        "spatial_shape": list(plan.preprocessing.window) if segments else [],
        "dtype": "float32",
        "value_range": [],
        "is_patch_data": segments,
        "channel_def": {**background, **{str(label.value): label.name for label in plan.labels}},
    }
