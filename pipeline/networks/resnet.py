"""ResNet."""

from __future__ import annotations

from collections.abc import Collection
from typing import ClassVar

import torch
from monai.networks.layers.factories import Act, Conv, Norm, Pool
from torch import nn

from pipeline.networks.blocks import check_counts, check_spatial_dims, check_width, initialise, rounded_channels
from pipeline.networks.imagenet import ImageNetNetwork

__all__ = ["ResNet"]

# Blocks of each layer, and whether they are bottlenecks: table 1 of the paper.
_LAYERS = {
    18: ((2, 2, 2, 2), False),
    34: ((3, 4, 6, 3), False),
    50: ((3, 4, 6, 3), True),
    101: ((3, 4, 23, 3), True),
}


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions, or as a bottleneck 1x1, 3x3 and 1x1, added to the input (figure 5 of the paper).

    The stride is in the first 3x3 convolution, as in the published weights (the paper has a bottleneck's in the 1x1).
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        channels: int,
        *,
        is_bottleneck: bool,
        stride: int,
        dilations: tuple[int, int],
    ) -> None:
        super().__init__()
        conv, norm = Conv[Conv.CONV, spatial_dims], Norm[Norm.BATCH, spatial_dims]
        here, after = dilations  # of the convolution that has the stride, and of those that come after it
        out_channels = 4 * channels if is_bottleneck else channels
        strided = {"kernel_size": 3, "stride": stride, "padding": here, "dilation": here, "bias": False}
        self.is_bottleneck = is_bottleneck
        if is_bottleneck:
            self.conv1 = conv(in_channels, channels, kernel_size=1, bias=False)
            self.bn1 = norm(channels)
            self.conv2 = conv(channels, channels, **strided)
            self.bn2 = norm(channels)
            self.conv3 = conv(channels, out_channels, kernel_size=1, bias=False)
            self.bn3 = norm(out_channels)
        else:
            self.conv1 = conv(in_channels, channels, **strided)
            self.bn1 = norm(channels)
            self.conv2 = conv(channels, channels, kernel_size=3, padding=after, dilation=after, bias=False)
            self.bn2 = norm(channels)
        self.relu = Act[Act.RELU](inplace=True)
        self.downsample: nn.Module | None = None
        if stride != 1 or in_channels != out_channels:
            projection = conv(in_channels, out_channels, kernel_size=1, stride=stride, bias=False)
            self.downsample = nn.Sequential(projection, norm(out_channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, in_channels, X, Y[, Z]) to (B, out_channels, X / stride, ...)."""
        residual = self.relu(self.bn1(self.conv1(x)))
        residual = self.bn2(self.conv2(residual))
        if self.is_bottleneck:
            residual = self.bn3(self.conv3(self.relu(residual)))
        shortcut = x if self.downsample is None else self.downsample(x)
        activated: torch.Tensor = self.relu(residual + shortcut)
        return activated


def _check_one_of(known: Collection[int], **argument: int) -> None:
    for name, value in argument.items():
        if value not in known:
            raise ValueError(f"{name}: expected one of {', '.join(map(str, known))}, got {value!r}")


def _layer(
    *,
    spatial_dims: int,
    in_channels: int,
    channels: int,
    count: int,
    is_bottleneck: bool,
    stride: int,
    dilations: tuple[int, int],
) -> nn.Sequential:
    """Residual blocks of which the first alone has the stride; where that became dilation, it is in what follows."""
    first = ResidualBlock(
        spatial_dims, in_channels, channels, is_bottleneck=is_bottleneck, stride=stride, dilations=dilations
    )
    after = (dilations[1], dilations[1])
    out_channels = 4 * channels if is_bottleneck else channels
    others = (
        ResidualBlock(spatial_dims, out_channels, channels, is_bottleneck=is_bottleneck, stride=1, dilations=after)
        for _ in range(count - 1)
    )
    return nn.Sequential(first, *others)


class ResNet(ImageNetNetwork):
    """Deep residual network of 18, 34, 50 or 101 layers.

    K. He, X. Zhang, S. Ren, J. Sun: Deep Residual Learning for Image Recognition. CVPR 2016. State-dict keys are
    torchvision's; see :func:`pipeline.networks.load_imagenet_weights`.

    Args:
        depth: 18, 34, 50 or 101.
        spatial_dims: 2 or 3 (the paper: 2).
        in_channels: channels of the input.
        out_channels: number of classes or labels; None leaves out the head, for an encoder.
        width: factor on all channels (the paper: 1).
        output_stride: 8, 16 or 32; below 32 the last strides become dilation (Chen et al. 2017).
    """

    beyond_backbone: ClassVar[tuple[str, ...]] = ("fc.",)

    def __init__(
        self,
        *,
        depth: int,
        spatial_dims: int = 2,
        in_channels: int = 3,
        out_channels: int | None,
        width: float = 1.0,
        output_stride: int = 32,
    ) -> None:
        super().__init__()
        _check_one_of(_LAYERS, depth=depth)
        check_spatial_dims(spatial_dims)
        check_counts(in_channels=in_channels, out_channels=1 if out_channels is None else out_channels)
        check_width(width)
        _check_one_of((8, 16, 32), output_stride=output_stride)
        counts, is_bottleneck = _LAYERS[depth]
        stages = [rounded_channels(base * width) for base in (64, 128, 256, 512)]
        self.conv1 = Conv[Conv.CONV, spatial_dims](
            in_channels, stages[0], kernel_size=7, stride=2, padding=3, bias=False
        )
        self.bn1 = Norm[Norm.BATCH, spatial_dims](stages[0])
        self.relu = Act[Act.RELU](inplace=True)
        self.maxpool = Pool[Pool.MAX, spatial_dims](kernel_size=3, stride=2, padding=1)
        layers: list[nn.Sequential] = []
        channels, reached, dilation = stages[0], 4, 1
        for count, stage in zip(counts, stages, strict=True):
            wanted = 2 if layers else 1
            stride = wanted if reached * wanted <= output_stride else 1
            dilations = (dilation, dilation * wanted // stride)
            layers.append(
                _layer(
                    spatial_dims=spatial_dims,
                    in_channels=channels,
                    channels=stage,
                    count=count,
                    is_bottleneck=is_bottleneck,
                    stride=stride,
                    dilations=dilations,
                )
            )
            channels = 4 * stage if is_bottleneck else stage
            reached, dilation = reached * stride, dilations[1]
        self.layer1, self.layer2, self.layer3, self.layer4 = layers
        self.low_level_channels = 4 * stages[0] if is_bottleneck else stages[0]
        self.high_level_channels = channels
        self.fc = None if out_channels is None else nn.Linear(channels, out_channels)
        initialise(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (B, out_channels) of images (B, in_channels, X, Y[, Z]); without a head the last feature map."""
        _, x = self.low_and_high_level(x)
        if self.fc is None:
            return x
        logits: torch.Tensor = self.fc(x.flatten(2).mean(dim=2))
        return logits

    def low_and_high_level(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Features (B, low_level_channels, ...) at stride 4, and (B, high_level_channels, ...) at the output stride."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        low: torch.Tensor = self.layer1(x)
        return low, self.layer4(self.layer3(self.layer2(low)))
