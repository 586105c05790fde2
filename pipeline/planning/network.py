"""What a plan may name as its network: a class of networks, with arguments that are values."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pydoc import locate
from typing import Annotated, Any

from pydantic import AfterValidator
from torch import nn

__all__ = ["Network"]

_HOMES = ("monai.networks.", "pipeline.networks.", "torch.nn.")
_MEANT = "$@%#"  # by these, MONAI's parser finds expressions, references, macros and places in the config
_KEYS = ("_target_", "_desc_")  # of MONAI's own; _requires_ and _mode_ have no place in a network's arguments


def _checked(network: dict[str, Any]) -> dict[str, Any]:
    if "_target_" not in network:
        raise ValueError("needs a _target_, such as monai.networks.nets.DynUNet")
    _check(network, "")
    return network


def _check(value: Any, place: str) -> None:
    """Refuse what a built config would run, at any depth of the arguments."""
    if isinstance(value, str) and set(_MEANT) & set(value):
        raise ValueError(f"{place or 'it'}: arguments are values, without any of {' '.join(_MEANT)}, got {value}")
    if isinstance(value, Mapping):
        _check_target(value, place)
        for key, one in value.items():
            _check_key(key, place)
            _check(one, f"{place}{key}.")
    elif isinstance(value, list | tuple):
        for number, one in enumerate(value):
            _check(one, f"{place}{number}.")


def _check_target(value: Mapping[Any, Any], place: str) -> None:
    if "_target_" in value and not _is_network(value["_target_"]):
        homes = ", ".join(home.rstrip(".") for home in _HOMES)
        raise ValueError(f"{place}_target_: must be a network of {homes}, got {value['_target_']}")


def _check_key(key: Any, place: str) -> None:
    if not isinstance(key, str) or set(_MEANT) & set(key) or "::" in key:
        raise ValueError(f"{place}: expected the names of arguments, got {key}")
    if key.startswith("_") and key.endswith("_") and key not in _KEYS:
        raise ValueError(f"{place}{key}: is not for plans")


def _is_network(target: object) -> bool:
    """Whether a target is a class or, as MONAI's ResNets have one, a function of networks, where it has its home.

    Through a module of theirs all others could be reached: ``monai.networks.utils.os.system``.
    """
    if not isinstance(target, str):
        return False
    name = target if "." in target else f"monai.networks.nets.{target}"  # MONAI finds its own by their name alone
    if not name.startswith(_HOMES):
        return False
    try:
        found = locate(name)
    except Exception:  # noqa: BLE001 - whatever a module of that name does when it is imported
        return False
    home = str(getattr(found, "__module__", ""))
    if inspect.isclass(found):
        return issubclass(found, nn.Module) and home.startswith(_HOMES)
    return inspect.isfunction(found) and home.startswith("monai.networks.nets.")


Network = Annotated[dict[str, Any], AfterValidator(_checked)]
