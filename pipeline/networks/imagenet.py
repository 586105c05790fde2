"""Public ImageNet weights from a local file."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import torch
from torch import nn

from pipeline.errors import InputError
from pipeline.networks.weights import read_weights

__all__ = ["ImageNetNetwork", "load_imagenet_weights", "prepare_backbone"]


class ImageNetNetwork(nn.Module):
    """A network whose state-dict keys are torchvision's, so that the published weights fit.

    The first parameter is the weight of the first convolution. ``beyond_backbone`` has the beginnings of the keys that
    belong to the classes rather than to the features: each is taken where it fits, and left as it is where it does not.
    """

    beyond_backbone: ClassVar[tuple[str, ...]]


def prepare_backbone(network: nn.Module, *, imagenet_weights: str | Path | None = None, freeze: bool = False) -> None:
    """Make a network ready for a training that starts from, or stays with, the features of another.

    Args:
        network: one with an ImageNet backbone, or whose ``encoder`` is one; any other where nothing is asked for.
        imagenet_weights: see :func:`load_imagenet_weights`; None loads nothing.
        freeze: train the head alone; neither weights nor batch-norm statistics of the features change.

    Raises:
        InputError: the network has no backbone that could be loaded or frozen; the file does not fit.
    """
    name = type(network).__name__
    if imagenet_weights is not None:
        backbone = network if isinstance(network, ImageNetNetwork) else getattr(network, "encoder", None)
        if not isinstance(backbone, ImageNetNetwork):
            raise InputError("has no ImageNet backbone", where=name, cure="Train it without ImageNet weights")
        path = Path(imagenet_weights).expanduser()
        if not path.is_file():
            raise InputError("no such file", where=path, cure="Give a state dict with torchvision's key names")
        load_imagenet_weights(backbone, path)
    if freeze:
        freeze_backbone = getattr(network, "freeze_backbone", None)
        if freeze_backbone is None:
            raise InputError("has no backbone to freeze", where=name, cure="Leave out freeze_backbone in plan.yaml")
        freeze_backbone()


def load_imagenet_weights(network: ImageNetNetwork, path: str | Path) -> None:
    """Load a published state dict of ImageNet weights into a network, whatever its input channels and classes.

    The first convolution is fitted to the network's channels so that a grey image gives the features that its copy in
    red, green and blue gives: for one channel its weight is summed over RGB; for N (not 3) that sum, divided by N, is
    repeated. That holds for images that are normalised alike in every channel.

    Args:
        network: a two-dimensional network of this room with an ImageNet backbone; an encoder of ``DeepLabV3Plus`` too.
        path: a state dict that was saved by ``torch.save``, with torchvision's key names.

    Raises:
        InputError: the file lacks a weight of the backbone, has one that the backbone lacks, or one of another shape.
    """
    own = network.state_dict()
    theirs = read_weights(Path(path), names=own)
    first = next(iter(own))
    if first in theirs:
        theirs[first] = _fit_channels(theirs[first], own[first].shape[1])
    chosen: dict[str, torch.Tensor] = {}
    for key in sorted(own.keys() | theirs.keys()):
        if key.startswith(network.beyond_backbone):
            # A fully connected layer may be a convolution here (Long et al. 2015): the same numbers in the same order.
            if key in own and key in theirs and own[key].numel() == theirs[key].numel():
                chosen[key] = theirs[key].reshape(own[key].shape)
        elif not key.endswith("num_batches_tracked"):  # absent from older files
            _check_fit(key, own, theirs, path)
            chosen[key] = theirs[key]
    network.load_state_dict(chosen, strict=False)


def _fit_channels(weight: torch.Tensor, in_channels: int) -> torch.Tensor:
    """Weight (out, 3, ...) of a first convolution on RGB for another number of channels: (out, in_channels, ...)."""
    if weight.shape[1] == in_channels:
        return weight
    grey = weight.sum(dim=1, keepdim=True)
    return (grey / in_channels).repeat_interleave(in_channels, dim=1)


def _check_fit(key: str, own: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor], path: str | Path) -> None:
    expected, got = (tuple(state[key].shape) if key in state else "no such weight" for state in (own, theirs))
    if expected != got:
        raise InputError(
            f"weights of another network: {key}",
            where=path,
            expected=expected,
            got=got,
            cure="Give the file of the same network, which must be two-dimensional and of full width",
        )
