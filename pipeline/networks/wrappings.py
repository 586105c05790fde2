"""Where a network's weights are within a checkpoint, whatever its trainer has put around them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch

__all__ = ["Found", "find_weights"]

# Where trainers keep a state dict: MONAI and ignite, Lightning, nnU-Net, DeepSpeed, and scripts after PyTorch's
# tutorials. Of several that fit, the first is meant; weights under other names are found too where no other ones fit.
_ENTRIES = ("model", "state_dict", "model_state_dict", "network_weights", "network", "net", "module")
_PREFIXES = ("model", "network", "net", "module", "_model")
# What DataParallel, torch.compile, FSDP and activation checkpointing put before the names of what they wrap.
_WRAPPERS = re.compile(r"(?:(?<=\.)|^)(?:module|_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
_DEEPEST = 4  # entries within entries


@dataclass(frozen=True)
class Found:
    """Weights as they were found.

    Attributes:
        weights: tensors by the names that are the network's own where they fit.
        steps: what was taken off, in words, from the outside in.
        left_out: names beside them that belong to something else, such as a loss or a count of averages.
        fits: how many of the network's names they have.
    """

    weights: Mapping[str, torch.Tensor]
    steps: tuple[str, ...]
    left_out: tuple[str, ...]
    fits: int

    @property
    def where(self) -> str:
        """The steps in words."""
        return ", ".join(self.steps) or "top level"


def find_weights(state: Any, names: Collection[str]) -> list[Found]:
    """Find what may be meant by a network's weights in what a file holds.

    Args:
        state: what was unpacked.
        names: of the network's weights.

    Returns:
        Those that fit best: one, or several between which nothing tells; none where the file holds no tensors.
    """
    found = [one for steps, entry in _entries(state, ()) for one in _without_prefix(entry, frozenset(names), steps)]
    most = max((one.fits for one in found), default=0)
    if most == 0:  # of another network, whose weights are the most
        return sorted(found, key=lambda one: -len(one.weights))[:1]
    best = [one for one in found if one.fits == most]
    return best[:1] if _is_known(best[0]) else best


def _is_known(found: Found) -> bool:
    """Whether each step is one of those that trainers take."""
    known = {*(f"entry {one}" for one in _ENTRIES), *(f"prefix {one}." for one in _PREFIXES)}
    return all(step in known or step.startswith("wrapper ") for step in found.steps)


def _entries(state: Any, steps: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], dict[str, torch.Tensor]]]:
    """Each mapping that holds tensors, those under known names first."""
    if not isinstance(state, Mapping) or len(steps) > _DEEPEST:
        return
    tensors = {key: value for key, value in state.items() if isinstance(key, str) and isinstance(value, torch.Tensor)}
    if tensors:
        yield steps, tensors
    inner = [key for key, value in state.items() if isinstance(key, str) and isinstance(value, Mapping)]
    order = {name: place for place, name in enumerate(_ENTRIES)}
    for key in sorted(inner, key=lambda one: order.get(one, len(order))):
        yield from _entries(state[key], (*steps, f"entry {key}"))


def _without_prefix(entry: dict[str, torch.Tensor], names: frozenset[str], steps: tuple[str, ...]) -> list[Found]:
    """The weights of an entry under the network's names; several where two prefixes fit as well."""
    plain = _by_prefix(entry, names, steps)
    bare, wrappers = _unwrapped(entry, names)
    inner = _by_prefix(bare, names, (*steps, *(f"wrapper {one}" for one in wrappers))) if wrappers else []
    fits = (max(one.fits for one in inner) if inner else 0), max(one.fits for one in plain)
    return inner if fits[0] > fits[1] else plain


def _by_prefix(entry: dict[str, torch.Tensor], names: frozenset[str], steps: tuple[str, ...]) -> list[Found]:
    own = Found(weights=entry, steps=steps, left_out=(), fits=len(entry.keys() & names))
    found = []
    for prefix in _prefixes(entry, names) if not own.fits else ():
        weights = {key.removeprefix(prefix): value for key, value in entry.items() if key.startswith(prefix)}
        left_out = tuple(key for key in entry if not key.startswith(prefix))
        fits = len(weights.keys() & names)
        found.append(Found(weights=weights, steps=(*steps, f"prefix {prefix}"), left_out=left_out, fits=fits))
    return found or [own]


def _prefixes(entry: Mapping[str, Any], names: frozenset[str]) -> list[str]:
    """What may stand before all names, known ones first: what stands before the name that the fewest keys end with."""
    ends: dict[str, list[str]] = {}
    for key in entry:
        for place in (match.end() for match in re.finditer(r"\.", key)):
            if key[place:] in names:
                ends.setdefault(key[place:], []).append(key[:place])
    rarest = min(ends.values(), key=len, default=[])
    order = {f"{name}.": place for place, name in enumerate(_PREFIXES)}
    return sorted(rarest, key=lambda one: order.get(one, len(order)))


def _unwrapped(entry: dict[str, torch.Tensor], names: frozenset[str]) -> tuple[dict[str, torch.Tensor], list[str]]:
    """The same without what wrappers have put into the names; as it is where the network has such names itself."""
    if any(_WRAPPERS.search(name) for name in names):
        return entry, []
    bare = {_WRAPPERS.sub("", key): value for key, value in entry.items()}
    wrappers = list(dict.fromkeys(found for key in entry for found in _WRAPPERS.findall(key)))
    return (bare, wrappers) if wrappers and len(bare) == len(entry) else (entry, [])
