"""Configs of a training: ``train.json`` and ``multi_gpu_train.json``."""

from __future__ import annotations

from pipeline.bundle.configs.parts import Config, channels, compose, labels, network, places
from pipeline.bundle.configs.tasks import Task, task_of
from pipeline.bundle.configs.transforms import augmentation
from pipeline.bundle.literal import literal
from pipeline.planning import Plan

__all__ = ["multi_gpu_config", "train_config"]


def train_config(plan: Plan) -> Config:
    """``train.json``: from a labelled data set to ``models/model.pt``."""
    training, task = plan.training, task_of(plan)
    backbone = _backbone(plan)
    return {
        **places(),
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
        **({"imagenet_weights": None} if backbone else {}),
        **network(plan),
        "labels": labels(plan),
        "split": {
            "_target_": "pipeline.data.DataSplit",
            "dataset_dir": "@dataset_dir",
            "datalist_file": "@datalist_file",
            "test_fraction": plan.data.test_fraction,
            "folds": plan.data.folds,
            "seed": plan.data.split_seed,
            "patient_pattern": literal(plan.data.patient_pattern),
            **task.split(),
            **channels(plan),
        },
        "loss": task.loss(),
        "optimizer": {"_target_": "torch.optim.AdamW", "params": "$@network.parameters()", "lr": "@learning_rate",
                      "weight_decay": training.weight_decay},
        "ema": {"_target_": "ignite.handlers.EMAHandler", "model": "@network", "momentum": training.ema_momentum,
                "handle_buffers": "copy"},
        "schedule": {"_target_": "pipeline.handlers.BudgetSchedule", "optimizer": "@optimizer",
                     "warmup": training.warmup, "power": training.decay_power,
                     "time_budget_minutes": "@time_budget_minutes"},
        "train": _train_section(plan, task),
        "validate": _validate_section(task),
        "initialize": [
            {"_target_": "pipeline.bundle.check_run", "dataset_dir": "@dataset_dir", "output_dir": "@ckpt_dir"},
            "$monai.utils.set_determinism(@seed)",
            *backbone,
        ],
        "run": ["$@train::trainer.run()"],
    }  # fmt: skip


def _backbone(plan: Plan) -> list[Config]:
    """What starts a network from the features of another; published ones are of pictures."""
    if plan.dimensions == 3 and not plan.training.freeze_backbone:  # noqa: PLR2004
        return []
    return [{"_target_": "pipeline.networks.prepare_backbone", "network": "@network_def",
             "imagenet_weights": "@imagenet_weights", "freeze": plan.training.freeze_backbone}]  # fmt: skip


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
        # A process that ends while another still talks to it may take it down.
        "finalize": [{"_target_": "ignite.distributed.barrier"}, {"_target_": "ignite.distributed.finalize"}],
    }


def _train_section(plan: Plan, task: Task) -> Config:
    names, keys = [literal(label.name) for label in plan.labels], list(task.keys)
    pad = {"_target_": "SpatialPadd", "keys": keys, "spatial_size": list(plan.preprocessing.window)}
    return {
        "deterministic_transforms": [*task.preprocessing("training"), pad],
        "random_transforms": augmentation(plan, keys),
        "preprocessing": {"_target_": "Compose",
                          "transforms": "$@train::deterministic_transforms + @train::random_transforms"},
        "cases": {"_target_": "pipeline.data.fill_batch", "cases": "$@split.training(@fold)",
                  "batch_size": "@batch_size"},
        "dataset": {"_target_": "CacheDataset", "data": "@train::cases", "transform": "@train::preprocessing",
                    "cache_rate": 1.0, "num_workers": 2, "progress": False},
        "dataloader": {"_target_": "DataLoader", "dataset": "@train::dataset", "batch_size": "@batch_size",
                       "shuffle": True, "drop_last": True, "num_workers": "@num_workers"},
        "inferer": {"_target_": "pipeline.inferers.AutocastInferer", "inferer": {"_target_": "SimpleInferer"}},
        "handlers": [
            {"_target_": "pipeline.handlers.CheckTrainingSet", "dataset": "@train::dataset", "labels": "@labels"},
            {"_target_": "pipeline.handlers.EpochSeed", "dataset": "@train::dataset", "seed": "@seed"},
            _shared("@schedule"),
            {"_target_": "pipeline.handlers.GradientClipping", "network": "@network",
             "max_norm": plan.training.gradient_clip},
            _shared("@ema"),
            {"_target_": "pipeline.handlers.BatchNormStatistics", "network": "$@ema.ema_model",
             "validator": "@validate::evaluator", "inferer": "@train::inferer"},
            {"_target_": "pipeline.handlers.FinalValidationHandler", "validator": "@validate::evaluator",
             "epoch_level": True, "interval": "@val_interval"},
            {"_target_": "pipeline.handlers.EarlyStopping", "validator": "@validate::evaluator",
             "patience": "@early_stopping"},
            _shared("@train::curves"),
            {"_target_": "pipeline.handlers.TrainingProgress", "validator": "@validate::evaluator",
             "schedule": "@schedule", "labels": names, **task.metric()},
            {"_target_": "pipeline.handlers.ResumableState", "path": "$@ckpt_dir + '/training_state.pt'",
             "resume": "@resume",
             "objects": {"network": "@network", "ema": "$@ema.ema_model", "optimizer": "@optimizer",
                         "schedule": "@schedule", "curves": "@train::curves", "best": "@validate::best"}},
        ],
        "curves": {"_target_": "pipeline.handlers.TrainingCurves", "folder": "@output_dir",
                   "validator": "@validate::evaluator", "optimizer": "@optimizer", "labels": names, **task.metric()},
        "trainer": {"_target_": "SupervisedTrainer", "device": "@device", "max_epochs": "@epochs",
                    "train_data_loader": "@train::dataloader", "network": "@network", "optimizer": "@optimizer",
                    "loss_function": "@loss", "inferer": "@train::inferer", "train_handlers": "@train::handlers",
                    "optim_set_to_none": True},
    }  # fmt: skip


def _validate_section(task: Task) -> Config:
    return {
        "preprocessing": compose(*task.preprocessing("validation")),
        "dataset": {"_target_": "CacheDataset", "data": "$@split.validation(@fold)",
                    "transform": "@validate::preprocessing", "cache_rate": 1.0, "num_workers": 2, "progress": False},
        "dataloader": {"_target_": "DataLoader", "dataset": "@validate::dataset", "batch_size": 1, "num_workers": 0},
        "inferer": task.inferer(mirrored=False),
        **task.validation(),
        "best": {"_target_": "pipeline.handlers.BestCheckpoint", "network": "$@ema.ema_model",
                 "path": "$@ckpt_dir + '/model.pt'", "split": "@split"},
        "handlers": [_shared("@validate::best")],
        "evaluator": {"_target_": "SupervisedEvaluator", "device": "@device",
                      "val_data_loader": "@validate::dataloader", "network": "$@ema.ema_model",
                      "inferer": "@validate::inferer", "postprocessing": "@validate::postprocessing",
                      "key_val_metric": "@validate::key_metric", "val_handlers": "@validate::handlers"},
    }  # fmt: skip


def _shared(reference: str) -> Config:
    """A handler that others refer to; MONAI's check of properties wants each entry of a handler list to be a dict."""
    return {"_target_": "pipeline.handlers.Shared", "handler": reference}
