"""A small convolutional classifier."""

from __future__ import annotations

import torch
from monai.networks.layers.factories import Act, Conv, Pool
from torch import nn
from torch.nn import functional

from pipeline.networks.blocks import check_counts, check_dropout, check_spatial_dims, initialise

__all__ = ["ConvNet"]


class ConvNet(nn.Module):
    """Two convolutions and two dense layers, in the manner of LeNet-5.

    Y. LeCun, L. Bottou, Y. Bengio, P. Haffner: Gradient-based learning applied to document recognition. 1998. Here with
    3x3 convolutions, rectifiers, maximum pooling and dropout; adaptive pooling takes any input size.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the input.
        out_channels: number of classes, or of labels that may hold together.
        features: channels of the two convolutions.
        pooled_size: length of each spatial axis after the adaptive pooling.
        hidden: width of the dense layer before the last.
        dropout: probability before the last layer.
    """

    def __init__(
        self,
        *,
        spatial_dims: int = 2,
        in_channels: int = 1,
        out_channels: int,
        features: tuple[int, int] = (32, 64),
        pooled_size: int = 4,
        hidden: int = 128,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        check_spatial_dims(spatial_dims)
        check_counts(in_channels=in_channels, out_channels=out_channels, pooled_size=pooled_size, hidden=hidden)
        if len(features) != 2:  # noqa: PLR2004
            raise ValueError(f"features: expected the channels of 2 convolutions, got {features!r}")
        check_counts(**{f"features[{i}]": count for i, count in enumerate(features)})
        check_dropout(dropout)
        conv, pool = Conv[Conv.CONV, spatial_dims], Pool[Pool.MAX, spatial_dims]
        first, second = features
        self.features = nn.Sequential(
            conv(in_channels, first, kernel_size=3, padding=1),
            Act[Act.RELU](inplace=True),
            pool(kernel_size=2, ceil_mode=True),
            conv(first, second, kernel_size=3, padding=1),
            Act[Act.RELU](inplace=True),
            pool(kernel_size=2, ceil_mode=True),
        )
        self.pooled_size = pooled_size
        self.classifier = nn.Sequential(
            nn.Linear(second * pooled_size**spatial_dims, hidden),
            Act[Act.RELU](inplace=True),
            nn.Dropout(dropout),
            nn.Linear(hidden, out_channels),
        )
        initialise(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (B, out_channels) of images (B, in_channels, X, Y[, Z])."""
        x = self.features(x)
        x = _average_to(x, self.pooled_size).flatten(1)
        logits: torch.Tensor = self.classifier(x)
        return logits


def _average_to(x: torch.Tensor, length: int) -> torch.Tensor:
    """Adaptive average pooling of (B, C, X, Y[, Z]) to the same length along each spatial axis.

    In three dimensions two axes first and then the third, which is the same: ONNX export knows no more than two.
    """
    if x.ndim == 4:  # noqa: PLR2004
        return functional.adaptive_avg_pool2d(x, length)
    batch, channels, first = x.shape[:3]
    x = functional.adaptive_avg_pool2d(x.flatten(1, 2), length).reshape(batch, channels, first, length**2)
    return functional.adaptive_avg_pool2d(x, (length, length**2)).reshape(batch, channels, length, length, length)
