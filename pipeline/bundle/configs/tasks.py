"""What segmentation and classification do differently in a bundle's configs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

from pipeline.bundle.configs.parts import Config, compose, dense_inferer, fastest, streaming_inferer
from pipeline.bundle.configs.transforms import checks, geometry, in_place, intensities, loading
from pipeline.bundle.literal import literal
from pipeline.planning import Plan
from pipeline.sources.label_table import segment_arguments

__all__ = ["Classification", "Segmentation", "Task", "task_of"]

Use = Literal["training", "validation", "evaluation", "inference"]
_PREDICTION_AND_LABEL = "$monai.handlers.from_engine(['pred', 'label'])"


class Task(ABC):
    """The parts of a config that depend on the task.

    Attributes:
        keys: the images, label maps included, that every change of the geometry must meet alike.
    """

    keys: tuple[str, ...]

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    @abstractmethod
    def preprocessing(self, use: Use, *, series: str | None = None, untilt: str | None = None) -> list[Config]:
        """Load, check, and bring to the network's grid and intensities.

        Args:
            use: only an ``inference`` has no labels; an ``evaluation`` leaves label maps on their own grid.
            series: a reference to the DICOM series to take.
            untilt: a reference to whether tilted DICOM series are brought to an upright grid.
        """

    @abstractmethod
    def split(self) -> Config:
        """What ``DataSplit`` must know about the labels."""

    @abstractmethod
    def loss(self) -> Config:
        """The loss of a training."""

    @abstractmethod
    def inferer(self, *, mirrored: bool, probabilities: str | None = None) -> Config:
        """How the network is applied.

        Args:
            mirrored: as a finished one: averaged over the plan's flips and, of a segmentation, with label maps on the
                input's own grid; else as a validation needs it, on the network's grid.
            probabilities: a reference to the classes of a segmentation whose probabilities a finished one writes.
        """

    @abstractmethod
    def validation(self) -> Config:
        """The postprocessing and the metrics of a validation; the first key metric is the one that counts."""

    @abstractmethod
    def metric(self) -> Config:
        """What handlers must know of the key metric: its name, and what people call it."""

    @abstractmethod
    def result(self) -> list[Config]:
        """From the inferer's output to what people want, label maps or probabilities."""

    @abstractmethod
    def saving(self) -> list[Config]:
        """Write a result to disk, as steps of the postprocessing."""

    def longest_suffix(self) -> Config:
        """What the dataset must know of the files that each case gets."""
        return {}

    @abstractmethod
    def table(self) -> Config:
        """The table that an evaluation fills."""

    @abstractmethod
    def scoring(self) -> Config:
        """The handler that fills it."""

    @abstractmethod
    def report(self) -> list[Config]:
        """What ends an evaluation."""

    def evaluation(self) -> Config:
        """Further entries of ``evaluate.json``."""
        return {}

    def predictions(self) -> Config | None:
        """What ends an inference, beyond the files of the cases."""
        return None


class Segmentation(Task):
    """A label per voxel."""

    keys = ("image", "label")

    def preprocessing(self, use: Use, *, series: str | None = None, untilt: str | None = None) -> list[Config]:
        """See :class:`Task`."""
        plan, labelled = self.plan, use != "inference"
        moved = ["image", "label"] if use in ("training", "validation") else ["image"]
        return [
            *loading(plan, label=labelled, series=series, untilt=untilt),
            *checks(plan, label=labelled),
            *([] if labelled else [{"_target_": "pipeline.transforms.CheckSourced", "keys": ["image"]}]),
            *geometry(plan, moved),
            *(intensities(plan) if labelled else in_place(intensities(plan))),
        ]

    def split(self) -> Config:
        """See :class:`Task`."""
        outlined = any(label.source_names for label in self.plan.labels)
        return {"modality": literal(self.plan.data.modality)} if outlined else {}

    def loss(self) -> Config:
        """See :class:`Task`."""
        training = self.plan.training
        return {"_target_": "DiceCELoss", "include_background": training.include_background, "to_onehot_y": True,
                "softmax": True, "batch": training.batch_dice}  # fmt: skip

    def inferer(self, *, mirrored: bool, probabilities: str | None = None) -> Config:
        """See :class:`Task`."""
        return streaming_inferer(self.plan, probabilities) if mirrored else dense_inferer(self.plan)

    def validation(self) -> Config:
        """See :class:`Task`."""
        classes = self.plan.channel_count
        return {
            "postprocessing": compose(
                {"_target_": "AsDiscreted", "keys": ["pred"], "argmax": True, "to_onehot": classes},
                {"_target_": "AsDiscreted", "keys": ["label"], "to_onehot": classes},
            ),
            "key_metric": {"val_mean_dice": {"_target_": "MeanDice", "include_background": False,
                                             "output_transform": _PREDICTION_AND_LABEL}},
        }  # fmt: skip

    def metric(self) -> Config:
        """See :class:`Task`."""
        return {}  # the handlers' defaults

    def result(self) -> list[Config]:
        """See :class:`Task`; the inferer has decided on the labels, on the input's grid."""
        return []

    def saving(self) -> list[Config]:
        """See :class:`Task`."""
        return [
            {
                "_target_": "pipeline.transforms.SaveSegmentationd",
                "keys": ["pred"],
                "output_dir": "@output_dir",
                "segments": [literal(segment_arguments(label)) for label in self.plan.labels],
                "algorithm": literal(self.plan.title),
                "version": self.plan.version,
                "cases": "@cases",
            }
        ]

    def longest_suffix(self) -> Config:
        """See :class:`Task`."""
        return {"suffix": "_overlay.png" if self.plan.dimensions == 2 else ".nii.gz"}  # noqa: PLR2004

    def table(self) -> Config:
        """See :class:`Task`."""
        tolerances = {str(label.value): label.tolerance_mm for label in self.plan.labels}
        return {"_target_": "pipeline.evaluation.ScoreTable", "labels": "@labels", "tolerance_mm": tolerances}

    def scoring(self) -> Config:
        """See :class:`Task`."""
        return {"_target_": "pipeline.handlers.ScoreCases", "table": "@scores", "gallery": "@gallery"}

    def evaluation(self) -> Config:
        """See :class:`Task`: whether a report is written, and the label maps of the cases that it shows."""
        return {"report": True, "gallery": {"_target_": "pipeline.reports.html.CaseGallery"}}

    def report(self) -> list[Config]:
        """See :class:`Task`."""
        return [
            {"_target_": "pipeline.evaluation.report_scores", "table": "@scores", "failures": "$@failures.reasons",
             "folder": "@output_dir", "subset": "@subset", "patients": "$@split.patients()",
             "bundle": "@bundle_root", "weights": "@weights", "datalist": "@datalist_file"},
            {"_target_": "pipeline.reports.html.report_evaluation", "table": "@scores", "gallery": "@gallery",
             "folder": "@output_dir", "cases": "@cases", "weights": "@weights",
             "_disabled_": "$not @report"},
        ]  # fmt: skip


