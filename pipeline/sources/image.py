"""An input as one object: what it is and where it lies, told from headers, and its voxels when they are asked for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from pipeline.errors import InputError, one_line
from pipeline.memory import check_fits
from pipeline.sources.kinds import describe, dicom_pictures, is_dicom, is_label_object, is_picture
from pipeline.sources.paths import ImagePaths, channels_of, paths_of

__all__ = ["Options", "SourceImage", "open_image", "read_voxels"]

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
        check_fits((*image.size, image.channels), image.voxel_bytes, where=where)
        array, meta = image.load()
    except InputError:
        raise
    except Exception as error:
        raise InputError("cannot be read", where=where, got=one_line(error), cure="Is it whole?") from error
    if array.dtype.kind not in _REAL_KINDS:  # MONAI would drop the imaginary part
        raise InputError("voxels are not plain numbers", where=where, got=array.dtype)
    return array, meta


def open_image(source: ImagePaths, options: Options | None = None) -> SourceImage:
    """Say what lies at a path, without reading its voxels.

    Args:
        source: a volume, a picture, a DICOM file, a folder with a series, or a list of them: the channels of one
            image, or the parts of one DICOM series, see :func:`pipeline.sources.paths.channels_of`.
        options: how it is read.

    Raises:
        InputError: nothing is there, it is no regular file and no folder, an empty file, or an RTSTRUCT or SEG.
    """
    options = options or Options()
    paths = paths_of(source)
    for path in paths:
        _check(path)
    first = paths[0]
    if options.series is None and is_picture(first):
        from pipeline.sources.picture import Picture

        return Picture([file for path in paths for file in (dicom_pictures(path) or [path])], options)
    channels = channels_of(source) if options.series is None else (paths,)
    if len(channels) > 1:
        from pipeline.sources.channels import Channels

        return Channels(channels, options)
    if first.is_dir() or is_dicom(first):
        from pipeline.sources.series import DicomSeries  # with highdicom, which takes long to import

        return DicomSeries(paths, options)
    from pipeline.sources.volumes import open_volume

    return open_volume(paths, options)


def _check(path: Path) -> None:
    if not path.exists():
        raise InputError("no such file or folder", where=path)
    if path.is_dir():
        return
    if not path.is_file():
        raise InputError("is no file and no folder", where=path, got=describe(path))
    if path.stat().st_size == 0:
        raise InputError("file is empty", where=path, cure="Copy it again from its source")
    if is_label_object(path):
        raise InputError(
            "is a DICOM RTSTRUCT or SEG, not an image",
            where=path,
            cure="For training, give the plan's labels their source_names and build the bundle again",
        )
