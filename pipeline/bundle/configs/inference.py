"""Configs of an applied network: ``inference.json`` and ``evaluate.json``."""

from __future__ import annotations

from pipeline.bundle.configs.parts import Config, channels, compose, labels, network, places
from pipeline.bundle.configs.tasks import task_of
from pipeline.planning import Plan

__all__ = ["evaluate_config", "inference_config"]

_LOAD_WEIGHTS = {"_target_": "pipeline.handlers.LoadWeights", "path": "@weights", "network": "@network"}
_PROGRESS = {"_target_": "pipeline.handlers.CaseProgress", "total": "$len(@cases)"}
# Nothing where there is no calibration beside the weights.
_QUALITY = {"_target_": "pipeline.evaluation.QualityTable", "weights": "@weights",
            "folder": "@output_dir"}  # fmt: skip
_PREDICT_QUALITY = {"_target_": "pipeline.handlers.PredictQuality", "table": "@quality"}
_CHECK = {"_target_": "pipeline.bundle.check_run", "dataset_dir": "@dataset_dir", "weights": "@weights",
          "output_dir": "@output_dir"}  # fmt: skip


def inference_config(plan: Plan) -> Config:
    """``inference.json``: any input to label maps in its own geometry, or to a table of probabilities."""
    task = task_of(plan)
    predictions = task.predictions()
    quality = plan.task == "segmentation"
    return {
        **places(),
        "output_dir": "$@bundle_root + '/output'",
        "series": None,
        "untilt": False,
        **({"probabilities": None} if plan.task == "segmentation" else {}),
        "engine": plan.inference.engine,
        "weights": "$@bundle_root + '/models/model.pt'",
        **network(plan),
        "failures": {"_target_": "pipeline.data.CaseFailures"},
        "cases": {"_target_": "pipeline.data.find_inputs", "dataset_dir": "@dataset_dir", "series": "@series",
                  "dimensions": plan.dimensions, "output_dir": "@output_dir", **channels(plan)},
        "case_threads": _case_threads(plan, series="@series"),
        "preprocessing": compose(*task.preprocessing("inference", series="@series", untilt="@untilt")),
        "dataset": {**_surviving("@preprocessing"), **task.longest_suffix()},
        "dataloader": {"_target_": "DataLoader", "dataset": "@dataset", "batch_size": 1, "num_workers": 0},
        "inferer": task.inferer(mirrored=True, probabilities="@probabilities"),
        **({"quality": _QUALITY} if quality else {}),
        "postprocessing": compose(*task.result(), *_behind(task.saving())),
        **({} if predictions is None else {"labels": labels(plan), "scores": task.table()}),
        "handlers": [_LOAD_WEIGHTS, *([] if predictions is None else [task.scoring()]),
                     *([_PREDICT_QUALITY] if quality else []), _PROGRESS],
        "evaluator": _case_evaluator(dataloader="@dataloader", handlers="@handlers", postprocessing="@postprocessing",
                                     inferer="$@quality.watching(@inferer)" if quality else "@inferer"),
        "initialize": [_CHECK],
        "run": ["$@evaluator.run()", *([] if predictions is None else [predictions]),
                *(["$@quality.write(@failures.reasons)"] if quality else [])],
        "finalize": ["$@failures.finish()"],
    }  # fmt: skip


def evaluate_config(plan: Plan) -> Config:
    """``evaluate.json``, over ``train.json``: scores of held-out cases, of segmentations on the cases' own grids."""
    task = task_of(plan)
    return {
        "output_dir": "$@bundle_root + '/eval'",
        "weights": "$@ckpt_dir + '/model.pt'",
        "subset": "test",
        "engine": plan.inference.engine,
        "failures": {"_target_": "pipeline.data.CaseFailures"},
        "scores": task.table(),
        **task.evaluation(),
        "cases": "$@split.select(@subset, @fold)",
        "case_threads": _case_threads(plan),
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
        "case_threads": "@case_threads",
    }


def _case_threads(plan: Plan, *, series: str | None = None) -> Config:
    """What reads a case ahead and writes one behind."""
    fits = {"_target_": "pipeline.data.FitsAhead", "channels": len(plan.data.channels)}
    return {
        "_target_": "pipeline.data.CaseThreads",
        "cases": "@cases",
        "failures": "@failures",
        "fits": fits if series is None else {**fits, "series": series},
    }


def _behind(saving: list[Config]) -> list[Config]:
    if not saving:
        return []
    transform = saving[0] if len(saving) == 1 else compose(*saving)
    return [{"_target_": "pipeline.transforms.WriteBehind", "transform": transform, "case_threads": "@case_threads"}]


def _case_evaluator(*, dataloader: str, handlers: str, postprocessing: str, inferer: str = "@inferer") -> Config:
    return {
        "_target_": "pipeline.handlers.CaseEvaluator",
        "failures": "@failures",
        "case_threads": "@case_threads",
        "device": "@device",
        "val_data_loader": dataloader,
        "network": "@network",
        "inferer": inferer,
        "postprocessing": postprocessing,
        "val_handlers": handlers,
    }
