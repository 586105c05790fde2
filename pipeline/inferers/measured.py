"""What engines took for one window here: measured, and kept in the user's cache folder."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import math
import os
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from pipeline.documents import read_mapping
from pipeline.errors import InputError
from pipeline.inferers.engines import Network, make_engine
from pipeline.writing import whole_file

__all__ = ["CANNOT_RUN", "Measured", "cache_file", "measure", "recall", "remember", "setting_key"]

_KEPT = 200  # settings in the file; the oldest go
_SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What an engine took for one window.

    Attributes:
        seconds: wall clock, once it runs.
        start: seconds more that the first window took.
        agreement: share of the window's labels that are those of float32; 0 where a logit is not finite.
    """

    seconds: float
    start: float
    agreement: float


CANNOT_RUN = Measured(seconds=0.0, start=0.0, agreement=0.0)


def measure(name: str, network: Network, window: torch.Tensor) -> tuple[Measured, Network, torch.Tensor]:
    """Run one window three times through an engine.

    Args:
        name: one of :data:`pipeline.inferers.engines.ENGINES`.
        network: with its weights, in evaluation mode.
        window: shape (1, C, X, Y[, Z]).

    Returns:
        The figures, with an agreement of 1 where all logits are finite; the engine, ready to run; the logits.

    Raises:
        Exception: whatever the engine raises for a network that it cannot run.
    """
    began = time.perf_counter()
    engine = make_engine(name, network)
    logits: torch.Tensor = engine(window)
    first = time.perf_counter() - began
    seconds = math.inf
    for _ in range(2):
        began = time.perf_counter()
        engine(window)
        seconds = min(seconds, time.perf_counter() - began)
    finite = bool(torch.isfinite(logits).all())
    return Measured(seconds=seconds, start=max(first - seconds, 0.0), agreement=float(finite)), engine, logits


def setting_key(network: torch.nn.Module, window: Sequence[int]) -> str:
    """What figures depend on, as one hash: the processor, threads, versions, the network, its weights, the window."""
    weights = hashlib.blake2b(repr(network).encode())
    for name, tensor in network.state_dict().items():
        weights.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        weights.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    parts = {
        "schema": _SCHEMA,
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "openvino": _version("openvino"),
        "network": weights.hexdigest(),
        "window": list(window),
    }
    return hashlib.blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=16).hexdigest()


def cache_file() -> Path | None:
    """Where figures are kept: below the system's folder for a user's caches, or None where there is no home folder."""
    try:
        if sys.platform == "win32":
            folder = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
        elif sys.platform == "darwin":
            folder = Path.home() / "Library" / "Caches"
        else:
            folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:
        return None
    return folder / "medbundle" / "engines.json"


def recall(key: str) -> dict[str, Measured] | None:
    """The figures of each engine in a setting; None where there are none, or the file is unreadable."""
    try:
        return {name: Measured(**_numbers(figures)) for name, figures in _read()[key].items()}
    except (KeyError, TypeError, AttributeError):
        return None


def remember(key: str, figures: Mapping[str, Measured]) -> bool:
    """Keep the figures of a setting; False where the file cannot be written, which is no reason to end a run."""
    file = cache_file()
    if file is None:
        return False
    entries = {name: entry for name, entry in _read().items() if name != key}
    entries = dict(list(entries.items())[1 - _KEPT :])
    entries[key] = {name: asdict(one) for name, one in figures.items()}
    try:
        with whole_file(file) as temporary:
            temporary.write_text(json.dumps(entries, indent=1), encoding="utf-8")
    except InputError:
        return False
    return True


def _read() -> dict[str, dict[str, dict[str, float]]]:
    file = cache_file()
    try:
        return {} if file is None else read_mapping(file)
    except InputError:
        return {}


def _numbers(figures: Mapping[str, float]) -> dict[str, float]:
    numbers = {name: float(value) for name, value in figures.items() if isinstance(value, (int, float))}
    if not all(math.isfinite(value) and value >= 0 for value in numbers.values()):
        raise TypeError("not the figures that were written")
    return numbers


def _processor() -> str:
    """The processor's name; Python knows it on Windows and macOS."""
    name = platform.processor()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        name = next((line for line in lines if line.startswith("model name")), name)
    except OSError:
        pass
    return f"{platform.machine()} {name} {torch.backends.cpu.get_cpu_capability()}"


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
