"""The literal configs of a bundle, from its plan: what ``python -m monai.bundle run`` reads."""

from __future__ import annotations

from typing import Any

from pipeline.bundle.transforms import augmentation, checks, geometry, intensities, loading
from pipeline.planning import Code, Label, Plan

__all__ = ["evaluate_config", "inference_config", "multi_gpu_config", "train_config"]

Config = dict[str, Any]

_BOTH = ["image", "label"]
# DICOM PS3.16 CID 7150, for labels to which the plan gives no code.
_ANATOMICAL_STRUCTURE = Code(value="91723000", meaning="Anatomical Structure")


def inference_config(plan: Plan) -> Config:
    """``inference.json``: any input to label maps in its own geometry."""
    return {
        **_places(),
        "output_dir": "$@bundle_root + '/output'",
        "series": None,
        "weights": "$@bundle_root + '/models/model.pt'",
        **_network(plan),
        "failures": {"_target_": "pipeline.data.CaseFailures"},
        "cases": {"_target_": "pipeline.data.find_inputs", "dataset_dir": "@dataset_dir", "series": "@series"},
        "preprocessing": _compose(
            loading(["image"], reader={"_target_": "pipeline.transforms.CaseReader", "series": "@series"}),
            *checks(plan, label=False),
            *geometry(plan, ["image"]),
            *intensities(plan),
        ),
        "dataset": {
            "_target_": "pipeline.data.SurvivingCases",
            "data": "@cases",
            "transform": "@preprocessing",
            "failures": "@failures",
        },
        "dataloader": {"_target_": "DataLoader", "dataset": "@dataset", "batch_size": 1, "num_workers": 0},
        "inferer": _inferer(plan, mirrored=True),
        "postprocessing": _compose(
            *_to_input_grid("@preprocessing"),
            {
                "_target_": "pipeline.transforms.SaveSegmentationd",
                "keys": ["pred"],
                "output_dir": "@output_dir",
                "segments": [_segment(label) for label in plan.labels],
                "algorithm": plan.title,
                "version": plan.version,
            },
        ),
        "handlers": [
            {"_target_": "CheckpointLoader", "load_path": "@weights", "load_dict": {"model": "@network"}},
            {"_target_": "pipeline.handlers.CaseProgress", "total": "$len(@cases)"},
        ],
        "evaluator": _case_evaluator(dataloader="@dataloader", handlers="@handlers", postprocessing="@postprocessing"),
        "initialize": [
            {
                "_target_": "pipeline.bundle.check_run",
                "dataset_dir": "@dataset_dir",
                "weights": "@weights",
                "output_dir": "@output_dir",
            }
        ],
        "run": ["$@evaluator.run()"],
        "finalize": ["$@failures.finish()"],
    }


def train_config(plan: Plan) -> Config:
    """``train.json``: from a labelled data set to ``models/model.pt``."""
    training = plan.training
    names = [label.name for label in plan.labels]
    return {
        **_places(),
        "output_dir": "$@bundle_root + '/output'",
        "ckpt_dir": "$@bundle_root + '/models'",
        "datalist_file": "$@ckpt_dir + '/datalist.json'",
        "epochs": training.epochs,
        "time_budget_minutes": training.time_budget_minutes,
        "val_interval": training.validate_every,
        "early_stopping": training.early_stopping,
        "batch_size": training.batch_size,
        "learning_rate": training.learning_rate,
        "num_workers": 0,
        "fold": training.fold,
        "seed": training.seed,
        "resume": False,
        **_network(plan),
        "labels": {str(label.value): label.name for label in plan.labels},
        "split": {
            "_target_": "pipeline.data.DataSplit",
            "dataset_dir": "@dataset_dir",
            "datalist_file": "@datalist_file",
            "test_fraction": plan.data.test_fraction,
            "folds": plan.data.folds,
            "seed": plan.data.split_seed,
            "patient_pattern": plan.data.patient_pattern,
        },
        "loss": {"_target_": "DiceCELoss", "include_background": training.include_background, "to_onehot_y": True,
                 "softmax": True, "batch": training.batch_dice},
        "optimizer": {"_target_": "torch.optim.AdamW", "params": "$@network.parameters()", "lr": "@learning_rate",
                      "weight_decay": training.weight_decay},
        "ema": {"_target_": "ignite.handlers.EMAHandler", "model": "@network", "momentum": training.ema_momentum,
                "handle_buffers": "copy"},
        "schedule": {"_target_": "pipeline.handlers.BudgetSchedule", "optimizer": "@optimizer",
                     "warmup": training.warmup, "power": training.decay_power,
                     "time_budget_minutes": "@time_budget_minutes"},
        "train": _train_section(plan, names),
        "validate": _validate_section(plan),
        "initialize": [
            {"_target_": "pipeline.bundle.check_run", "dataset_dir": "@dataset_dir", "output_dir": "@ckpt_dir"},
            "$monai.utils.set_determinism(@seed)",
        ],
        "run": ["$@train::trainer.run()"],
    }  # fmt: skip


