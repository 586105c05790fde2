"""How an image came to the network's grid, told by its applied operations, and so the way back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np
import torch
from monai.data.utils import AFFINE_TOL, to_affine_nd
from monai.transforms.utils import scale_affine
from scipy import sparse

from pipeline.errors import InputError
from pipeline.inferers.resampling import ChainedMap, GridMap, ObliqueMap, SeparableMap, linear_matrix

__all__ = ["WayBack", "way_back"]

# Axes count as parallel where no voxel's place depends by more on the other axes, in voxels.
_PARALLEL = 1e-4
_DENSE = "Use SlidingWindowInferer and Invertd"


class WayBack(NamedTuple):
    """The interpolation to the input's grid, and that grid's affine, shape (r + 1, r + 1)."""

    grid: GridMap
    affine: np.ndarray


def way_back(operations: Sequence[Mapping[str, Any]], *, affine: Any, network_size: Sequence[int]) -> WayBack:
    """The interpolation that undoes an image's applied operations, exactly as ``Invertd(nearest_interp=False)``.

    ``Orientation`` flips and permutes; its inverse brings the axes back. ``Spacing`` (``SpatialResample``) scales
    about the centre of the first voxel: MONAI interpolates at ``solve(network's affine, input's affine) @ index``,
    clipped to the outer centres, whatever ``align_corners``; and it leaves an image as it is where the affines differ
    by less than ``AFFINE_TOL``. ``Spacing`` keeps the directions of orthogonal axes, oblique or not, so that the slabs
    of both grids are parallel. Of a sheared grid, such as that of a tilted gantry, it keeps only the first direction
    and takes the shear out; an :class:`ObliqueMap` undoes that.

    ``Resize`` is undone by linear interpolation as well, cropping by zeros and padding by cropping.

    Args:
        operations: MONAI's record of the invertible transforms, in the order of their application.
        affine: of the network's grid, shape (r + 1, r + 1).
        network_size: voxels along each axis of the network's grid.

    Raises:
        InputError: an operation has no inverse here.
    """
    chain = _Chain(tuple(int(n) for n in network_size), np.asarray(affine, dtype=float))
    for operation in reversed(operations):
        chain.undo(operation)
    return WayBack(chain.result(), chain.affine)


class _Chain:
    """What has been undone so far.

    Attributes:
        size: of the grid that was reached, in that grid's order of axes.
        axes: for each of its axes, the axis of the network's grid.
        affine: of that grid.
        matrices: for each axis of the network's grid, the interpolation along it.
        index_map: from indices of the grid that was reached to the network's, where only axes were moved yet.
        oblique: whether ``index_map`` is an affine that the matrices cannot tell.
        touched: whether the matrices do more than to flip.
        straight: the way from the network's grid to the one that the oblique step starts from, where that is another.
    """

    def __init__(self, size: tuple[int, ...], affine: np.ndarray) -> None:
        self.network_size = self.size = size
        self.axes = tuple(range(len(size)))
        self.affine = to_affine_nd(len(size), affine)
        self.matrices = [sparse.identity(n, format="csr") for n in size]
        self.index_map = np.eye(len(size) + 1)
        self.oblique = False
        self.touched = False
        self.straight: SeparableMap | None = None

    def undo(self, operation: Mapping[str, Any]) -> None:
        # The record's keys and classes may be MONAI's enumerations, which are strings.
        name = str(operation["class"])
        original = tuple(int(n) for n in operation["orig_size"])
        step = _STEPS.get(name)
        if step is None:
            raise InputError(f"{name} cannot be undone slab by slab", expected=", ".join(_STEPS), cure=_DENSE)
        if operation.get("lazy") is True:
            raise InputError(f"{name} was applied lazily", cure="Set lazy to false in the preprocessing")
        step(self, name, operation["extra_info"], original)
        if self.size != original:
            raise InputError(f"{name} cannot be undone", expected=f"a grid of {original}", got=self.size)

    def result(self) -> GridMap:
        if not self.oblique:
            return SeparableMap(self.matrices, axes=self.axes)
        rank = len(self.size)
        place = [self.axes.index(axis) for axis in range(rank)]
        oblique = ObliqueMap(
            self.index_map[:, [*place, rank]],
            network_size=self.network_size,
            size=tuple(self.size[one] for one in place),
            axes=self.axes,
        )
        return oblique if self.straight is None else ChainedMap(self.straight, oblique)

    def reorient(self, _name: str, extra: Mapping[str, Any], _original: tuple[int, ...]) -> None:
        rank = len(self.size)
        original_affine = to_affine_nd(rank, np.asarray(extra["original_affine"], dtype=float))
        moves = nib.orientations.ornt_transform(
            nib.orientations.io_orientation(self.affine), nib.orientations.io_orientation(original_affine)
        )
        order = [int(n) for n in np.argsort(moves[:, 0])]
        for axis in range(rank):
            if moves[axis, 1] < 0:
                self.matrices[self.axes[axis]] = self.matrices[self.axes[axis]][::-1]
        moved = nib.orientations.inv_ornt_aff(moves, self.size)
        self.index_map, self.affine = self.index_map @ moved, self.affine @ moved
        self.axes = tuple(self.axes[axis] for axis in order)
        self.size = tuple(self.size[axis] for axis in order)

    def resample(self, name: str, extra: Mapping[str, Any], original: tuple[int, ...]) -> None:
        rank = len(self.size)
        target = to_affine_nd(rank, torch.as_tensor(extra["src_affine"]).numpy().astype(float))
        matrix = np.linalg.solve(self.affine, target)
        same = np.allclose(self.affine, target, atol=AFFINE_TOL) or np.allclose(
            matrix, np.eye(rank + 1), atol=AFFINE_TOL
        )
        self.affine = target
        if same and self.size == original:  # MONAI leaves such an image as it is
            return
        _check_linear(name, extra["mode"])
        if str(getattr(extra["padding_mode"], "value", extra["padding_mode"])) != "border":
            raise InputError(f"{name} has another padding mode", expected="border", got=extra["padding_mode"])
        lengths = np.asarray(original, dtype=float) - 1
        across = np.abs(matrix[:-1, :-1] - np.diag(np.diag(matrix)[:-1])) @ lengths
        if across.max() <= _PARALLEL:
            self._scale(np.diag(matrix)[:-1], matrix[:-1, -1], original)
            return
        self._refuse_oblique(name)
        if self.touched:
            self._start_from_here(name)
        self.index_map = self.index_map @ matrix
        self.oblique, self.size = True, original

    def resize(self, name: str, extra: Mapping[str, Any], original: tuple[int, ...]) -> None:
        if extra["new_dim"]:
            raise InputError(f"{name} added an axis", cure=_DENSE)
        corners = extra["align_corners"] is True
        self.affine = self.affine @ np.asarray(scale_affine(self.size, original, align_corners=corners), dtype=float)
        if self.size == original:
            return
        self._refuse_oblique(name)
        _check_linear(name, extra["mode"])
        now, then = np.asarray(self.size, dtype=float), np.asarray(original, dtype=float)
        if corners:
            self._scale((now - 1) / np.maximum(then - 1, 1), np.zeros(len(now)), original)
        else:
            self._scale(now / then, (now / then - 1) / 2, original)

    def uncrop(self, name: str, extra: Mapping[str, Any], _original: tuple[int, ...]) -> None:
        ends = np.asarray(extra["cropped"], dtype=int).reshape(-1, 2)
        self._pad(name, ends)

    def unpad(self, name: str, extra: Mapping[str, Any], _original: tuple[int, ...]) -> None:
        ends = np.asarray(extra["padded"], dtype=int)
        if ends[0].any():
            raise InputError(f"{name} added channels", cure=_DENSE)
        self._pad(name, -ends[1:])

    def _start_from_here(self, name: str) -> None:
        rank = len(self.size)
        if self.axes != tuple(range(rank)):
            raise InputError(f"{name} turned the axes before others permuted them", cure=_DENSE)
        self.straight = SeparableMap(self.matrices, axes=self.axes)
        self.network_size, self.index_map = self.size, np.eye(rank + 1)

    def _scale(self, scales: np.ndarray, offsets: np.ndarray, original: tuple[int, ...]) -> None:
        for axis, (scale, offset) in enumerate(zip(scales, offsets, strict=True)):
            step = linear_matrix(scale * np.arange(original[axis]) + offset, self.size[axis])
            self.matrices[self.axes[axis]] = sparse.csr_matrix(step @ self.matrices[self.axes[axis]])
        self.touched, self.size = True, original

    def _pad(self, name: str, ends: np.ndarray) -> None:
        """Add voxels that nobody saw before and after each axis, or take some away where the number is negative."""
        self._refuse_oblique(name)
        size = list(self.size)
        for axis, (before, after) in enumerate(ends.tolist()):
            size[axis] += before + after
            step = sparse.eye(size[axis], self.size[axis], k=-before, format="csr")
            self.matrices[self.axes[axis]] = sparse.csr_matrix(step @ self.matrices[self.axes[axis]])
        shift = np.eye(len(size) + 1)
        shift[:-1, -1] = -ends[:, 0]
        self.affine = self.affine @ shift
        self.touched, self.size = True, tuple(size)

    def _refuse_oblique(self, name: str) -> None:
        if self.oblique:
            raise InputError(f"{name} came before the axes were turned", cure=_DENSE)


def _check_linear(name: str, mode: Any) -> None:
    if str(getattr(mode, "value", mode)) not in ("linear", "bilinear", "trilinear"):
        raise InputError(f"{name} does not interpolate linearly", expected="bilinear", got=mode, cure=_DENSE)


_STEPS: dict[str, Callable[[_Chain, str, Mapping[str, Any], tuple[int, ...]], None]] = {
    "Orientation": _Chain.reorient,
    "SpatialResample": _Chain.resample,
    "Resize": _Chain.resize,
    **dict.fromkeys(("Crop", "SpatialCrop", "CenterSpatialCrop"), _Chain.uncrop),
    **dict.fromkeys(("Pad", "SpatialPad", "BorderPad"), _Chain.unpad),
}
