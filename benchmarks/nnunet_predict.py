"""One volume by nnU-Net v2's predictor, with the network and the grid of ``benchmarks.whole_pipeline``.

``VENV/bin/python -m benchmarks.nnunet_predict JOB`` runs in an environment of its own, which has ``nnunetv2`` and
``monai``, and prints one line of JSON. The predictor does without torchvision: it is kept from being imported.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.whole_pipeline_runs import NetworkClock, Run


def plans(job: dict[str, Any]) -> dict[str, Any]:
    """What nnU-Net's planner would have written; its own defaults, but for the job's grid, window and intensities.

    SimpleITK's arrays have the axes of a file in reverse; the transposition gives the network the file's order, as in
    the other ways.
    """
    low, high = job["clip"]
    configuration = {
        "data_identifier": "nnUNetPlans_3d_fullres",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": [job["window"]] * 3,
        "median_image_size_in_voxels": [job["window"]] * 3,
        "spacing": [job["spacing"]] * 3,
        "normalization_schemes": ["CTNormalization"],
        "use_mask_for_norm": [False],
        **_resampling(),
        "architecture": {"network_class_name": "DynUNet", "arch_kwargs": {}, "_kw_requires_import": []},
        "batch_dice": True,
    }
    intensities = {
        "mean": job["mean"],
        "std": job["deviation"],
        "percentile_00_5": low,
        "percentile_99_5": high,
        "min": low,
        "max": high,
        "median": job["mean"],
    }
    return {
        "dataset_name": "Dataset001_Random",
        "plans_name": "nnUNetPlans",
        "original_median_spacing_after_transp": [job["spacing"]] * 3,
        "original_median_shape_after_transp": [job["window"]] * 3,
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [2, 1, 0],
        "transpose_backward": [2, 1, 0],
        "configurations": {"3d_fullres": configuration},
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {"0": intensities},
    }


def _resampling() -> dict[str, Any]:
    """nnU-Net's defaults: cubic for images, linear for logits."""
    orders = {"data": 3, "seg": 1, "probabilities": 1}
    functions = {f"resampling_fn_{what}": "resample_data_or_seg_to_shape" for what in orders}
    options = {
        f"resampling_fn_{what}_kwargs": {
            "is_seg": what == "seg",
            "order": order,
            "order_z": 0,
            "force_separate_z": None,
        }
        for what, order in orders.items()
    }
    return {**functions, **options}


def predict(job: dict[str, Any]) -> dict[str, float]:
    """From a file to a saved label map in one process."""
    sys.modules["torchvision"] = None  # type: ignore[assignment]
    phases = Run()
    import torch
    from nnunetv2.inference import predict_from_raw_data as nnunet
    from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    phases.imported()
    with phases.paused():  # nnU-Net does without MONAI
        from monai.networks.nets import DynUNet
    torch.set_num_threads(job["threads"])
    network = DynUNet(**job["network"]).eval()
    clock = NetworkClock(network)
    predictor = nnunet.nnUNetPredictor(
        tile_step_size=1 - job["overlap"],
        use_gaussian=True,
        use_mirroring=False,
        perform_everything_on_device=False,
        device=torch.device("cpu"),
        allow_tqdm=False,
    )
    manager = PlansManager(plans(job))
    predictor.manual_initialization(
        network,
        manager,
        manager.get_configuration("3d_fullres"),
        [torch.load(job["weights"], weights_only=True)],
        {
            "channel_names": {"0": "CT"},
            "labels": {"background": 0, **{f"label {value}": value for value in range(1, job["classes"])}},
            "file_ending": ".nii.gz",
        },
        "nnUNetTrainer",
        None,
    )
    DefaultPreprocessor.run_case = phases.wrap("load", DefaultPreprocessor.run_case)
    predictor.predict_logits_from_preprocessed_data = phases.wrap(
        "sliding", predictor.predict_logits_from_preprocessed_data
    )
    nnunet.export_prediction_from_logits = phases.wrap("finish", nnunet.export_prediction_from_logits)
    target = str(Path(job["out"])).removesuffix(".nii.gz")
    predictor.predict_from_files_sequential([[job["image"]]], [target])
    return phases.result(clock)


if __name__ == "__main__":
    print(json.dumps(predict(json.loads(sys.argv[1]))))
