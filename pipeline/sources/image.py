"""An input as one object: what it is and where it lies, told from headers, and its voxels when they are asked for."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from pipeline.errors import InputError, one_line
from pipeline.memory import check_fits

__all__ = ["Options", "SourceImage", "read_voxels"]

_MOST_PIXELS = 5e8  # more than any detector has; whole slides are no pictures
_REAL_KINDS = "biuf"  # NumPy's letters for bool, integers and floats


@dataclass(frozen=True, kw_only=True)
class Options:
    """How an image is read.

    Attributes:
        series: the DICOM series to take where there are several: its UID, number or description.
        untilt: whether a DICOM series of a tilted gantry is brought to an upright grid; else it is refused.
        compact: whether voxels keep the smallest type that holds them, where the format allows.
        channels: the channels that a picture is given: 1, 3, 4, or None for those that it has.
        label: whether it is a label map; a picture then gives grey values or palette indices.
        colors: whether a label map that is a colour picture gives its colours.
    """

    series: str | None = None
    untilt: bool = False
    compact: bool = False
    channels: int | None = None
    label: bool = False
    colors: bool = False


class SourceImage(ABC):
    """One input, of one file or several.

    Attributes:
        files: that it is read from.
        options: how.
    """

    def __init__(self, files: Sequence[Path], options: Options) -> None:
        self.files = tuple(files)
        self.options = options

    @property
    @abstractmethod
    def kind(self) -> str:
        """The format."""

    @property
    @abstractmethod
    def size(self) -> tuple[int, ...]:
        """Voxels along each spatial axis: (X, Y, Z), or (X, Y) of a picture."""

    @property
    @abstractmethod
    def affine(self) -> npt.NDArray[np.float64]:
        """Voxel indices to RAS, in :attr:`unit`, shape (4, 4); the identity of a picture."""

    @property
    def unit(self) -> Literal["mm", "pixel"]:
        """What the affine measures in."""
        return "mm"

    @property
    def channels(self) -> int:
        """Values of a voxel."""
        return 1

    @property
    def voxel_bytes(self) -> int:
        """Bytes of each value of a voxel, as :meth:`load` gives it to a compact reader: 2 of short integers, else 4."""
        return 4

    @property
    def reading_bytes(self) -> float:
        """What is taken beside the voxels that :meth:`load` gives, where an image is interpolated while it is read."""
        return 0.0

    @abstractmethod
    def load(self) -> tuple[Any, dict[str, Any]]:
        """Read the voxels.

        Returns:
            The array, spatial axes first in x, y(, z) order, and the metadata of MONAI's readers with an affine to RAS.

        Raises:
            InputError: the file is damaged, or no sound volume.
            Exception: whatever the format's library raises on damage that has no name here.
        """


def read_voxels(image: SourceImage, *, where: Path) -> tuple[Any, dict[str, Any]]:
    """:meth:`SourceImage.load`, and in one line what went wrong.

    Raises:
        InputError: the image cannot be read, or its voxels are no real numbers.
    """
    try:
        _check_size(image, where)
        array, meta = image.load()
    except InputError:
        raise
    except Exception as error:
        raise InputError("cannot be read", where=where, got=one_line(error), cure="Is it whole?") from error
    if array.dtype.kind not in _REAL_KINDS:  # MONAI would drop the imaginary part
        raise InputError("voxels are not plain numbers", where=where, got=array.dtype)
    return array, meta


def _check_size(image: SourceImage, where: Path) -> None:
    check_fits((*image.size, image.channels), image.voxel_bytes, where=where)
    if image.unit == "pixel" and math.prod(image.size) > _MOST_PIXELS:
        size = " x ".join(map(str, image.size))
        raise InputError("is too large a picture", where=where, expected=f"at most {_MOST_PIXELS:.0e} pixels", got=size)
