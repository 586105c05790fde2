"""Configs of an applied network: ``inference.json`` and ``evaluate.json``."""

from __future__ import annotations

from pipeline.bundle.configs.parts import Config, compose, labels, network, places
from pipeline.bundle.configs.tasks import task_of
from pipeline.planning import Plan

__all__ = ["evaluate_config", "inference_config"]

_LOAD_WEIGHTS = {"_target_": "CheckpointLoader", "load_path": "@weights", "load_dict": {"model": "@network"}}
_PROGRESS = {"_target_": "pipeline.handlers.CaseProgress", "total": "$len(@cases)"}
_CHECK = {"_target_": "pipeline.bundle.check_run", "dataset_dir": "@dataset_dir", "weights": "@weights",
          "output_dir": "@output_dir"}  # fmt: skip


def inference_config(plan: Plan) -> Config:
    """``inference.json``: any input to label maps in its own geometry, or to a table of probabilities."""
    task = task_of(plan)
    predictions = task.predictions()
    return {
        **places(),
        "output_dir": "$@bundle_root + '/output'",
        "series": None,
        "untilt": False,
        "weights": "$@bundle_root + '/models/model.pt'",
        **network(plan),
        "failures": {"_target_": "pipeline.data.CaseFailures"},
        "cases": {"_target_": "pipeline.data.find_inputs", "dataset_dir": "@dataset_dir", "series": "@series"},
        "preprocessing": compose(*task.preprocessing("inference", series="@series", untilt="@untilt")),
        "dataset": _surviving("@preprocessing"),
        "dataloader": {"_target_": "DataLoader", "dataset": "@dataset", "batch_size": 1, "num_workers": 0},
        "inferer": task.inferer(mirrored=True),
        "postprocessing": compose(*task.result(), *task.saving()),
        **({} if predictions is None else {"labels": labels(plan), "scores": task.table()}),
        "handlers": [_LOAD_WEIGHTS, *([] if predictions is None else [task.scoring()]), _PROGRESS],
        "evaluator": _case_evaluator(dataloader="@dataloader", handlers="@handlers", postprocessing="@postprocessing"),
        "initialize": [_CHECK],
        "run": ["$@evaluator.run()", *([] if predictions is None else [predictions])],
        "finalize": ["$@failures.finish()"],
    }


def evaluate_config(plan: Plan) -> Config:
    """``evaluate.json``, over ``train.json``: scores of held-out cases, of segmentations on the cases' own grids."""
    task = task_of(plan)
    return {
        "output_dir": "$@bundle_root + '/eval'",
        "weights": "$@ckpt_dir + '/model.pt'",
        "subset": "test",
        "failures": {"_target_": "pipeline.data.CaseFailures"},
        "scores": task.table(),
        **task.evaluation(),
        "cases": "$@split.select(@subset, @fold)",
        "validate::preprocessing": compose(*task.preprocessing("evaluation")),
        "validate::dataset": _surviving("@validate::preprocessing"),
        "validate::dataloader": {
            "_target_": "DataLoader",
            "dataset": "@validate::dataset",
            "batch_size": 1,
            "num_workers": 0,
        },
        "validate::inferer": task.inferer(mirrored=True),
        "validate::postprocessing": compose(*task.result()),
        "validate::handlers": [_LOAD_WEIGHTS, task.scoring(), _PROGRESS],
        "validate::evaluator": _case_evaluator(
            dataloader="@validate::dataloader",
            handlers="@validate::handlers",
            postprocessing="@validate::postprocessing",
            inferer="@validate::inferer",
        ),
        "initialize": [_CHECK],
        "run": ["$@validate::evaluator.run()", *task.report()],
        "finalize": ["$@failures.finish()"],
    }


def _surviving(transform: str) -> Config:
    return {
        "_target_": "pipeline.data.SurvivingCases",
        "data": "@cases",
        "transform": transform,
        "failures": "@failures",
    }


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
