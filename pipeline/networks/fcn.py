"""Fully convolutional networks."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional

from pipeline.networks.blocks import (
    check_counts,
    check_dropout,
    check_spatial_dims,
    check_width,
    crop_to,
    initialise,
    rounded_channels,
)
from pipeline.networks.imagenet import ImageNetNetwork
from pipeline.networks.vgg import stage_channels, vgg16_features

__all__ = ["FCN"]

_SKIPS = {32: (), 16: (16,), 8: (16, 8)}  # strides of the scores that are added on the way up


class FCN(ImageNetNetwork):
    """VGG16 as a fully convolutional network: FCN-32s, FCN-16s and FCN-8s.

    J. Long, E. Shelhamer, T. Darrell: Fully Convolutional Networks for Semantic Segmentation. CVPR 2015. The keys are
    torchvision's for vgg16, the dense layers being convolutions here, and their weights are taken too; see
    :func:`pipeline.networks.load_imagenet_weights`. Unlike the paper's, the width is free, and convolutions keep the
    grid and poolings round sizes up where the paper pads the image by 100 pixels.

    Args:
        spatial_dims: 2.
        in_channels: channels of the input.
        out_channels: number of classes.
        stride: 32, 16 or 8: of the finest scores, from which the last upsampling starts.
        width: factor on all channels (the paper: 1).
        dropout: probability after each of the two dense layers.
    """

    beyond_backbone: ClassVar[tuple[str, ...]] = ("classifier.", "score.", "skip_scores.", "up.")

    def __init__(
        self,
        *,
        spatial_dims: int = 2,
        in_channels: int = 3,
        out_channels: int,
        stride: int = 8,
        width: float = 1.0,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        check_spatial_dims(spatial_dims, supported=(2,))
        check_counts(in_channels=in_channels, out_channels=out_channels)
        if stride not in _SKIPS:
            raise ValueError(f"stride: expected 32, 16 or 8, got {stride!r}")
        check_width(width)
        check_dropout(dropout)
        self.stride = stride
        self.features = vgg16_features(in_channels, width=width, batch_norm=False, with_indices=False)
        channels = [stage[-1] for stage in stage_channels(width)]
        dense = rounded_channels(4096 * width)
        self.classifier = nn.Sequential(
            nn.Conv2d(channels[-1], dense, kernel_size=7, padding=3),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Conv2d(dense, dense, kernel_size=1),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
        )
        initialise(self)
        # As in the paper: the scores start at zero, the learned upsampling at bilinear interpolation.
        self.score = _zero_conv(dense, out_channels)
        channels_at = {8: channels[2], 16: channels[3]}
        self.skip_scores = nn.ModuleList(_zero_conv(channels_at[skip], out_channels) for skip in _SKIPS[stride])
        self.up = nn.ModuleList(_bilinear_upsampling(out_channels) for _ in _SKIPS[stride])

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits (B, out_channels, X, Y) of images (B, in_channels, X, Y)."""
        pooled = []
        x = image
        for layer in self.features:
            x = layer(x)
            if isinstance(layer, nn.MaxPool2d):
                pooled.append(x)
        scores = self.score(self.classifier(x))
        # pool4 has stride 16, pool3 has stride 8
        for up, skip_score, skip in zip(self.up, self.skip_scores, (pooled[3], pooled[2]), strict=False):
            scores = crop_to(up(scores), skip.shape[2:]) + skip_score(skip)
        # The last upsampling is bilinear and not learned, as in the paper.
        scores = functional.interpolate(scores, scale_factor=self.stride, mode="bilinear", align_corners=False)
        return crop_to(scores, image.shape[2:])


def _zero_conv(in_channels: int, out_channels: int) -> nn.Conv2d:
    conv = nn.Conv2d(in_channels, out_channels, kernel_size=1)
    nn.init.zeros_(conv.weight)
    nn.init.zeros_(torch.as_tensor(conv.bias))
    return conv


def _bilinear_upsampling(channels: int) -> nn.ConvTranspose2d:
    """Transposed convolution to twice the size, each channel by itself at first."""
    up = nn.ConvTranspose2d(channels, channels, kernel_size=4, stride=2, padding=1, bias=False)
    tent = torch.tensor([0.25, 0.75, 0.75, 0.25])
    with torch.no_grad():
        up.weight.copy_(torch.eye(channels)[:, :, None, None] * torch.outer(tent, tent))
    return up
