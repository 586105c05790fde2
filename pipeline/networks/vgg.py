"""The convolutions of VGG16, which FCN and SegNet start from."""

from __future__ import annotations

from itertools import pairwise

from torch import nn

from pipeline.networks.blocks import rounded_channels

__all__ = ["stage_channels", "vgg16_features"]

_STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))


def stage_channels(width: float) -> list[list[int]]:
    """Channels of each convolution, stage by stage: configuration D, table 1 of the paper, times the width."""
    return [[rounded_channels(channels * width)] * count for channels, count in _STAGES]


def vgg16_features(in_channels: int, *, width: float, batch_norm: bool, with_indices: bool) -> nn.ModuleList:
    """Thirteen 3x3 convolutions with rectifiers, and a maximum pooling after each of the five stages.

    K. Simonyan, A. Zisserman: Very Deep Convolutional Networks for Large-Scale Image Recognition. ICLR 2015. The keys
    are those of torchvision's vgg16 or vgg16_bn below ``features``. Poolings round sizes up, so that no row is lost.

    Args:
        in_channels: channels of the input.
        width: factor on all channels.
        batch_norm: whether batch norm follows each convolution.
        with_indices: whether the poolings give the places of the maxima too.
    """
    layers = nn.ModuleList()
    channels = in_channels
    for stage in stage_channels(width):
        for before, after in pairwise((channels, *stage)):
            layers.append(nn.Conv2d(before, after, kernel_size=3, padding=1))
            if batch_norm:
                layers.append(nn.BatchNorm2d(after))
            layers.append(nn.ReLU(inplace=True))
        layers.append(nn.MaxPool2d(kernel_size=2, ceil_mode=True, return_indices=with_indices))
        channels = stage[-1]
    return layers
