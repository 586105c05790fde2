"""MobileNetV2."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, NamedTuple

import torch
from monai.networks.layers.factories import Conv, Norm
from torch import nn

from pipeline.networks.blocks import (
    check_counts,
    check_dropout,
    check_spatial_dims,
    check_width,
    conv_norm_act,
    initialise,
    rounded_channels,
)
from pipeline.networks.imagenet import ImageNetNetwork

__all__ = ["MobileNetV2"]

# Expansion t, channels c, repeats n, stride s of each row of bottlenecks: table 2 of the paper.
_BOTTLENECKS = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
_LOW_LEVEL = 3  # the last bottleneck at stride 4


class _Bottleneck(NamedTuple):
    expansion: int
    channels: int
    stride: int
    dilation: int


def _bottlenecks(width: float, output_stride: int) -> Iterator[_Bottleneck]:
    """All bottlenecks in order; strides past the output stride become dilation of what follows (Chen et al. 2017)."""
    reached, dilation = 2, 1
    for expansion, channels, repeats, stride in _BOTTLENECKS:
        for repeat in range(repeats):
            wanted = stride if repeat == 0 else 1
            taken = wanted if reached * wanted <= output_stride else 1
            yield _Bottleneck(expansion, rounded_channels(channels * width), taken, dilation)
            reached *= taken
            dilation *= wanted // taken


class InvertedResidual(nn.Module):
    """Expand by 1x1, filter depthwise by 3x3, project linearly by 1x1; added to the input where shapes allow."""

    def __init__(self, spatial_dims: int, in_channels: int, row: _Bottleneck) -> None:
        super().__init__()
        hidden = in_channels * row.expansion
        layers: list[nn.Module] = []
        if row.expansion > 1:
            layers.append(conv_norm_act(spatial_dims, in_channels, hidden, kernel_size=1, act="relu6"))
        layers += [
            conv_norm_act(
                spatial_dims,
                hidden,
                hidden,
                stride=row.stride,
                dilation=row.dilation,
                groups=hidden,
                act="relu6",
            ),
            Conv[Conv.CONV, spatial_dims](hidden, row.channels, kernel_size=1, bias=False),
            Norm[Norm.BATCH, spatial_dims](row.channels),
        ]
        self.conv = nn.Sequential(*layers)
        self.is_residual = row.stride == 1 and in_channels == row.channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, in_channels, X, Y[, Z]) to (B, row.channels, X / stride, ...)."""
        projected: torch.Tensor = self.conv(x)
        return x + projected if self.is_residual else projected


class MobileNetV2(ImageNetNetwork):
    """Inverted residuals with linear bottlenecks.

    M. Sandler, A. Howard, M. Zhu, A. Zhmoginov, L.-C. Chen: MobileNetV2: Inverted Residuals and Linear Bottlenecks.
    CVPR 2018. State-dict keys are torchvision's; see :func:`pipeline.networks.load_imagenet_weights`.

    The head gives logits only: softmax with cross-entropy makes it multi-class, sigmoid with binary cross-entropy
    multi-label.

    Args:
        spatial_dims: 2 or 3 (the paper: 2).
        in_channels: channels of the input.
        out_channels: number of classes or labels; None leaves out the head with its 1x1 convolution, for an encoder.
        width: the paper's width multiplier; the last convolution does not shrink below 1280 channels.
        dropout: probability before the last layer.
        output_stride: 8, 16 or 32; below 32 the last strides become dilation.
    """

    beyond_backbone: ClassVar[tuple[str, ...]] = ("features.18.", "classifier.")

    def __init__(
        self,
        *,
        spatial_dims: int = 2,
        in_channels: int = 3,
        out_channels: int | None,
        width: float = 1.0,
        dropout: float = 0.2,
        output_stride: int = 32,
    ) -> None:
        super().__init__()
        check_spatial_dims(spatial_dims)
        check_counts(in_channels=in_channels, out_channels=1 if out_channels is None else out_channels)
        check_width(width)
        check_dropout(dropout)
        if output_stride not in (8, 16, 32):
            raise ValueError(f"output_stride: expected 8, 16 or 32, got {output_stride!r}")
        channels = rounded_channels(32 * width)
        layers: list[nn.Module] = [conv_norm_act(spatial_dims, in_channels, channels, stride=2, act="relu6")]
        for row in _bottlenecks(width, output_stride):
            layers.append(InvertedResidual(spatial_dims, channels, row))
            channels = row.channels
            if len(layers) - 1 == _LOW_LEVEL:
                self.low_level_channels = channels
        self.high_level_channels = channels
        if out_channels is not None:
            last = rounded_channels(1280 * max(1.0, width))
            layers.append(conv_norm_act(spatial_dims, channels, last, kernel_size=1, act="relu6"))
        self.features = nn.Sequential(*layers)
        self.classifier: nn.Module | None = None
        if out_channels is not None:
            self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(last, out_channels))
        self._is_frozen = False
        initialise(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (B, out_channels) of images (B, in_channels, X, Y[, Z]); without a head the last feature map."""
        x = self.features(x)
        if self.classifier is None:
            return x
        x = x.flatten(2).mean(dim=2)
        logits: torch.Tensor = self.classifier(x)
        return logits

    def low_and_high_level(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Features at stride 4, (B, low_level_channels, ...), and at the output stride, (B, high_level_channels, ...).

        The latter are those of the last bottleneck, as in section 6.3 of the paper.
        """
        low = self.features[: _LOW_LEVEL + 1](x)
        return low, self.features[_LOW_LEVEL + 1 : 18](low)

    def freeze_backbone(self) -> None:
        """Train the head alone from now on: neither weights nor batch-norm statistics of the features change."""
        self._is_frozen = True
        self.features.requires_grad_(requires_grad=False)
        self.train(self.training)

    def train(self, mode: bool = True) -> MobileNetV2:
        """As torch's, but a frozen backbone stays in evaluation mode."""
        super().train(mode)
        if self._is_frozen:
            self.features.eval()
        return self
