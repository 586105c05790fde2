"""MONAI's ``Spacing`` with the same values, several times faster where the axes keep their directions."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from functools import partial
from typing import Any, NamedTuple

import monai.transforms
import numpy as np
import torch
from monai.config import USE_COMPILED
from monai.data import MetaTensor, get_track_meta
from monai.data.utils import AFFINE_TOL, to_affine_nd
from monai.networks.utils import to_norm_affine
from monai.utils import TraceKeys, convert_to_tensor, get_equivalent_dtype, get_torch_dtype_from_string

from pipeline.transforms.separable import linear_axis, resample_linearly, resample_nearest, spline_axis

__all__ = ["Spacing", "Spacingd", "SpatialResample"]

# Axes count as parallel where no voxel's place, summed over the axes, moves by more than this if the axes are taken
# one by one, in voxels: linear interpolation then changes by no more than this share of the image's range.
_PARALLEL = 1e-4
_MODES = ("bilinear", "nearest")
_ORDERS = (1, 2, 3, 4, 5)
_SPLINE_BORDER = ("border", "nearest")  # MONAI's name and SciPy's


class _Request(NamedTuple):
    """What ``SpatialResample`` was asked for, its defaults filled in."""

    dst_affine: Any
    spatial_size: Any
    mode: Any
    padding_mode: Any
    align_corners: bool
    dtype: torch.dtype


class _Grids(NamedTuple):
    """The grid to resample to, and the way from its indices to the image's: homogeneous, float64."""

    src_affine: torch.Tensor
    matrix: np.ndarray
    size: tuple[int, ...]


class SpatialResample(monai.transforms.SpatialResample):  # type: ignore[misc]
    """MONAI's ``SpatialResample``, axis by axis where the axes of both grids are parallel.

    That holds for ``bilinear``, ``nearest`` and the orders 1 to 5 of B-splines, in two and three dimensions, with the
    padding mode ``border``. Everything else is left to MONAI: other modes, shears and rotations, lazy resampling,
    values that are not finite, gradients. Metadata and the record of the operation are MONAI's, so that its inverse
    fits as well as this one, which goes axis by axis too.

    Nearest neighbours are MONAI's own, those halfway between two voxels included. Only on an oblique grid, where
    MONAI's rounding errors decide between the two from voxel to voxel, it is the same one throughout.
    """

    def __call__(  # noqa: PLR0917 - MONAI's signature
        self,
        img: torch.Tensor,
        dst_affine: torch.Tensor | None = None,
        spatial_size: Any = None,
        mode: str | int | None = None,
        padding_mode: str | None = None,
        align_corners: bool | None = None,
        dtype: Any = None,
        lazy: bool | None = None,
    ) -> torch.Tensor:
        """Resample an image, shape (C, *spatial), to another grid; the result is float32."""
        request = _Request(
            dst_affine,
            spatial_size,
            _plain(self.mode if mode is None else mode),
            _plain(self.padding_mode if padding_mode is None else padding_mode),
            self.align_corners if align_corners is None else align_corners,
            get_equivalent_dtype(dtype or self.dtype or img.dtype, torch.Tensor),
        )
        grids = None if (self.lazy if lazy is None else lazy) else _grids(img, request)
        if grids is None:
            return super().__call__(  # type: ignore[no-any-return]
                img, dst_affine, spatial_size, mode, padding_mode, align_corners, dtype, lazy
            )
        values = img.as_tensor() if isinstance(img, MetaTensor) else img
        return self._with_meta(_resampled(values, grids, request), img, grids, request)

    def inverse(self, data: torch.Tensor) -> torch.Tensor:
        """Resample an image back to the grid that it came from."""
        operation = self.pop_transform(data)
        extra = operation[TraceKeys.EXTRA_INFO]
        corners = extra["align_corners"]
        with self.trace_transform(False):
            return self(
                data,
                dst_affine=extra["src_affine"],
                spatial_size=operation[TraceKeys.ORIG_SIZE],
                mode=extra["mode"],
                padding_mode=extra["padding_mode"],
                align_corners=False if corners == TraceKeys.NONE else corners,
                dtype=get_torch_dtype_from_string(extra["dtype"]),
            )

    def _with_meta(self, result: torch.Tensor, img: torch.Tensor, grids: _Grids, request: _Request) -> torch.Tensor:
        image = convert_to_tensor(img, track_meta=get_track_meta())
        meta = self.track_transform_meta(
            image,
            sp_size=grids.size,
            affine=torch.as_tensor(grids.matrix),
            extra_info={
                "dtype": str(request.dtype).removeprefix("torch."),
                "mode": request.mode,
                "padding_mode": request.padding_mode,
                "align_corners": request.align_corners,
                "src_affine": grids.src_affine,
            },
            orig_size=img.peek_pending_shape() if isinstance(img, MetaTensor) else img.shape[1:],
            transform_info=self.get_transform_info(),
            lazy=False,
        )
        out = convert_to_tensor(result, track_meta=get_track_meta())
        return out.copy_meta_from(meta) if isinstance(out, MetaTensor) else out  # type: ignore[no-any-return]


