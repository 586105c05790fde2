"""DeepLabv3+."""

from __future__ import annotations

import torch
from monai.networks.layers.factories import Act, Conv, Norm
from torch import nn
from torch.nn import functional

from pipeline.networks.blocks import (
    check_counts,
    check_dropout,
    check_spatial_dims,
    check_width,
    conv_norm_act,
    initialise,
    interpolate_to,
)
from pipeline.networks.mobilenetv2 import MobileNetV2
from pipeline.networks.resnet import ResNet

__all__ = ["ENCODERS", "DeepLabV3Plus"]

ENCODERS = ("mobilenetv2", "resnet101", "resnet18", "resnet34", "resnet50")
_LOW_LEVEL_CHANNELS = 48
_RATES = {16: (6, 12, 18), 8: (12, 24, 36)}


class AtrousSeparableConv(nn.Module):
    """A 3x3 depthwise convolution with a dilation, then a pointwise one; batch norm and ReLU after each.

    The dilation of an axis is the rate, or the length of the axis less one where that is smaller: farther apart the
    outer weights would see padding alone, and the 3x3 convolution be a 1x1 one (Chen et al. 2017, section 3.3).
    """

    def __init__(self, spatial_dims: int, in_channels: int, out_channels: int, *, rate: int = 1) -> None:
        super().__init__()
        self.rate = rate
        self.depthwise = Conv[Conv.CONV, spatial_dims](
            in_channels, in_channels, kernel_size=3, padding=rate, dilation=rate, groups=in_channels, bias=False
        )
        self.norm = Norm[Norm.BATCH, spatial_dims](in_channels)
        self.relu = Act[Act.RELU](inplace=True)
        self.pointwise = conv_norm_act(spatial_dims, in_channels, out_channels, kernel_size=1)

    def dilation(self, grid: torch.Size) -> list[int]:
        """The dilation of each axis of a feature map."""
        return [min(self.rate, max(1, length - 1)) for length in grid]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, in_channels, X, Y[, Z]) to (B, out_channels, X, Y[, Z])."""
        conv = functional.conv2d if x.ndim == 4 else functional.conv3d  # noqa: PLR2004
        d = self.dilation(x.shape[2:])
        x = conv(x, self.depthwise.weight, padding=d, dilation=d, groups=self.depthwise.groups)
        filtered: torch.Tensor = self.pointwise(self.relu(self.norm(x)))
        return filtered


class ImagePooling(nn.Module):
    """The mean of the whole map, a 1x1 convolution, batch norm and ReLU, spread over the map again."""

    def __init__(self, spatial_dims: int, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = Conv[Conv.CONV, spatial_dims](in_channels, out_channels, kernel_size=1, bias=False)
        self.norm = Norm[Norm.BATCH, spatial_dims](out_channels)
        self.relu = Act[Act.RELU](inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, in_channels, X, Y[, Z]) to (B, out_channels, X, Y[, Z])."""
        axes = tuple(range(2, x.ndim))
        pooled = self.conv(x.mean(dim=axes, keepdim=True))
        if self.training and x.shape[0] == 1:
            # A batch of one has one value per channel here, whose variance is no statistic: the running ones serve.
            norm = self.norm
            pooled = functional.batch_norm(
                pooled, norm.running_mean, norm.running_var, norm.weight, norm.bias, training=False, eps=norm.eps
            )
        else:
            pooled = self.norm(pooled)
        spread: torch.Tensor = self.relu(pooled).expand(-1, -1, *x.shape[2:])
        return spread


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling: 1x1, three atrous convolutions and image pooling side by side, then 1x1."""

    def __init__(
        self, spatial_dims: int, in_channels: int, out_channels: int, *, rates: tuple[int, ...], dropout: float
    ) -> None:
        super().__init__()
        self.branches = nn.ModuleList([conv_norm_act(spatial_dims, in_channels, out_channels, kernel_size=1)])
        self.branches.extend(AtrousSeparableConv(spatial_dims, in_channels, out_channels, rate=rate) for rate in rates)
        self.branches.append(ImagePooling(spatial_dims, in_channels, out_channels))
        self.project = conv_norm_act(spatial_dims, len(self.branches) * out_channels, out_channels, kernel_size=1)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, in_channels, X, Y[, Z]) to (B, out_channels, X, Y[, Z])."""
        side_by_side = torch.cat([branch(x) for branch in self.branches], dim=1)
        projected: torch.Tensor = self.dropout(self.project(side_by_side))
        return projected