def evaluate_config(plan: Plan) -> Config:
    """``evaluate.json``, over ``train.json``: Dice of held-out cases on their own grids."""
    return {
        "output_dir": "$@bundle_root + '/eval'",
        "weights": "$@ckpt_dir + '/model.pt'",
        "subset": "test",
        "failures": {"_target_": "pipeline.data.CaseFailures"},
        "scores": {"_target_": "pipeline.evaluation.ScoreTable", "labels": "@labels"},
        "cases": "$@split.select(@subset, @fold)",
        "validate::preprocessing": _compose(
            loading(_BOTH), *checks(plan, label=True), *geometry(plan, ["image"]), *intensities(plan)
        ),
        "validate::dataset": {
            "_target_": "pipeline.data.SurvivingCases",
            "data": "@cases",
            "transform": "@validate::preprocessing",
            "failures": "@failures",
        },
        "validate::dataloader": {
            "_target_": "DataLoader",
            "dataset": "@validate::dataset",
            "batch_size": 1,
            "num_workers": 0,
        },
        "validate::inferer": _inferer(plan, mirrored=True),
        "validate::postprocessing": _compose(*_to_input_grid("@validate::preprocessing")),
        "validate::handlers": [
            {"_target_": "CheckpointLoader", "load_path": "@weights", "load_dict": {"model": "@network"}},
            {"_target_": "pipeline.handlers.ScoreCases", "table": "@scores"},
            {"_target_": "pipeline.handlers.CaseProgress", "total": "$len(@cases)"},
        ],
        "validate::evaluator": _case_evaluator(
            dataloader="@validate::dataloader",
            handlers="@validate::handlers",
            postprocessing="@validate::postprocessing",
            inferer="@validate::inferer",
        ),
        "initialize": [
            {"_target_": "pipeline.bundle.check_run", "dataset_dir": "@dataset_dir", "weights": "@weights",
             "output_dir": "@output_dir"}
        ],
        "run": [
            "$@validate::evaluator.run()",
            {"_target_": "pipeline.evaluation.report_scores", "table": "@scores", "failures": "$@failures.reasons",
             "folder": "@output_dir", "subset": "@subset"},
        ],
        "finalize": ["$@failures.finish()"],
    }  # fmt: skip


def multi_gpu_config(plan: Plan) -> Config:
    """``multi_gpu_train.json``, over ``train.json``: one process per device, started by ``torchrun``."""
    return {
        "backend": "$'nccl' if torch.cuda.is_available() else 'gloo'",
        "device": {"_target_": "ignite.distributed.device"},
        "network": {
            "_target_": "torch.nn.parallel.DistributedDataParallel",
            "module": "$@network_def.to(@device)",
            "device_ids": "$[@device] if @device.type == 'cuda' else None",
        },
        "train::sampler": {"_target_": "DistributedSampler", "dataset": "@train::dataset", "shuffle": True},
        "train::dataloader::sampler": "@train::sampler",
        "train::dataloader::shuffle": False,
        "validate::sampler": {"_target_": "DistributedSampler", "dataset": "@validate::dataset", "shuffle": False},
        "validate::dataloader::sampler": "@validate::sampler",
        "initialize": [
            {"_target_": "ignite.distributed.initialize", "backend": "@backend"},
            *train_config(plan)["initialize"],
        ],
        "finalize": [{"_target_": "ignite.distributed.finalize"}],
    }


def _places() -> Config:
    return {
        "bundle_root": {"_target_": "pipeline.bundle.running_bundle_root"},
        "dataset_dir": None,
        "device": "$torch.device('cuda' if torch.cuda.is_available() else 'cpu')",
    }


def _network(plan: Plan) -> Config:
    return {"network_def": plan.network, "network": "$@network_def.to(@device)"}


def _shared(reference: str) -> Config:
    """A handler that others refer to; MONAI's check of properties wants each entry of a handler list to be a dict."""
    return {"_target_": "pipeline.handlers.Shared", "handler": reference}


def _compose(*steps: Config) -> Config:
    return {"_target_": "Compose", "transforms": list(steps)}


def _inferer(plan: Plan, *, mirrored: bool) -> Config:
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


def _to_input_grid(preprocessing: str) -> list[Config]:
    """Logits back to the input's grid, then the winning label: interpolating labels would invent others."""
    return [
        {"_target_": "Invertd", "keys": ["pred"], "transform": preprocessing, "orig_keys": ["image"],
         "nearest_interp": False, "to_tensor": True},
        {"_target_": "AsDiscreted", "keys": ["pred"], "argmax": True},
    ]  # fmt: skip


def _case_evaluator(*, dataloader: str, handlers: str, postprocessing: str, inferer: str = "@inferer") -> Config:
    return {
        "_target_": "pipeline.handlers.CaseEvaluator",
        "failures": "@failures",
        "device": "@device",
        "val_data_loader": dataloader,
        "network": "@network",
        "inferer": inferer,
        "postprocessing": postprocessing,
        "val_handlers": handlers,
    }