class Classification(Task):
    """A class per image, or several where the plan is multi-label."""

    keys = ("image",)

    def preprocessing(self, use: Use, *, series: str | None = None, untilt: str | None = None) -> list[Config]:
        """See :class:`Task`; but for training, the network sees the plan's window from the centre of the image."""
        plan = self.plan
        window = {
            "_target_": "ResizeWithPadOrCropd",
            "keys": ["image"],
            "spatial_size": list(plan.preprocessing.window),
        }
        return [
            *loading(plan, label=False, series=series, untilt=untilt),
            *checks(plan, label=False),
            *geometry(plan, ["image"]),
            *intensities(plan),
            *([] if use == "training" else [window]),
            *([] if use == "inference" else [self._target()]),
        ]

    def _target(self) -> Config:
        kind = "float32" if self.plan.multi_label else "int64"
        return {"_target_": "ToTensord", "keys": ["label"], "dtype": f"$torch.{kind}", "track_meta": False}

    def split(self) -> Config:
        """See :class:`Task`."""
        return {"classes": [literal(label.name) for label in self.plan.labels], "multi_label": self.plan.multi_label}

    def loss(self) -> Config:
        """See :class:`Task`."""
        if self.plan.multi_label:
            return {"_target_": "torch.nn.BCEWithLogitsLoss"}
        return {"_target_": "torch.nn.CrossEntropyLoss", "label_smoothing": self.plan.training.label_smoothing}

    def inferer(self, *, mirrored: bool, probabilities: str | None = None) -> Config:  # noqa: ARG002
        """See :class:`Task`."""
        simple = {"_target_": "SimpleInferer"}
        if not mirrored:
            return {"_target_": "pipeline.inferers.AutocastInferer", "inferer": simple}
        axes = list(self.plan.inference.mirror_axes)
        flips = {"_target_": "pipeline.inferers.MirroredInferer", "inferer": simple, "axes": axes}
        return fastest(flips if axes else simple)

    def validation(self) -> Config:
        """See :class:`Task`."""
        return {
            "postprocessing": compose(*self.result()),
            "key_metric": {"val_roc_auc": {"_target_": "pipeline.handlers.RocAuc", "classes": self.plan.channel_count,
                                           "output_transform": _PREDICTION_AND_LABEL}},
        }  # fmt: skip

    def metric(self) -> Config:
        """See :class:`Task`."""
        return {"metric": "val_roc_auc", "title": "ROC AUC"}

    def result(self) -> list[Config]:
        """See :class:`Task`."""
        kind = "sigmoid" if self.plan.multi_label else "softmax"
        return [{"_target_": "Activationsd", "keys": ["pred"], kind: True}]

    def saving(self) -> list[Config]:
        """See :class:`Task`; the table is written at the end, see :meth:`predictions`."""
        return []

    def table(self) -> Config:
        """See :class:`Task`."""
        return {"_target_": "pipeline.evaluation.ClassificationTable", "classes": "@labels",
                "multi_label": self.plan.multi_label}  # fmt: skip

    def scoring(self) -> Config:
        """See :class:`Task`."""
        return {"_target_": "pipeline.handlers.ScoreClasses", "table": "@scores"}

    def report(self) -> list[Config]:
        """See :class:`Task`."""
        return [
            {"_target_": "pipeline.reports.report_classification", "table": "@scores",
             "failures": "$@failures.reasons", "folder": "@output_dir", "subset": "@subset",
             "cases": "@cases", "references": "$@split.references()",
             "patients": "$@split.patients()", "bundle": "@bundle_root", "weights": "@weights",
             "datalist": "@datalist_file"},
            {"_target_": "pipeline.reports.html.report_classes", "table": "@scores", "folder": "@output_dir",
             "cases": "@cases", "network": "@network", "preprocessing": "@validate::preprocessing",
             "device": "@device", "weights": "@weights"},
        ]  # fmt: skip

    def predictions(self) -> Config:
        """See :class:`Task`."""
        return {"_target_": "pipeline.reports.report_predictions", "table": "@scores",
                "failures": "$@failures.reasons", "folder": "@output_dir", "cases": "@cases"}  # fmt: skip


def task_of(plan: Plan) -> Task:
    """The parts for a plan's task."""
    return (Classification if plan.task == "classification" else Segmentation)(plan)
