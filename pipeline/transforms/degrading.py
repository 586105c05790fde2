"""Images that are worse than those of a data set, in stated ways and strengths."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from pipeline.errors import InputError

__all__ = ["DEGRADATIONS", "Degradation", "degrade"]

Kind: TypeAlias = Literal["none", "noise", "blur", "shift", "crop", "gamma", "bias"]
Image: TypeAlias = npt.NDArray[np.float32]
Labels: TypeAlias = npt.NDArray[np.uint8]


class Degradation(NamedTuple):
    """What is done to an image, and how strongly.

    Attributes:
        kind: ``noise``: Gaussian, ``strength`` times the image's standard deviation. ``blur``: Gaussian of that many
            voxels. ``shift``: the field of view moves by that share of a random axis; what comes in is the image's
            minimum. ``crop``: that share of a random axis is cut off. ``gamma``: the values between minimum and
            maximum, as 0 to 1, to the power of ``strength``. ``bias``: times exp(strength x), where x runs from about
            -1 to 1 along a random direction. ``none``: nothing.
        strength: see there.
    """

    kind: Kind
    strength: float = 0.0

    def __str__(self) -> str:
        return self.kind if self.kind == "none" else f"{self.kind} {self.strength:g}"


DEGRADATIONS = (
    Degradation("none"),
    *(Degradation("noise", s) for s in (0.25, 0.5, 1.0, 2.0)),
    *(Degradation("blur", s) for s in (0.75, 1.5, 2.0, 3.0)),
    *(Degradation("shift", s) for s in (0.05, 0.1, 0.2)),
    *(Degradation("crop", s) for s in (0.1, 0.2, 0.3)),
    Degradation("bias", 0.5),
)
"""What a calibration and its test see of each case."""


def degrade(
    image: Image, labels: Labels, how: Degradation, generator: np.random.Generator
) -> tuple[Image, Labels, tuple[int, ...]]:
    """Degrade an image; labels move with it.

    Args:
        image: shape (C, X, Y[, Z]).
        labels: shape (1, X, Y[, Z]).
        how: kind and strength.
        generator: of the noise, axes and sides.

    Returns:
        The image, its labels, and the voxel of the old grid at which the new one begins: all 0 but for a crop.

    Raises:
        InputError: there is no such kind.
    """
    corner = (0,) * (image.ndim - 1)
    if how.kind == "none":
        return image, labels, corner
    if how.kind in ("shift", "crop"):
        return _moved(image, labels, how, generator)
    rank, least, most = image.ndim - 1, float(image.min()), float(image.max())
    worse: npt.NDArray[Any]
    if how.kind == "noise":
        worse = image + generator.normal(0.0, how.strength * float(image.std()), image.shape)
    elif how.kind == "blur":
        worse = ndimage.gaussian_filter(image, [0.0] + [how.strength] * rank)
    elif how.kind == "gamma":
        worse = ((image - least) / max(most - least, 1e-12)) ** how.strength * (most - least) + least
    elif how.kind == "bias":
        worse = (image - least) * np.exp(how.strength * _ramp(image.shape[1:], generator)) + least
    else:
        raise InputError("no such degradation", where=how.kind, expected="noise, blur, shift, crop, gamma or bias")
    return worse.astype(np.float32), labels, corner


def _ramp(shape: tuple[int, ...], generator: np.random.Generator) -> npt.NDArray[np.float64]:
    direction = generator.normal(size=len(shape))
    length = float(np.sqrt((direction**2).sum()))
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij", sparse=True)
    ramp: npt.NDArray[np.float64] = np.zeros(shape)
    for part, axis in zip(direction.tolist(), axes, strict=True):
        ramp += part / length * axis
    return ramp


def _moved(
    image: Image, labels: Labels, how: Degradation, generator: np.random.Generator
) -> tuple[Image, Labels, tuple[int, ...]]:
    rank = image.ndim - 1
    axis, forward = int(generator.integers(rank)), bool(generator.integers(2))
    length = image.shape[1 + axis]
    lost = min(round(how.strength * length), length - 1)
    kept = slice(lost, length) if forward else slice(0, length - lost)
    inside = (*[slice(None)] * (1 + axis), kept)
    corner = tuple(lost if forward and dim == axis else 0 for dim in range(rank))
    if how.kind == "crop":
        return image[inside], labels[inside], corner
    target = (*[slice(None)] * (1 + axis), slice(0, length - lost) if forward else slice(lost, length))
    moved, moved_labels = np.full_like(image, float(image.min())), np.zeros_like(labels)
    moved[target], moved_labels[target] = image[inside], labels[inside]
    return moved, moved_labels, (0,) * rank
