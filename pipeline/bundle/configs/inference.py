"""Configs of an applied network: ``inference.json`` and ``evaluate.json``."""

from __future__ import annotations

from pipeline.bundle.configs.parts import BOTH, Config, compose, inferer, network, places
from pipeline.bundle.configs.transforms import checks, geometry, intensities, loading
from pipeline.planning import Code, Label, Plan

__all__ = ["evaluate_config", "inference_config"]

# DICOM PS3.16 CID 7150, for labels to which the plan gives no code.
_ANATOMICAL_STRUCTURE = Code(value="91723000", meaning="Anatomical Structure")


def inference_config(plan: Plan) -> Config:
    """``inference.json``: any input to label maps in its own geometry."""
    return {
        **places(),
        "output_dir": "$@bundle_root + '/output'",
        "series": None,
        "weights": "$@bundle_root + '/models/model.pt'",
        **network(plan),
        "failures": {"_target_": "pipeline.data.CaseFailures"},
        "cases": {"_target_": "pipeline.data.find_inputs", "dataset_dir": "@dataset_dir", "series": "@series"},
        "preprocessing": compose(
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
        "inferer": inferer(plan, mirrored=True),
        "postprocessing": compose(
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


def evaluate_config(plan: Plan) -> Config:
    """``evaluate.json``, over ``train.json``: Dice of held-out cases on their own grids."""
    return {
        "output_dir": "$@bundle_root + '/eval'",
        "weights": "$@ckpt_dir + '/model.pt'",
        "subset": "test",
        "failures": {"_target_": "pipeline.data.CaseFailures"},
        "scores": {"_target_": "pipeline.evaluation.ScoreTable", "labels": "@labels"},
        "cases": "$@split.select(@subset, @fold)",
        "validate::preprocessing": compose(
            loading(BOTH), *checks(plan, label=True), *geometry(plan, ["image"]), *intensities(plan)
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
        "validate::inferer": inferer(plan, mirrored=True),
        "validate::postprocessing": compose(*_to_input_grid("@validate::preprocessing")),
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
        "modifier": None if label.modifier is None else code(label.modifier),
        "color": label.color if label.color is None else list(label.color),
    }
