"""Which part of an image speaks for a class."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from monai.transforms import Invertd
from monai.visualize import GradCAM
from torch import nn

from pipeline.errors import InputError

__all__ = ["ClassMaps", "map_layers", "on_input_grid"]


class ClassMaps:
    """Grad-CAM maps of a classifier, by MONAI's ``GradCAM``.

    R. R. Selvaraju, M. Cogswell, A. Das, R. Vedantam, D. Parikh, D. Batra: Grad-CAM: Visual Explanations from Deep
    Networks via Gradient-based Localization. ICCV 2017. A layer's channels are added up, each weighted by the mean
    gradient of the class's logit with respect to it; what is negative becomes 0.

    The network is copied, in evaluation mode and float32; operations of its modules in place are turned off in the
    copy, because they would change the map between its making and its reading.

    Args:
        network: gives logits (B, K) of images (B, C, X, Y[, Z]).
        layer: the name of the module whose output is weighted; None takes the last one of :func:`map_layers` at the
            first image, which is the last convolution with its activation in most networks.

    Raises:
        InputError: the network has no module of that name; suggests the nearest.
    """

    def __init__(self, network: nn.Module, *, layer: str | None = None) -> None:
        self.network = copy.deepcopy(network).float().eval().requires_grad_()
        for module in self.network.modules():
            if getattr(module, "inplace", False):
                module.inplace = False  # type: ignore[assignment]
        if layer is not None:
            _check_name(layer, [name for name, _ in self.network.named_modules() if name])
        self.layer = layer
        self._maps: Callable[..., torch.Tensor] | None = None

    def logits(self, image: torch.Tensor) -> torch.Tensor:
        """Logits (K,) of an image (C, X, Y[, Z])."""
        with torch.no_grad():
            result: torch.Tensor = self.network(_batch(image))
        return result[0]

    def __call__(self, image: torch.Tensor, number: int) -> torch.Tensor:
        """Map what speaks for a class.

        Args:
            image: the network's input, shape (C, X, Y[, Z]).
            number: of the class.

        Returns:
            shape (1, X, Y[, Z]), float32, on the CPU: the layer's map, brought to the image's size linearly. The
            largest value is 1; the map is 0 everywhere where nothing speaks for the class.

        Raises:
            InputError: the layer gives no map of this image.
        """
        batch = _batch(image)
        if self._maps is None:
            self.layer = self._usable_layer(batch)
            self._maps = GradCAM(self.network, target_layers=self.layer, postprocessing=_unchanged)
        # The image has a gradient as well, so that a layer without weights before it has one.
        found = self._maps(batch.requires_grad_(), class_idx=number)[0].detach().cpu()
        largest = float(found.max())
        return found / largest if largest > 0 else torch.zeros_like(found)

    def _usable_layer(self, batch: torch.Tensor) -> str:
        known = map_layers(self.network, batch)
        if not known:
            raise InputError("no layer of the network gives a map of the image", expected="a convolutional network")
        if self.layer is None:
            return known[-1]
        if self.layer not in map_layers(self.network, batch, everything=True):
            raise InputError(
                "the layer gives no map",
                where=self.layer,
                expected="one that is used once and gives more than one pixel along each axis",
                cure=f"Take another, such as {known[-1]}",
            )
        return self.layer


def map_layers(network: nn.Module, batch: torch.Tensor, *, everything: bool = False) -> list[str]:
    """The modules whose output is a map of more than one pixel along each axis, in the order of their execution.

    A module that is used several times is none of them: hooks cannot tell its outputs apart. Of nested modules with
    the same output, such as a block and its last layer, the innermost stands for all. Pooling is left out: it gives
    what the layer before it gives, coarser.

    Args:
        network: in evaluation mode.
        batch: images, shape (B, C, X, Y[, Z]).
        everything: list pooling and all names of nested modules with one output as well.
    """
    calls = _calls(network, batch)
    names = [name for name, _, _ in calls]
    seen = set() if everything else {id(output) for _, pools, output in calls if pools}
    found: list[str] = []
    for name, _, output in calls:
        if names.count(name) == 1 and _is_map(output, batch.ndim) and id(output) not in seen:
            found.append(name)
            seen |= set() if everything else {id(output)}
    return found


def _calls(network: nn.Module, batch: torch.Tensor) -> list[tuple[str, bool, Any]]:
    """Each module's name, whether it is pooling, and its output, in the order of their execution."""
    calls: list[tuple[str, bool, Any]] = []  # the outputs are kept, so that each identity stays its own
    handles = [
        module.register_forward_hook(_noting(calls, name, pools=type(module).__module__ == nn.MaxPool2d.__module__))
        for name, module in network.named_modules()
        if name
    ]
    try:
        with torch.no_grad():
            network(batch)
    finally:
        for handle in handles:
            handle.remove()
    return calls


def on_input_grid(
    heat: torch.Tensor, image: Any, preprocessing: Callable[..., Any]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Bring a map of the network's input back to the grid of the image that was read.

    Args:
        heat: shape (1, X, Y[, Z]), from :class:`ClassMaps`.
        image: what the preprocessing made of the image: a MetaTensor of shape (C, X, Y[, Z]) with its history.
        preprocessing: the invertible transforms that made it.

    Returns:
        The map and how much of each pixel the network saw, both 0 to 1 and of the shape (X, Y[, Z]) of the image that
        was read.
    """
    invert = Invertd(keys="map", transform=preprocessing, orig_keys="image", nearest_interp=False, to_tensor=True)
    both = torch.cat([heat, torch.ones_like(heat)])
    inverted = invert({"image": image, "map": type(image)(both)})["map"]
    mapped, seen = np.asarray(inverted.cpu(), dtype=np.float32).clip(0, 1)
    return mapped, seen


def _noting(calls: list[tuple[str, bool, Any]], name: str, *, pools: bool) -> Callable[..., None]:
    def note(_module: nn.Module, _inputs: Any, output: Any) -> None:
        calls.append((name, pools, output))

    return note


def _is_map(output: Any, rank: int) -> bool:
    return isinstance(output, torch.Tensor) and output.ndim == rank and min(output.shape[2:]) > 1


def _batch(image: torch.Tensor) -> torch.Tensor:
    """A batch of one image, float32, a plain tensor."""
    return torch.as_tensor(image).as_subclass(torch.Tensor).detach().float()[None]


def _unchanged(found: torch.Tensor) -> torch.Tensor:
    return found


def _check_name(layer: str, known: list[str]) -> None:
    if layer not in known:
        near = difflib.get_close_matches(layer, known, n=1)
        cure = f"Did you mean {near[0]}?" if near else f"Known: {', '.join(known)}"
        raise InputError("the network has no such layer", where=layer, cure=cure)
