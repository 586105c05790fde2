"""SegNet."""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional

from pipeline.networks.blocks import check_counts, check_spatial_dims, check_width, conv_norm_act, initialise
from pipeline.networks.imagenet import ImageNetNetwork
from pipeline.networks.vgg import stage_channels, vgg16_features

__all__ = ["SegNet"]


class SegNet(ImageNetNetwork):
    """The convolutions of VGG16 and their mirror image, which puts each maximum back where it was found.

    V. Badrinarayanan, A. Kendall, R. Cipolla: SegNet: A Deep Convolutional Encoder-Decoder Architecture for Image
    Segmentation. TPAMI 2017. Of the 13 convolutions of the decoder the last gives the classes, and has neither batch
    norm nor rectifier. The keys of the encoder are torchvision's for vgg16_bn; see
    :func:`pipeline.networks.load_imagenet_weights`. Unlike the paper's, the width is free, and poolings round sizes up,
    so that any size is taken.

    Args:
        spatial_dims: 2.
        in_channels: channels of the input.
        out_channels: number of classes.
        width: factor on all channels (the paper: 1).
    """

    beyond_backbone: ClassVar[tuple[str, ...]] = ("classifier.", "decoder.")

    def __init__(self, *, spatial_dims: int = 2, in_channels: int = 3, out_channels: int, width: float = 1.0) -> None:
        super().__init__()
        check_spatial_dims(spatial_dims, supported=(2,))
        check_counts(in_channels=in_channels, out_channels=out_channels)
        check_width(width)
        self.features = vgg16_features(in_channels, width=width, batch_norm=True, with_indices=True)
        self.decoder = nn.ModuleList()
        stages = stage_channels(width)
        for stage, finer in zip(reversed(stages[1:]), reversed(stages[:-1]), strict=True):
            mirrored = pairwise((*stage, finer[-1]))
            self.decoder.append(nn.Sequential(*(conv_norm_act(2, before, after) for before, after in mirrored)))
        finest = stages[0][0]
        self.decoder.append(
            nn.Sequential(conv_norm_act(2, finest, finest), nn.Conv2d(finest, out_channels, kernel_size=3, padding=1))
        )
        initialise(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (B, out_channels, X, Y) of images (B, in_channels, X, Y)."""
        places = []
        for layer in self.features:
            if isinstance(layer, nn.MaxPool2d):
                grid = x.shape[2:]
                x, indices = layer(x)
                places.append((indices, grid))
            else:
                x = layer(x)
        for decode, (indices, grid) in zip(self.decoder, reversed(places), strict=True):
            x = decode(functional.max_unpool2d(x, indices, [2, 2], output_size=list(grid)))
        return x
