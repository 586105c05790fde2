"""The ways to run the same weights, and which of them is taken without a measurement."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from pipeline.errors import InputError
from pipeline.inferers.autocast import bf16_is_fast
from pipeline.inferers.openvino_network import OpenVinoNetwork
from pipeline.patches.openvino import openvino_is_installed

__all__ = ["ENGINES", "Network", "candidates", "check_engine", "engine_by_rule", "make_engine", "openvino_problem"]

ENGINES = ("float32", "bfloat16", "float32-channels-last", "bfloat16-channels-last", "openvino")
Network = Callable[..., Any]


def check_engine(engine: str) -> None:
    """Refuse what cannot be run here.

    Raises:
        InputError: an unknown engine, or one whose package is not installed.
    """
    if engine not in ("auto", *ENGINES):
        raise InputError("no such engine", where="engine", expected=f"auto or one of {', '.join(ENGINES)}", got=engine)
    if engine == "openvino" and not openvino_is_installed():
        raise InputError("OpenVINO is not installed", where="engine openvino", cure="pip install 'medbundle[openvino]'")


def engine_by_rule(device: torch.device) -> str:
    """What is right without a measurement: bfloat16 where it is native, see ``benchmarks/engines.md``."""
    return "bfloat16" if bf16_is_fast(device) else "float32"


def candidates(network: Network, device: torch.device) -> list[str]:
    """The engines that a measurement compares; float32 first, which tells whether the others are right."""
    if device.type != "cpu":
        return ["float32"]
    native = bf16_is_fast(device)
    usable = openvino_is_installed() and openvino_problem(network, device) is None
    return [name for name in ENGINES if (native or not name.startswith("bfloat16")) and (usable or name != "openvino")]


def openvino_problem(network: Network, device: torch.device) -> str | None:
    """Why OpenVINO cannot run a network, if so, as far as that shows without trying."""
    if device.type != "cpu":
        return "it runs on the processor"
    if not isinstance(network, torch.nn.Module):
        return "the network is no torch.nn.Module"
    return "the network is in training mode" if network.training else None


def make_engine(name: str, network: Network) -> Network:
    """A network run by an engine: it takes what the network takes, and gives float32.

    Args:
        name: one of :data:`ENGINES`.
        network: any callable; for ``openvino`` one without an :func:`openvino_problem`.
    """
    if name == "openvino":
        return OpenVinoNetwork(network, half=bf16_is_fast(torch.device("cpu")))  # type: ignore[arg-type]
    return _by_torch(network, half=name.startswith("bfloat16"), last=name.endswith("channels-last"))


def _by_torch(network: Network, *, half: bool, last: bool) -> Network:
    layouts = {4: torch.channels_last, 5: torch.channels_last_3d} if last else {}

    def run(batch: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        if batch.ndim in layouts:
            batch = batch.contiguous(memory_format=layouts[batch.ndim])
        with torch.autocast(batch.device.type, dtype=torch.bfloat16, enabled=half):
            result = network(batch, *args, **kwargs)
        return result.float() if isinstance(result, torch.Tensor) else result

    return run