class Spacing(monai.transforms.Spacing):  # type: ignore[misc]
    """MONAI's ``Spacing``, axis by axis where the axes keep their directions; see :class:`SpatialResample`.

    Args:
        pixdim: the spacing to resample to, in the affine's unit, along each spatial axis.
        options: those of :class:`monai.transforms.Spacing`: ``diagonal``, ``mode``, ``padding_mode``,
            ``align_corners``, ``dtype``, ``scale_extent``, ``recompute_affine``, ``min_pixdim``, ``max_pixdim`` and
            ``lazy``.

    Returns:
        float32, shape (C, *spatial), with the affine, the size and the record of MONAI's ``Spacing``.
    """

    def __init__(self, pixdim: Sequence[float] | float | np.ndarray, *options: Any, **named: Any) -> None:
        super().__init__(pixdim, *options, **named)
        self.sp_resample: Any = _axis_by_axis(self.sp_resample)


class Spacingd(monai.transforms.Spacingd):  # type: ignore[misc]
    """Dictionary transform of :class:`Spacing`, invertible like MONAI's.

    Args:
        keys: images of shape (C, *spatial).
        pixdim: the spacing to resample to, in the affine's unit, along each spatial axis.
        options: those of :class:`monai.transforms.Spacingd`; ``mode``, ``padding_mode``, ``align_corners``, ``dtype``
            and ``scale_extent`` may be sequences, one for each key.
    """

    def __init__(self, keys: Any, pixdim: Sequence[float] | float, *options: Any, **named: Any) -> None:
        super().__init__(keys, pixdim, *options, **named)
        self.spacing_transform.sp_resample = _axis_by_axis(self.spacing_transform.sp_resample)


def _axis_by_axis(resample: Any) -> SpatialResample:
    return SpatialResample(
        mode=resample.mode,
        padding_mode=resample.padding_mode,
        align_corners=resample.align_corners,
        dtype=resample.dtype,
        lazy=resample.lazy,
    )


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, Enum) else value


def _grids(img: torch.Tensor, request: _Request) -> _Grids | None:
    """Both grids where their axes are parallel and everything else suits; nothing where MONAI has to do it."""
    rank = img.ndim - 1
    if not _suits(request, rank) or not _plain_values(img, request.mode):
        return None
    size = tuple(map(int, request.spatial_size))
    if len(size) != rank or min(size) < 1:
        return None
    src_affine = to_affine_nd(rank, getattr(img, "affine", torch.eye(4))).to(torch.float64)
    target = to_affine_nd(rank, torch.as_tensor(request.dst_affine)).to("cpu", torch.float64).numpy()
    try:
        matrix = np.linalg.solve(src_affine.cpu().numpy(), target)
    except np.linalg.LinAlgError:  # MONAI says so
        return None
    near = partial(np.allclose, atol=AFFINE_TOL)
    same = size == tuple(img.shape[1:]) and (near(src_affine.cpu(), target) or near(matrix, np.eye(rank + 1)))
    return None if same or _skew(matrix, size) > _PARALLEL else _Grids(src_affine, matrix, size)


def _suits(request: _Request, rank: int) -> bool:
    if rank not in (2, 3) or request.dst_affine is None or not isinstance(request.spatial_size, (Sequence, np.ndarray)):
        return False
    if USE_COMPILED or request.dtype not in (torch.float32, torch.float64):
        return False
    if isinstance(request.mode, str):
        return request.mode in _MODES and request.padding_mode == "border"
    return request.mode in _ORDERS and request.padding_mode in _SPLINE_BORDER and not request.align_corners