def _segment(label: Label) -> Config:
    def code(concept: Code | None) -> list[str]:
        concept = concept or _ANATOMICAL_STRUCTURE
        return [concept.value, concept.scheme, concept.meaning]

    return {
        "value": label.value,
        "name": label.name,
        "category": code(label.category),
        "property_type": code(label.type),
        "color": label.color if label.color is None else list(label.color),
    }


def _train_section(plan: Plan, names: list[str]) -> Config:
    window = list(plan.preprocessing.window)
    pad = {"_target_": "SpatialPadd", "keys": _BOTH, "spatial_size": window}
    return {
        "deterministic_transforms": [
            loading(_BOTH), *checks(plan, label=True), *geometry(plan, _BOTH), *intensities(plan), pad
        ],
        "random_transforms": augmentation(plan),
        "preprocessing": {"_target_": "Compose",
                          "transforms": "$@train::deterministic_transforms + @train::random_transforms"},
        "dataset": {"_target_": "CacheDataset", "data": "$@split.training(@fold)", "transform": "@train::preprocessing",
                    "cache_rate": 1.0, "num_workers": 2, "progress": False},
        "dataloader": {"_target_": "DataLoader", "dataset": "@train::dataset", "batch_size": "@batch_size",
                       "shuffle": True, "drop_last": True, "num_workers": "@num_workers"},
        "inferer": {"_target_": "pipeline.inferers.AutocastInferer", "inferer": {"_target_": "SimpleInferer"}},
        "handlers": [
            {"_target_": "pipeline.handlers.EpochSeed", "dataset": "@train::dataset", "seed": "@seed"},
            _shared("@schedule"),
            {"_target_": "pipeline.handlers.GradientClipping", "network": "@network",
             "max_norm": plan.training.gradient_clip},
            _shared("@ema"),
            {"_target_": "pipeline.handlers.FinalValidationHandler", "validator": "@validate::evaluator",
             "epoch_level": True, "interval": "@val_interval"},
            {"_target_": "pipeline.handlers.EarlyStopping", "validator": "@validate::evaluator",
             "patience": "@early_stopping"},
            _shared("@train::curves"),
            {"_target_": "pipeline.handlers.TrainingProgress", "validator": "@validate::evaluator",
             "schedule": "@schedule", "labels": names},
            {"_target_": "pipeline.handlers.ResumableState", "path": "$@ckpt_dir + '/training_state.pt'",
             "resume": "@resume",
             "objects": {"network": "@network", "ema": "$@ema.ema_model", "optimizer": "@optimizer",
                         "schedule": "@schedule", "curves": "@train::curves", "best": "@validate::best"}},
        ],
        "curves": {"_target_": "pipeline.handlers.TrainingCurves", "folder": "@output_dir",
                   "validator": "@validate::evaluator", "optimizer": "@optimizer", "labels": names},
        "trainer": {"_target_": "SupervisedTrainer", "device": "@device", "max_epochs": "@epochs",
                    "train_data_loader": "@train::dataloader", "network": "@network", "optimizer": "@optimizer",
                    "loss_function": "@loss", "inferer": "@train::inferer", "train_handlers": "@train::handlers",
                    "optim_set_to_none": True},
    }  # fmt: skip


def _validate_section(plan: Plan) -> Config:
    classes = plan.channel_count
    return {
        "preprocessing": _compose(
            loading(_BOTH), *checks(plan, label=True), *geometry(plan, _BOTH), *intensities(plan)
        ),
        "dataset": {"_target_": "CacheDataset", "data": "$@split.validation(@fold)",
                    "transform": "@validate::preprocessing", "cache_rate": 1.0, "num_workers": 2, "progress": False},
        "dataloader": {"_target_": "DataLoader", "dataset": "@validate::dataset", "batch_size": 1, "num_workers": 0},
        "inferer": _inferer(plan, mirrored=False),
        "postprocessing": _compose(
            {"_target_": "AsDiscreted", "keys": ["pred"], "argmax": True, "to_onehot": classes},
            {"_target_": "AsDiscreted", "keys": ["label"], "to_onehot": classes},
        ),
        "key_metric": {"val_mean_dice": {"_target_": "MeanDice", "include_background": False,
                                         "output_transform": "$monai.handlers.from_engine(['pred', 'label'])"}},
        "best": {"_target_": "pipeline.handlers.BestCheckpoint", "network": "$@ema.ema_model",
                 "path": "$@ckpt_dir + '/model.pt'", "split": "@split"},
        "handlers": [_shared("@validate::best")],
        "evaluator": {"_target_": "SupervisedEvaluator", "device": "@device",
                      "val_data_loader": "@validate::dataloader", "network": "$@ema.ema_model",
                      "inferer": "@validate::inferer", "postprocessing": "@validate::postprocessing",
                      "key_val_metric": "@validate::key_metric", "val_handlers": "@validate::handlers"},
    }  # fmt: skip
