"""Weights of a network from a file, in whatever wrapping their training has left them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pipeline.errors import InputError, one_line

__all__ = ["load_weights", "read_weights"]

logger = logging.getLogger(__name__)

# Where trainers keep a state dict: MONAI and ignite, Lightning, nnU-Net, and scripts after PyTorch's tutorials.
_ENTRIES = ("model", "state_dict", "model_state_dict", "network_weights", "network", "net")
# What DataParallel, torch.compile and Lightning put before each name.
_PREFIXES = ("module.", "_orig_mod.", "model.", "network.", "net.", "_model.")


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


def read_weights(file: Path, *, names: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Read a state dict, out of an entry of a checkpoint and without a prefix of all its names where it has those.

    Args:
        file: what ``torch.save`` wrote; nothing but tensors and plain values is unpacked.
        names: of the network's weights, by which a prefix is told from a part of a name.

    Raises:
        InputError: the file holds no weights.
    """
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        why = (
            "more than tensors and plain values, which weights_only bars"
            if "weights_only" in str(error).lower()
            else None
        )
        raise InputError("holds no weights", where=file, got=why or one_line(error).split(".")[0]) from error
    steps: list[str] = []
    while isinstance(state, Mapping) and not _shapes(state):
        entry = next((one for one in _ENTRIES if isinstance(state.get(one), Mapping)), None)
        if entry is None:
            break
        state, steps = state[entry], [*steps, f"entry {entry}"]
    if not isinstance(state, Mapping) or not _shapes(state):
        got = type(state).__name__ if not isinstance(state, Mapping) else ", ".join(map(str, list(state)[:5])) or "{}"
        raise InputError("holds no weights", where=file, expected="a state dict", got=got)
    found = {str(name): value for name, value in state.items()}
    while prefix := _prefix(found, names):
        found, steps = {name.removeprefix(prefix): value for name, value in found.items()}, [*steps, f"prefix {prefix}"]
    if steps and steps != ["entry model"]:  # which is where medbundle and MONAI keep them
        logger.info("%s: the weights are taken out of its %s", file, ", ".join(steps))
    return found


def _prefix(found: Mapping[str, Any], names: Mapping[str, Any]) -> str | None:
    """A prefix of all names that the network's have not."""
    if found.keys() & names.keys():
        return None
    return next((one for one in _PREFIXES if found and all(name.startswith(one) for name in found)), None)


def _shapes(state: Mapping[Any, Any]) -> dict[str, tuple[int, ...]]:
    return {str(name): tuple(value.shape) for name, value in state.items() if isinstance(value, torch.Tensor)}
