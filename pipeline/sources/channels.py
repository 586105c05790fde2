"""Several images of one case as the channels of one, on the grid of the first.

The rules:

- A channel on the first one's grid, up to the order and direction of its axes, is taken as it is: axes are exchanged
  and flipped, and no value changes. Grids are one where no voxel is more than 0.01 of the first grid's voxels apart.
- A channel on another grid is interpolated linearly at the places of the first one's voxels. What lies more than half
  a voxel outside it gets the channel's own least value, in DICOM CT at most -1000 HU.
- DICOM tells the frame of reference (PS3.3 C.7.4.1); channels of two are refused. Where one tells none, as all other
  formats, the two are taken to lie in one space.
- Channels that have no place in common are refused.
"""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from monai.utils import MetaKeys

from pipeline.dicom.labels.lattice import Turn
from pipeline.dicom.path_text import joined
from pipeline.dicom.reading.tilt import outside_value
from pipeline.errors import InputError
from pipeline.sources.compact import compact_tensor
from pipeline.sources.image import Options, SourceImage, read_voxels

__all__ = ["Channels"]

logger = logging.getLogger(__name__)

_VOLUME = 3
_SHORT = 2  # bytes
_TOLERANCE_VOXELS = 0.01
_PROBES = 24  # points per axis by which it is told how much of a grid lies outside another


@dataclass(frozen=True)
class _Channel:
    path: Path
    values: npt.NDArray[Any]  # (X, Y, Z)
    affine: npt.NDArray[np.float64]  # 4x4, to RAS mm
    frame_of_reference: str = ""
    modality: str = ""


class Channels(SourceImage):
    """Several images that are the channels of one.

    Args:
        images: each by itself; None for one that the case lacks, which becomes zeros.
        channels: the paths of each, see :func:`pipeline.sources.paths.channels_of`.
        options: of each.
    """

    def __init__(
        self, images: Sequence[SourceImage | None], channels: Sequence[Sequence[Path]], options: Options
    ) -> None:
        super().__init__([path for paths in channels for path in paths], options)
        self._images = list(images)
        self._paths = [paths[0] if paths else None for paths in channels]

    @property
    def present(self) -> list[SourceImage]:
        """The images of the channels that the case has."""
        return [image for image in self._images if image is not None]

    @property
    def kind(self) -> str:
        """The format of the first."""
        return self.present[0].kind

    @property
    def size(self) -> tuple[int, ...]:
        """Voxels along each axis of the first."""
        return self.present[0].size

    @property
    def affine(self) -> npt.NDArray[np.float64]:
        """Voxel indices of the first to RAS mm, shape (4, 4)."""
        return self.present[0].affine

    @property
    def channels(self) -> int:
        """How many there are."""
        return len(self._images)

    @property
    def voxel_bytes(self) -> int:
        """2 where each channel has short integers on the grid of the first, else 4."""
        first = self.present[0]
        same = all(_turn(one.affine, one.size, first.affine, first.size) is not None for one in self.present)
        return max(one.voxel_bytes for one in self.present) if same else 4

    @property
    def reading_bytes(self) -> float:
        """The most that a channel on another grid takes: itself, a copy as float32, and the result with a copy."""
        first = self.present[0]
        other = [one for one in self.present if _turn(one.affine, one.size, first.affine, first.size) is None]
        results = 2 * 4 * math.prod(first.size)
        return max((math.prod(one.size) * (one.voxel_bytes + 4) + results for one in other), default=0.0)

    def load(self) -> tuple[npt.NDArray[Any], dict[str, Any]]:
        """Read the channels one by one.

        Returns:
            The channels, shape (C, X, Y[, Z]), each with its first axis fastest in memory, of the first one's type
            where it holds all values; and the metadata of the first that is there, with ``channel_files``, the first
            path of each, joined by newlines, and ``absent_channels``, the indices of those without paths, joined by
            blanks.

        Raises:
            InputError: a channel is no single volume, lies in another frame of reference, or apart from the first.
        """
        stack: npt.NDArray[Any] | None = None
        first: _Channel | None = None
        about: dict[str, Any] = {}
        for index, (image, path) in enumerate(zip(self._images, self._paths, strict=True)):
            if image is None or path is None:
                continue
            array, meta = read_voxels(image, where=path)
            one = _channel(compact_tensor(array).numpy() if self.options.compact else array, meta, path)
            if first is None or stack is None:
                first, about, values = replace(one, values=np.empty(0)), meta, one.values
                # What will hold all of them at once: to change the type later takes both.
                dtype = np.dtype(np.float32) if self.options.compact and self.voxel_bytes > _SHORT else values.dtype
                stack = _blank(len(self._images), values.shape, dtype)
            else:
                values = _on_grid(one, first, stack.shape[1:])
                stack = stack.astype(np.result_type(stack.dtype, values.dtype), copy=False)
            stack[index] = values
            del array, one, values  # before the next is read
        if stack is None:
            raise InputError("the case has no image")
        absent = [str(index) for index, path in enumerate(self._paths) if path is None]
        about = {
            **about,
            MetaKeys.ORIGINAL_CHANNEL_DIM.value: 0,
            "channel_files": joined("" if path is None else path for path in self._paths),
            "absent_channels": " ".join(absent),
        }
        flat = len(np.asarray(about[MetaKeys.SPATIAL_SHAPE.value]).ravel()) < _VOLUME
        return (stack[..., 0] if flat else stack), about


