"""The section of a plan that tells how the weights are made."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pipeline.planning.sections import Count, Fraction, Positive
from pipeline.sources.label_table import Section

__all__ = ["Augmentation", "Training"]


class Augmentation(Section):
    """Random changes of training images; a probability of 0 leaves one out.

    Attributes:
        affine_probability: of a rotation up to ``rotation_degrees``, a scaling up to ``scaling`` per axis and a shift
            up to ``translation_voxels``.
        elastic_probability: of a random displacement with a magnitude in ``elastic_voxels``, smoothed by a Gaussian
            with a sigma in ``elastic_sigma_voxels``, which takes most of the magnitude away.
        rotation_degrees: the largest rotation, about each axis, 0 to 180.
        scaling: the largest change of size, as a share of it, 0 to 1.
        translation_voxels: the largest shift, on the network's grid, 0 or more.
        elastic_voxels: the smallest and the largest magnitude of the displacement, before it is smoothed, above 0.
        elastic_sigma_voxels: the smallest and the largest sigma of that smoothing, above 0.
        mirror_axes: axes that may be flipped, 0 to 2; only where the anatomy allows it, hence none by default.
        noise_probability: of Gaussian noise, drawn for each voxel.
        noise_std: the largest standard deviation of that noise, of normalised intensities, 0 or more.
        blur_probability: of a Gaussian blur.
        blur_sigma_voxels: the smallest and the largest sigma of that blur.
        brightness_probability: of a multiplication of all intensities by one factor.
        brightness: that factor lies within 1 - ``brightness`` and 1 + ``brightness``; 0 to 1.
        shift_probability: of adding one number to all intensities.
        shift: the largest size of that number, of normalised intensities, 0 to 1.
        gamma_probability: of a change of contrast by a power of the intensities; mean and deviation stay.
        gamma: the smallest and the largest exponent, above 0; below 1 brightens.
        low_resolution_zoom: the smallest and the largest zoom, above 0; 0.5 halves the voxels along each axis.
        low_resolution_probability: of a downsampling by a zoom in ``low_resolution_zoom`` and back.
        channel_dropout: of each channel that a case may lack (of any channel, where none is ``optional``) to become 0;
            one always stays.
    """

    affine_probability: Fraction = 0.7
    rotation_degrees: Annotated[float, Field(ge=0, le=180)] = 15
    scaling: Fraction = 0.15
    translation_voxels: Annotated[float, Field(ge=0)] = 2
    elastic_probability: Fraction = 0.0
    elastic_voxels: tuple[Positive, Positive] = (20, 60)
    elastic_sigma_voxels: tuple[Positive, Positive] = (3, 4)
    mirror_axes: tuple[Annotated[int, Field(ge=0, le=2)], ...] = ()
    noise_probability: Fraction = 0.15
    noise_std: Annotated[float, Field(ge=0)] = 0.1
    blur_probability: Fraction = 0.15
    blur_sigma_voxels: tuple[float, float] = (0.5, 1.0)
    brightness_probability: Fraction = 0.3
    brightness: Fraction = 0.25
    shift_probability: Fraction = 0.3
    shift: Fraction = 0.1
    gamma_probability: Fraction = 0.3
    gamma: tuple[Positive, Positive] = (0.7, 1.5)
    low_resolution_probability: Fraction = 0.1
    low_resolution_zoom: tuple[Positive, Positive] = (0.5, 1.0)
    channel_dropout: Fraction = 0.0


class Training(Section):
    """How the weights are made.

    Attributes:
        epochs: how many there are at most; each sees every training case once.
        time_budget_minutes: wall clock after which the training ends, above 0; None trains all epochs.
        batch_size: cases of a step, 1 or more.
        learning_rate: the peak of the schedule: a linear warm-up over ``warmup`` of the training, then polynomial
            decay with ``decay_power``. Progress is that of the epochs or of the time budget, whichever is ahead.
        weight_decay: of AdamW, 0 or more; its usual 0.01 by default.
        warmup: the share of the training in which the learning rate rises, 0 to 1.
        decay_power: of the polynomial by which it falls, above 0; 1 is a straight line, 0.9 that of DeepLab.
        ema_momentum: share of the new weights in the exponential moving average, which is validated and kept.
        gradient_clip: the largest norm of all gradients together, above 0; 12 as in nnU-Net. None does not clip.
        include_background: whether the Dice part of a segmentation's loss counts the background as a class.
        batch_dice: whether that part is of the batch as a whole, which is steadier for small labels, or of each image.
        validate_every: epochs between validations; the last epoch is always validated.
        early_stopping: validations without a better mean Dice before the training stops; None never stops early.
        samples_per_case: patches that an image gives per epoch.
        foreground_fraction: share of patches centred on foreground; None crops anywhere.
        freeze_backbone: train the head alone, of a network that can (``MobileNetV2``), from weights that are given.
        seed: of the first weights and of every random choice.
        fold: the fold that validates; ``all`` trains on every fold, so that only the test part is left to score.
        augmentation: random changes of the training images.
        label_smoothing: share of a class's probability that the loss of a classification spreads over all classes.
    """

    epochs: Count
    time_budget_minutes: Positive | None = None
    batch_size: Count = 2
    learning_rate: Positive = 2e-3
    weight_decay: Annotated[float, Field(ge=0)] = 1e-2
    warmup: Fraction = 0.03
    decay_power: Positive = 0.9
    ema_momentum: Annotated[float, Field(gt=0, lt=1)] = 0.005
    gradient_clip: Positive | None = 12.0
    include_background: bool = True
    batch_dice: bool = False
    validate_every: Count = 1
    early_stopping: Count | None = None
    samples_per_case: Count = 1
    foreground_fraction: Fraction | None = None
    freeze_backbone: bool = False
    label_smoothing: Fraction = 0.0
    seed: int = 0
    fold: Annotated[int, Field(ge=0)] | Literal["all"] = 0
    augmentation: Augmentation = Augmentation()
