"""U-Net."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from monai.networks.layers.factories import Conv, Dropout, Pool
from torch import nn

from pipeline.networks.blocks import (
    check_counts,
    check_dropout,
    check_spatial_dims,
    conv_norm_act,
    crop_to,
    initialise,
    pad_to_multiple,
)

__all__ = ["UNet"]


def _double_conv(spatial_dims: int, in_channels: int, out_channels: int, dropout: float) -> nn.Sequential:
    layers = [
        conv_norm_act(spatial_dims, in_channels, out_channels),
        conv_norm_act(spatial_dims, out_channels, out_channels),
    ]
    if dropout > 0:
        layers.append(Dropout[Dropout.DROPOUT, spatial_dims](dropout))
    return nn.Sequential(*layers)


class UNet(nn.Module):
    """Contracting path, expanding path, and a skip connection at each scale.

    O. Ronneberger, P. Fischer, T. Brox: U-Net: Convolutional Networks for Biomedical Image Segmentation. MICCAI 2015.
    In three dimensions as O. Cicek et al., MICCAI 2016. Unlike the paper's, convolutions keep the grid and are followed
    by batch norm, so that the output lies on the input's grid; an input whose sides are no multiples of
    2 ** (len(channels) - 1) is padded by its last row, and the output cropped.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the input.
        out_channels: number of classes.
        channels: channels of each scale, finest first; their number is the depth (the paper: 64 to 1024).
        dropout: probability of dropping a whole feature map after each pair of convolutions.
    """

    def __init__(
        self,
        *,
        spatial_dims: int = 2,
        in_channels: int = 1,
        out_channels: int,
        channels: Sequence[int] = (8, 16, 32, 64, 128),
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_spatial_dims(spatial_dims)
        check_counts(in_channels=in_channels, out_channels=out_channels)
        if len(channels) < 2:  # noqa: PLR2004
            raise ValueError(f"channels: expected those of at least 2 scales, got {channels!r}")
        check_counts(**{f"channels[{i}]": count for i, count in enumerate(channels)})
        check_dropout(dropout)
        self.multiple = 2 ** (len(channels) - 1)
        up_conv = Conv[Conv.CONVTRANS, spatial_dims]
        self.pool = Pool[Pool.MAX, spatial_dims](kernel_size=2)
        self.contracting = nn.ModuleList(
            _double_conv(spatial_dims, fine, coarse, dropout) for fine, coarse in pairwise((in_channels, *channels))
        )
        upwards = list(pairwise(reversed(channels)))
        self.up = nn.ModuleList(up_conv(coarse, fine, kernel_size=2, stride=2) for coarse, fine in upwards)
        self.expanding = nn.ModuleList(_double_conv(spatial_dims, 2 * fine, fine, dropout) for _, fine in upwards)
        self.head = Conv[Conv.CONV, spatial_dims](channels[0], out_channels, kernel_size=1)
        initialise(self)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits (B, out_channels, X, Y[, Z]) of images (B, in_channels, X, Y[, Z])."""
        x = self.contracting[0](pad_to_multiple(image, self.multiple))
        skips = []
        for contract in self.contracting[1:]:
            skips.append(x)
            x = contract(self.pool(x))
        for up, expand, skip in zip(self.up, self.expanding, reversed(skips), strict=True):
            x = expand(torch.cat([skip, up(x)], dim=1))
        return crop_to(self.head(x), image.shape[2:])