def _plain_values(img: torch.Tensor, mode: Any) -> bool:
    """Whether an image has values to multiply by: real and finite, without a gradient or a pending operation."""
    if not isinstance(img, torch.Tensor) or not img.numel() or img.requires_grad or img.is_complex():
        return False
    if getattr(img, "pending_operations", None):
        return False
    return mode == "nearest" or not img.is_floating_point() or _is_finite(img)


def _is_finite(img: torch.Tensor) -> bool:
    img = img.as_tensor() if isinstance(img, MetaTensor) else img
    if img.device.type != "cpu" or img.dtype == torch.bfloat16:
        return bool(img.sum(dtype=torch.float32).isfinite())
    # NumPy's sum waits for no threads. An infinite one of finite values only costs time: MONAI takes the image then.
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(np.sum(img.numpy(), dtype=np.promote_types(np.float32, img.numpy().dtype))))


def _skew(matrix: np.ndarray, size: tuple[int, ...]) -> float:
    """How far a voxel's place depends on other axes at most, from the middle of those, summed over the axes."""
    scales = matrix[:-1, :-1]
    across = np.abs(scales - np.diag(np.diag(scales)))
    return float((across @ (np.asarray(size) - 1.0)).sum() / 2)


def _resampled(values: torch.Tensor, grids: _Grids, request: _Request) -> torch.Tensor:
    scales = grids.matrix[:-1, :-1]
    across = scales - np.diag(np.diag(scales))
    matrix = np.diag([*np.diag(scales), 1.0])
    matrix[:-1, -1] = grids.matrix[:-1, -1] + across @ (np.asarray(grids.size) - 1.0) / 2
    axes, indices = [], []
    for axis, (size, size_out) in enumerate(zip(values.shape[1:], grids.size, strict=True)):
        places = matrix[axis, axis] * np.arange(size_out) + matrix[axis, -1]
        if request.mode == "nearest":
            indices.append(_numbers(matrix, axis, (size, size_out), request, values.device).round().long())
        elif request.align_corners:  # another place where an axis has one voxel
            numbers = _numbers(matrix, axis, (size, size_out), request, values.device)
            axes.append(linear_axis(numbers.cpu().numpy(), size))
        elif request.mode in ("bilinear", 1):
            axes.append(linear_axis(places, size))
        else:
            axes.append(spline_axis(places, size, request.mode))
    return resample_linearly(values, axes) if axes else resample_nearest(values, indices)


def _numbers(
    matrix: np.ndarray, axis: int, sizes: tuple[int, int], request: _Request, device: torch.device
) -> torch.Tensor:
    """Where MONAI interpolates along an axis, in voxels, shape (size_out,): what PyTorch makes of the voxels' numbers.

    To compute as they do gives their rounding, which decides on the nearest of two voxels that are equally near, and
    their rule for an axis of one voxel. ``affine_grid`` itself would multiply tiny matrices with many threads.
    """
    size, size_out = sizes
    line = torch.tensor([[[matrix[axis, axis], matrix[axis, -1]], [0.0, 1.0]]], dtype=request.dtype)
    unit = to_norm_affine(line, [size], [size_out], align_corners=request.align_corners)[0]
    steps = torch.linspace(-1, 1, size_out, dtype=request.dtype) if size_out > 1 else torch.zeros(1).to(unit)
    if not request.align_corners:
        steps = steps * (size_out - 1) / size_out
    rank = len(matrix) - 1
    shape = [1] * rank
    shape[axis] = size_out
    grid = torch.zeros(1, *shape, rank, dtype=request.dtype)
    grid[..., rank - 1 - axis] = (steps * unit[0, 0] + unit[0, 1]).view(shape)  # the last axis comes first
    shape[axis] = size
    numbers = torch.arange(size, dtype=request.dtype, device=device).view(1, 1, *shape)
    return torch.nn.functional.grid_sample(
        numbers, grid.to(device), mode=request.mode, padding_mode="border", align_corners=request.align_corners
    ).flatten()
