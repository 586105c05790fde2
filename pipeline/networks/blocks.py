"""Blocks that several networks share, and the checks of their arguments."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from monai.networks.layers.factories import Act, Conv, Norm
from torch import nn
from torch.nn import functional

__all__ = [
    "check_counts",
    "check_dropout",
    "check_spatial_dims",
    "check_width",
    "conv_norm_act",
    "crop_to",
    "initialise",
    "interpolate_to",
    "pad_to_multiple",
    "rounded_channels",
]


def check_counts(**counts: int) -> None:
    """Raise ValueError for the first argument that is not an integer of at least 1."""
    for name, count in counts.items():
        if not isinstance(count, int) or isinstance(count, bool) or count < 1:
            raise ValueError(f"{name}: expected an integer of at least 1, got {count!r}")


def check_spatial_dims(spatial_dims: int, supported: Sequence[int] = (2, 3)) -> None:
    """Raise ValueError where the network does not exist in so many dimensions."""
    if spatial_dims not in supported:
        raise ValueError(f"spatial_dims: expected {' or '.join(map(str, supported))}, got {spatial_dims!r}")


def check_dropout(dropout: float) -> None:
    """Raise ValueError unless it is a probability below 1."""
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout: expected a probability of at least 0 and below 1, got {dropout!r}")


def check_width(width: float) -> None:
    """Raise ValueError unless it is a positive, finite factor."""
    if not 0 < width < math.inf:
        raise ValueError(f"width: expected a factor above 0, got {width!r}")


def rounded_channels(channels: float) -> int:
    """The multiple of 8 that is nearest to a scaled number of channels, at least 8, and never below 90 % of it."""
    nearest = max(8, 8 * math.floor(channels / 8 + 0.5))
    return nearest if nearest >= 0.9 * channels else nearest + 8


def conv_norm_act(
    spatial_dims: int,
    in_channels: int,
    out_channels: int,
    *,
    kernel_size: int = 3,
    stride: int = 1,
    dilation: int = 1,
    groups: int = 1,
    act: str | None = "relu",
) -> nn.Sequential:
    """Convolution without bias, batch norm and activation (0, 1, 2), padded so that stride 1 keeps the grid."""
    conv = Conv[Conv.CONV, spatial_dims](
        in_channels,
        out_channels,
        kernel_size=kernel_size,
        stride=stride,
        padding=dilation * (kernel_size // 2),
        dilation=dilation,
        groups=groups,
        bias=False,
    )
    layers = [conv, Norm[Norm.BATCH, spatial_dims](out_channels)]
    if act is not None:
        layers.append(Act[act](inplace=True))
    return nn.Sequential(*layers)


def initialise(network: nn.Module) -> None:
    """Normal weights of variance 2 / fan-out for each convolution (He et al. 2015), zero for its bias."""
    convolutions = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)
    for module in network.modules():
        if isinstance(module, convolutions):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def pad_to_multiple(x: torch.Tensor, multiple: int) -> torch.Tensor:
    """Repeat the last row of each spatial axis of (B, C, X, Y[, Z]) until its length is a multiple."""
    missing = [-length % multiple for length in x.shape[2:]]
    if not any(missing):
        return x
    pads = [pad for after in reversed(missing) for pad in (0, after)]
    return functional.pad(x, pads, mode="replicate")


def crop_to(x: torch.Tensor, grid: Sequence[int]) -> torch.Tensor:
    """Cut (B, C, X, Y[, Z]) at the end of each spatial axis down to the grid."""
    for axis, length in enumerate(grid, start=2):
        x = x.narrow(axis, 0, length)
    return x


def interpolate_to(x: torch.Tensor, grid: Sequence[int]) -> torch.Tensor:
    """Resample (B, C, X, Y[, Z]) onto the grid, linear along each axis."""
    mode = "bilinear" if x.ndim == 4 else "trilinear"  # noqa: PLR2004
    return functional.interpolate(x, size=list(grid), mode=mode, align_corners=False)
