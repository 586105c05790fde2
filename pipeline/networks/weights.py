"""Weights of a network from a file, in whatever wrapping their training has left them."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from pipeline.errors import InputError, one_line
from pipeline.networks.wrappings import find_weights

__all__ = ["load_weights", "read_weights"]

logger = logging.getLogger(__name__)

_SHOWN = 5
_ALONE = "Save the weights by themselves: torch.save(network.state_dict(), FILE)"
_BARRED = re.compile(r"GLOBAL (\S+) was not an allowed global")

# NumPy's numbers, as which trainers note their scores; they hold a type and bytes, and run nothing.
_SCALAR = np.float64(0).__reduce__()[0]
_NUMBERS: list[Any] = [
    *((_SCALAR, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),  # NumPy 1 and 2
    np.dtype,
    *{type(np.dtype(code)) for code in "?bBhHiIlLqQefd"},
]


def load_weights(network: nn.Module, file: Path) -> nn.Module:
    """Give a network the weights of a file, and return it.

    Args:
        network: whose every weight must be in the file, and no other.
        file: a state dict, or one that is wrapped, see :func:`read_weights`.

    Raises:
        InputError: the file holds no weights, or those of another network.
    """
    own = network.state_dict()
    state = read_weights(file, names=own)
    wanted, given = (_shapes(one) for one in (own, state))
    if wanted != given:
        name = next(iter(sorted(key for key in wanted.keys() | given.keys() if wanted.get(key) != given.get(key))))
        raise InputError(
            "weights are of another network",
            where=file,
            expected=f"{name} of shape {wanted[name]}" if name in wanted else f"no {name}",
            got=given.get(name, "none"),
            cure="Give weights of this bundle's network",
        )
    network.load_state_dict(state)
    return network


def read_weights(file: Path, *, names: Collection[str]) -> dict[str, torch.Tensor]:
    """Read a state dict, out of an entry of a checkpoint and without what wrappers put before its names.

    What was taken off is said, and what was left out.

    Args:
        file: what ``torch.save`` wrote; nothing but tensors and plain values is unpacked.
        names: of the network's weights, by which its own are told from others.

    Raises:
        InputError: the file holds no weights, or this network's several times.
    """
    state = _unpacked(file)
    found = find_weights(state, names)
    if not found:
        got = ", ".join(map(str, list(state)[:_SHOWN])) or "{}" if isinstance(state, Mapping) else type(state).__name__
        raise InputError("holds no weights", where=file, expected="a state dict", got=got)
    if len(found) > 1:
        got = "; ".join(one.where for one in found)
        raise InputError("holds weights of this network more than once", where=file, got=got, cure=_ALONE)
    weights = found[0]
    if weights.steps and weights.steps != ("entry model",):  # which is where medbundle and MONAI keep them
        besides = f"; left out: {', '.join(weights.left_out[:_SHOWN])}" if weights.left_out else ""
        logger.info("%s: the weights are taken out of its %s%s", file, weights.where, besides)
    return dict(weights.weights)


def _unpacked(file: Path) -> Any:
    try:
        with torch.serialization.safe_globals(_NUMBERS):
            return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        barred = _BARRED.search(str(error))
        if barred:
            got = f"an object of {barred[1]}, which weights_only bars as it could run code"
            raise InputError("holds more than weights", where=file, got=got, cure=_ALONE) from error
        raise InputError("holds no weights", where=file, got=one_line(error).split(".")[0]) from error


def _shapes(state: Mapping[Any, Any]) -> dict[str, tuple[int, ...]]:
    return {str(name): tuple(value.shape) for name, value in state.items() if isinstance(value, torch.Tensor)}
