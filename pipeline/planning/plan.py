"""The plan of a bundle: the one source from which its configs are built."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from pipeline.planning.channels import Channels
from pipeline.planning.network import Network
from pipeline.planning.normalization import PHOTOGRAPHS, Normalization
from pipeline.planning.sections import Count, Engine, Positive
from pipeline.planning.training import Training
from pipeline.sources.label_table import Label, Section

__all__ = ["Plan", "Preprocessing"]


class Data(Section):
    """What the network was made for and what it was trained on.

    Attributes:
        modality: DICOM modality, or PNG-like sources by their technique (US, CR ...).
        channels: the name of each image channel, in order, or what else tells it, see
            :class:`pipeline.planning.channels.Channel`. Pictures are read with as many: 1 is grey, 3 RGB, 4 RGBA.
        source: the data set and how to cite it.
        license: the data set's licence.
        patient_pattern: a regular expression whose first group in a case's name is the patient; the whole name
            when absent. Splits never separate one patient's cases.
        test_fraction: the share of patients that is kept for testing.
        folds: the number of cross-validation folds that the other patients are dealt into.
        split_seed: the seed of that deal.
    """

    modality: str
    channels: Channels
    source: str
    license: str
    patient_pattern: str | None = None
    test_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.1
    folds: Annotated[int, Field(ge=2)] = 5
    split_seed: int = 0

    @field_validator("patient_pattern")
    @classmethod
    def _has_one_group(cls, pattern: str | None) -> str | None:
        try:
            groups = 1 if pattern is None else re.compile(pattern).groups
        except re.error:
            groups = 0
        if groups < 1:
            raise ValueError("must be a regular expression with one (group) for the patient")
        return pattern


class Preprocessing(Section):
    """The grid and the intensities that the network sees; the steps are taken in the order of the fields.

    Attributes:
        orientation: anatomical axis codes of a 3D grid; ignored in 2D.
        spacing_mm: voxel size in ``orientation`` order, of a 3D grid; None keeps each image's own.
        median_radius: of a median filter over 2 radius + 1 voxels per axis, on the image's own grid.
        resize: the size, in axis order (width, height in 2D), that each image is brought to; None keeps its own.
        keep_aspect: fit the image into ``resize`` without distortion and pad the rest with zeros.
        center_crop: the size that is cut from the centre after that; None cuts nothing.
        window: the sliding window and training patch, in voxels, in axis order; what a classifier sees.
        normalization: the intensity normalisation.
    """

    orientation: Annotated[str, Field(pattern=r"^[RL][AP][SI]$")] = "RAS"
    spacing_mm: tuple[Positive, ...] | None = None
    median_radius: Count | None = None
    resize: tuple[Count, ...] | None = None
    keep_aspect: bool = False
    center_crop: tuple[Count, ...] | None = None
    window: tuple[Count, ...]
    normalization: Normalization

    @model_validator(mode="after")
    def _resizes(self) -> Preprocessing:
        if self.keep_aspect and (self.resize is None or len(set(self.resize)) > 1):
            raise ValueError("keep_aspect needs a resize to a square")
        return self


class Inference(Section):
    """How a trained network is applied.

    Attributes:
        overlap: share of the window by which neighbouring windows overlap.
        window_batch: windows that the network sees at a time.
        mirror_axes: axes over whose flips the logits or probabilities are averaged; 2 ** n times the work.
        skip_below: the air rule of a segmentation: a window none of whose voxels, in any channel, is above this is not
            computed and counts as background. It is compared with what the network sees, intensities after the plan's
            ``normalization``: 0 is the lower end of a ``ct_window`` and of a ``percentile`` range; after a ``zscore``
            air has another value in each image, and no number fits all. None computes every window.
        max_slab_mb: the most memory, in units of 10 ** 6 bytes, that a segmentation's logits may take at a time; see
            :class:`pipeline.inferers.StreamingInferer`.
        engine: what runs the network; see :class:`pipeline.inferers.FastestInferer`.
    """

    overlap: Annotated[float, Field(ge=0, lt=1)] = 0.5
    window_batch: Count = 1
    mirror_axes: tuple[Annotated[int, Field(ge=0, le=2)], ...] = ()
    skip_below: Annotated[float, Field(allow_inf_nan=False)] | None = None
    max_slab_mb: Positive = 2048.0
    engine: Engine = "auto"


class Plan(Section):
    """A bundle's plan; :func:`pipeline.planning.load_plan` reads it from YAML.

    Attributes:
        name: of the bundle and its folder: small letters, digits and underscores, with the task's word at the end.
        title: what people call it, in reports and DICOM objects.
        version: of the bundle, three numbers.
        description: what the bundle does, in a sentence or two.
        intended_use: what it is for and what it is not for.
        authors: of the bundle.
        copyright: of the bundle; the data's licence stands in ``data``.
        references: publications on the data or the method; none by default.
        changelog: what changed, by version; "first version" by default.
        task: a label for each voxel, or a class for each image.
        multi_label: whether several classes of a classification may hold for one image.
        dimensions: 3 for volumes, 2 for pictures.
        data: what the network is made for and trained on.
        labels: one for each value but the background of a segmentation, from 1 on; for each class, from 0 on.
        preprocessing: from a file to what the network sees.
        network: a class of networks by ``_target_``, with its arguments, as a MONAI config has it.
        training: how the weights are made.
        inference: how they are applied.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9_]+$")]
    title: str
    version: Annotated[str, Field(pattern=r"^\d+\.\d+\.\d+$")]
    description: str
    intended_use: str
    authors: str
    copyright: str
    references: tuple[str, ...] = ()
    changelog: dict[Annotated[str, Field(pattern=r"^[0-9A-Za-z][\w.+ -]*$")], str] = Field(default_factory=dict)
    task: Literal["segmentation", "classification"]
    multi_label: bool = False
    dimensions: Literal[2, 3]
    data: Data
    labels: Annotated[tuple[Label, ...], Field(min_length=1)]
    preprocessing: Preprocessing
    network: Network
    training: Training
    inference: Inference = Inference()

    @model_validator(mode="after")
    def _consistent(self) -> Plan:
        first = 1 if self.task == "segmentation" else 0
        values = [label.value for label in self.labels]
        if values != list(range(first, first + len(values))):
            raise ValueError(f"labels: values must be {first}, {first + 1}, ... in order, got {values}")
        if len({label.name for label in self.labels}) != len(values):
            raise ValueError("labels: names must differ")
        if not self.name.endswith(f"_{self.task}"):
            # MONAI Label tells the task of a bundle by this word in the folder's name.
            raise ValueError(f"name: must end in _{self.task}, got {self.name}")
        if self.multi_label and self.task != "classification":
            raise ValueError("multi_label: is for classification")
        return self

    @model_validator(mode="after")
    def _source_names(self) -> Plan:
        if not any(label.source_names for label in self.labels):
            return self
        if self.task != "segmentation" or self.dimensions != 3:  # noqa: PLR2004
            raise ValueError("labels: source_names are for 3D segmentation")
        names = [{name.strip().casefold() for name in label.source_names or (label.name,)} for label in self.labels]
        if len(set().union(*names)) < sum(map(len, names)):
            raise ValueError("labels: source_names must differ between labels")
        return self

    @model_validator(mode="after")
    def _sizes(self) -> Plan:
        for field in ("window", "spacing_mm", "resize", "center_crop"):
            given = getattr(self.preprocessing, field)
            if given is not None and len(given) != self.dimensions:
                raise ValueError(f"preprocessing.{field}: expected {self.dimensions} numbers, got {len(given)}")
        if self.dimensions == 2 and self.preprocessing.spacing_mm is not None:  # noqa: PLR2004
            raise ValueError("preprocessing.spacing_mm: pictures have no spacing; use resize")
        if self.dimensions == 2 and self.training.augmentation.elastic_probability > 0:  # noqa: PLR2004
            raise ValueError("training.augmentation.elastic_probability: is for 3D only")  # MONAI's 2D one differs
        return self

    @model_validator(mode="after")
    def _channels(self) -> Plan:
        channels = self.data.channels
        if self.channel_rules and len({channel.name.casefold() for channel in channels}) < len(channels):
            raise ValueError("data.channels: names must differ")
        optional = [channel.name for channel in channels if channel.optional]
        if len(optional) == len(channels):
            raise ValueError("data.channels: one must not be optional")
        if optional and self.dimensions == 2:  # noqa: PLR2004
            raise ValueError("data.channels: optional is for 3D only")
        if optional and self.training.augmentation.channel_dropout == 0:
            raise ValueError(
                f"training.augmentation.channel_dropout: must be above 0, for {optional[0]} is optional, and a network "
                "must have been trained without it"
            )
        if len(channels) == 1 and self.training.augmentation.channel_dropout > 0:
            raise ValueError("training.augmentation.channel_dropout: needs several channels")
        return self

    @model_validator(mode="after")
    def _statistics_fit(self) -> Plan:
        rule, channels = self.preprocessing.normalization, len(self.data.channels)
        if rule.kind != "imagenet":
            return self
        if channels != 3:  # noqa: PLR2004 - red, green, blue
            raise ValueError(f"preprocessing.normalization: imagenet needs 3 channels, got {channels}")
        if self.data.modality not in PHOTOGRAPHS and not rule.reason:
            raise ValueError(
                f"preprocessing.normalization: ImageNet's statistics are of photographs, not of {self.data.modality}; "
                "say in `reason` why they are right here"
            )
        return self

    @property
    def channel_rules(self) -> list[dict[str, Any]] | None:
        """What tells the images of a case of several; None where each is one file, as a picture in colour is."""
        channels = self.data.channels
        colours = self.dimensions == 2 and len(channels) in (3, 4)  # noqa: PLR2004 - RGB or RGBA
        if len(channels) == 1 or (colours and not any(channel.files for channel in channels)):
            return None
        return [channel.rule for channel in channels]

    @property
    def channel_count(self) -> int:
        """Channels of the network's output: background and labels, or the classes."""
        return len(self.labels) + (1 if self.task == "segmentation" else 0)