class DeepLabV3Plus(nn.Module):
    """Encoder with atrous convolution and spatial pyramid pooling, and a decoder with one skip connection at stride 4.

    L.-C. Chen, Y. Zhu, G. Papandreou, F. Schroff, H. Adam: Encoder-Decoder with Atrous Separable Convolution for
    Semantic Image Segmentation. ECCV 2018. Unlike the paper's, encoders are ResNet or MobileNetV2, atrous rates never
    exceed the feature map, and it exists in three dimensions. The parts are ``encoder``, whose ImageNet weights
    :func:`pipeline.networks.load_imagenet_weights` loads, ``aspp`` and ``decoder``.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the input.
        out_channels: number of classes.
        encoder: one of ``ENCODERS``.
        encoder_width: factor on the encoder's channels.
        output_stride: 16 or 8, of the encoder's features.
        decoder_channels: channels of the spatial pyramid pooling and of the decoder (the paper: 256).
        dropout: probability after the spatial pyramid pooling.
    """

    def __init__(
        self,
        *,
        spatial_dims: int = 2,
        in_channels: int = 3,
        out_channels: int,
        encoder: str = "resnet50",
        encoder_width: float = 1.0,
        output_stride: int = 16,
        decoder_channels: int = 256,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        check_spatial_dims(spatial_dims)
        check_counts(in_channels=in_channels, out_channels=out_channels, decoder_channels=decoder_channels)
        if encoder not in ENCODERS:
            raise ValueError(f"encoder: expected one of {', '.join(ENCODERS)}, got {encoder!r}")
        check_width(encoder_width)
        if output_stride not in _RATES:
            raise ValueError(f"output_stride: expected 16 or 8, got {output_stride!r}")
        check_dropout(dropout)
        self.encoder = _encoder(
            encoder,
            spatial_dims=spatial_dims,
            in_channels=in_channels,
            width=encoder_width,
            output_stride=output_stride,
        )
        self.aspp = ASPP(
            spatial_dims,
            self.encoder.high_level_channels,
            decoder_channels,
            rates=_RATES[output_stride],
            dropout=dropout,
        )
        self.low_level = conv_norm_act(
            spatial_dims, self.encoder.low_level_channels, _LOW_LEVEL_CHANNELS, kernel_size=1
        )
        self.decoder = nn.Sequential(
            AtrousSeparableConv(spatial_dims, _LOW_LEVEL_CHANNELS + decoder_channels, decoder_channels),
            AtrousSeparableConv(spatial_dims, decoder_channels, decoder_channels),
            Conv[Conv.CONV, spatial_dims](decoder_channels, out_channels, kernel_size=1),
        )
        for part in (self.aspp, self.low_level, self.decoder):
            initialise(part)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits (B, out_channels, X, Y[, Z]) of images (B, in_channels, X, Y[, Z])."""
        low, high = self.encoder.low_and_high_level(image)
        context = interpolate_to(self.aspp(high), low.shape[2:])
        logits = self.decoder(torch.cat([self.low_level(low), context], dim=1))
        return interpolate_to(logits, image.shape[2:])


def _encoder(
    name: str, *, spatial_dims: int, in_channels: int, width: float, output_stride: int
) -> ResNet | MobileNetV2:
    if name == "mobilenetv2":
        return MobileNetV2(
            spatial_dims=spatial_dims,
            in_channels=in_channels,
            out_channels=None,
            width=width,
            output_stride=output_stride,
        )
    return ResNet(
        depth=int(name.removeprefix("resnet")),
        spatial_dims=spatial_dims,
        in_channels=in_channels,
        out_channels=None,
        width=width,
        output_stride=output_stride,
    )
