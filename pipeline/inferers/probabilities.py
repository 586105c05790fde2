"""Probabilities of chosen classes, written to disk slab by slab."""

from __future__ import annotations

import json
import shutil
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from pipeline.data.mapped import MappedVolume
from pipeline.errors import InputError
from pipeline.sources.given import given_path
from pipeline.writing import temporary_path

__all__ = ["ImageMaps", "ProbabilityMaps"]

_ALL = "all"


@dataclass(frozen=True, kw_only=True)
class ImageMaps:
    """The maps of one image, on the input's grid.

    Attributes:
        names: of all channels.
        axes: for each axis of the input, the axis of the network's grid that it lies along.
        volumes: by their channels.
    """

    names: tuple[str, ...]
    axes: tuple[int, ...]
    volumes: dict[int, MappedVolume]

    @classmethod
    @contextmanager
    def made(cls, wanted: ProbabilityMaps | None, size: Sequence[int], axes: Sequence[int]) -> Iterator[ImageMaps]:
        """The empty maps of an image, for a block that fills them; if it fails, nothing is left of them.

        Args:
            wanted: which maps.
            size: voxels along each axis of the input's grid.
            axes: for each of these axes, the axis of the network's grid that it lies along.

        Raises:
            InputError: they cannot be written, or there is no space for them.
        """
        if wanted is None or not wanted.channels:
            yield cls(names=(), axes=tuple(axes), volumes={})
            return
        try:
            wanted.folder.mkdir(parents=True, exist_ok=True)
            folder = temporary_path(wanted.folder)
            folder.mkdir()
        except OSError as error:
            raise InputError("cannot be written", where=wanted.folder, got=error.strerror) from error
        remove = weakref.finalize(wanted, shutil.rmtree, folder, ignore_errors=True)
        try:
            volumes = {channel: MappedVolume.allocate(folder / f"{channel}.nii", size) for channel in wanted.channels}
            yield cls(names=wanted.names, axes=tuple(axes), volumes=volumes)
        except BaseException:  # Ctrl-C too
            remove()
            raise

    def write(self, channel: int, place: Sequence[slice], values: torch.Tensor) -> None:
        """Write a block; the axes of ``place``, slices with both ends, and of ``values`` are in the network's order."""
        self.volumes[channel].write([place[axis] for axis in self.axes], np.asarray(values.permute(*self.axes).cpu()))

    def told(self) -> dict[str, str]:
        """What the metadata of a result says of them: one string survives the collation of cases.

        ``probability_maps`` is JSON, the path of each class's file by its name.
        """
        files = {self.names[channel]: str(one.path) for channel, one in self.volumes.items()}
        return {"probability_maps": json.dumps(files)} if files else {}


class ProbabilityMaps:
    """Which classes' probabilities to keep, and where: a file for each, which no tensor ever holds as a whole.

    The files of an image lie in a hidden folder within ``folder``, so that whoever saves them only renames them. They
    are removed where the image fails, and what nobody took when this object or the process ends.

    Args:
        classes: the names of the classes, one name, or ``all`` for all but the background of ``argmax``; None for none.
        names: the name of each channel of the network's output.
        folder: where the results will be; made when needed.

    Raises:
        InputError: a class has another name.
    """

    def __init__(self, *, classes: Sequence[str] | str | None, names: Sequence[str], folder: str | Path) -> None:
        self.names = tuple(names)
        self.channels = _channels(classes, self.names)
        self.folder = given_path(folder).absolute()  # see existing_path


def _channels(classes: Sequence[str] | str | None, names: Sequence[str]) -> tuple[int, ...]:
    wanted = [classes] if isinstance(classes, str) else list(classes or ())
    found: list[int] = []
    for one in map(str, wanted):
        if one in names:
            found.append(names.index(one))
        elif one == _ALL:
            found += [channel for channel, name in enumerate(names) if name != "background"]
        else:
            raise InputError(
                "no such class", where="probabilities", expected=f"{_ALL}, or some of {', '.join(names)}", got=one
            )
    return tuple(dict.fromkeys(found))