def _channel(array: npt.NDArray[Any], meta: dict[str, Any], path: Path) -> _Channel:
    rank = len(np.asarray(meta[MetaKeys.SPATIAL_SHAPE.value]).ravel())
    values = array
    while values.ndim > rank and values.shape[-1] == 1:
        values = values[..., 0]
    if values.ndim > rank or rank > _VOLUME:
        raise InputError(
            "one of several images of a case holds several channels itself",
            where=path,
            expected="one channel a file, or all of them in one file",
            got=f"shape {tuple(array.shape)}",
        )
    values = values.reshape(*values.shape, *[1] * (_VOLUME - values.ndim))
    affine = np.eye(4)
    given = np.asarray(meta[MetaKeys.AFFINE.value], dtype=np.float64)
    size = min(len(given) - 1, _VOLUME)
    affine[:size, :size], affine[:size, 3] = given[:size, :size], given[:size, -1]
    told = (str(meta.get(f"dicom_{name}", "")) for name in ("frame_of_reference_uid", "modality"))
    return _Channel(path, values, affine, *told)


def _blank(count: int, size: tuple[int, ...], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Zeros of shape (C, X, Y, Z), in memory C, Z, Y, X."""
    blank: npt.NDArray[Any] = np.zeros((count, *size[::-1]), dtype=dtype)
    return np.asarray(blank.transpose(0, 3, 2, 1))


def _on_grid(channel: _Channel, first: _Channel, size: tuple[int, ...]) -> npt.NDArray[Any]:
    """The values of a channel at the voxels of the first one's grid, shape (X, Y, Z)."""
    frames = first.frame_of_reference, channel.frame_of_reference
    if all(frames) and frames[0] != frames[1]:
        raise InputError(
            "channels lie in different frames of reference",
            where=channel.path,
            expected=f"that of {first.path}",
            cure="Register one to the other, and give the result",
        )
    turn = _turn(channel.affine, channel.values.shape, first.affine, size)
    if turn is not None:
        return turn.of(channel.values)
    if not _overlap(channel.affine, channel.values.shape, first.affine, size):
        raise InputError(
            "channels have no place in common",
            where=channel.path,
            expected=f"an image that overlaps {first.path}",
            cure="Are they of one case, in one space?",
        )
    to_channel = np.linalg.inv(channel.affine) @ first.affine
    outside = _outside(to_channel, size, channel.values.shape)
    logger.info(
        "%s: brought to the grid of %s by linear interpolation%s",
        channel.path,
        first.path,
        f"; {outside:.0%} of that grid lies outside and gets the least value" if outside else "",
    )
    return _interpolated(
        channel.values, to_channel, size, outside=outside_value(float(channel.values.min()), channel.modality)
    )


def _turn(
    affine: npt.NDArray[np.float64], size: Sequence[int], grid: npt.NDArray[np.float64], grid_size: Sequence[int]
) -> Turn | None:
    """The order and direction of axes that make one grid another; None where it is another grid.

    Args:
        affine: of the one, voxel indices to mm.
        size: its voxels along each axis.
        grid: likewise of the other.
        grid_size: likewise.
    """
    if len(size) < _VOLUME or len(grid_size) < _VOLUME:
        size, grid_size = (tuple([*one, 1, 1][:_VOLUME]) for one in (size, grid_size))
    turn = Turn.nearest(np.linalg.inv(grid) @ affine, size, thickness=False)
    same = turn.fits(size, grid_size) and np.abs(turn.away).max() <= _TOLERANCE_VOXELS
    return turn if same else None


def _corners(size: Sequence[int], margin: float = 0.0) -> npt.NDArray[np.float64]:
    """The homogeneous indices of a grid's corner voxels, shape (4, 8); with a margin in voxels around."""
    ends = [(-margin, n - 1 + margin) for n in size]
    corners: npt.NDArray[np.float64] = np.array([(*corner, 1.0) for corner in itertools.product(*ends)])
    return np.asarray(corners.T)


def _overlap(
    one: npt.NDArray[np.float64], one_size: Sequence[int], other: npt.NDArray[np.float64], other_size: Sequence[int]
) -> bool:
    """Whether two grids have a place in common, by the separating axes of their boxes."""
    edges = [affine[:3, :3].T for affine in (one, other)]
    normals = [np.cross(edge[[0, 1, 2]], edge[[1, 2, 0]]) for edge in edges]
    axes = np.concatenate([*normals, np.cross(edges[0][:, None], edges[1][None]).reshape(-1, 3)])
    first, second = (
        axes @ (affine @ _corners(size, 0.5))[:3] for affine, size in ((one, one_size), (other, other_size))
    )
    return bool(np.all((first.min(axis=1) <= second.max(axis=1)) & (second.min(axis=1) <= first.max(axis=1))))


def _outside(to_channel: npt.NDArray[np.float64], size: Sequence[int], channel_size: Sequence[int]) -> float:
    """About the share of a grid that lies outside a channel."""
    axes = [np.linspace(0, n - 1, min(n, _PROBES)) for n in size]
    points = np.stack([axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")])
    places = to_channel[:3, :3] @ points + to_channel[:3, 3:]
    limit = np.asarray(channel_size, dtype=np.float64)[:, np.newaxis] - 0.5
    return float(((places < -0.5) | (places > limit)).any(axis=0).mean())  # noqa: PLR2004 - half a voxel


def _interpolated(
    values: npt.NDArray[Any], to_channel: npt.NDArray[np.float64], size: Sequence[int], *, outside: float
) -> npt.NDArray[np.float32]:
    """Linearly at each voxel of a grid of ``size``, whose indices ``to_channel`` maps to those of the values."""
    import SimpleITK

    # In the space of indices, in which a sheared grid is one like any other.
    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(values.T, dtype=np.float32))
    place = SimpleITK.AffineTransform(3)
    place.SetMatrix(to_channel[:3, :3].ravel().tolist())
    place.SetTranslation(to_channel[:3, 3].tolist())
    sampler = SimpleITK.ResampleImageFilter()
    sampler.SetSize([int(n) for n in size])
    sampler.SetTransform(place)
    sampler.SetInterpolator(SimpleITK.sitkLinear)
    sampler.SetDefaultPixelValue(outside)
    sampled: npt.NDArray[np.float32] = SimpleITK.GetArrayFromImage(sampler.Execute(image)).T
    return sampled
