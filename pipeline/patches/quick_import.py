"""Import MONAI without what it and Ignite import for features that no mask needs: about half of the time.

They import parts of SciPy and scikit-image for transforms of their own, Matplotlib for notebooks,
scikit-learn for two metrics, ITK for a writer and PyTorch's sharded training for one ``isinstance``. While they are
imported, stand-ins take the places of those modules; each imports its module when it is used, and everybody else who
imports the module gets the module. MONAI's own mechanism imports whatever is installed at once:
https://github.com/Project-MONAI/MONAI/issues/198 asked for imports when they are needed.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from types import ModuleType
from typing import Any

__all__ = ["import_monai"]

_LATER = (
    "itk",
    "matplotlib",
    "matplotlib.pyplot",
    "monai.networks.nets.dints",  # compiles two TorchScript interfaces
    "scipy.ndimage",
    "scipy.optimize",
    "scipy.signal",
    "scipy.spatial",
    "skimage",
    "skimage.exposure",
    "skimage.measure",
    "skimage.morphology",
    "skimage.segmentation",
    "sklearn",
    "sklearn.linear_model",
    "sklearn.metrics",
)
_ZERO = "torch.distributed.optim"


def import_monai() -> None:
    """Import MONAI, if that has not been done, in about half of the time."""
    if "monai" in sys.modules:
        return
    with _stand_ins():
        importlib.import_module("monai")
    _import_itk_later()


def _import_itk_later() -> None:
    """Let ``LoadImage``, which makes one of each of MONAI's readers, import ITK when it first reads a file by it."""
    from monai.data import ITKReader
    from monai.transforms.io.array import SUPPORTED_READERS

    signature = inspect.signature(ITKReader)

    class LaterITKReader(ITKReader):  # type: ignore[misc]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            signature.bind(*args, **kwargs)  # what does not fit is for other readers, and a TypeError says so
            self._given, self._made = (args, kwargs), False

        def read(self, *args: Any, **kwargs: Any) -> Any:
            if not self._made:
                given, named = self._given
                super().__init__(*given, **named)
                self._made = True
            return super().read(*args, **kwargs)

        def __reduce__(self) -> tuple[Any, ...]:
            """As MONAI's own: a DataLoader's worker that is started anew does not know this class."""
            args, kwargs = self._given
            return partial(ITKReader, **kwargs), args

    SUPPORTED_READERS["itkreader"] = LaterITKReader


@contextmanager
def _stand_ins() -> Iterator[None]:
    modules: dict[str, ModuleType] = {name: _Later(name) for name in _LATER if find_spec(name.split(".")[0])}
    modules[_ZERO] = ModuleType(_ZERO)
    modules[_ZERO].ZeroRedundancyOptimizer = _ZeroRedundancyOptimizer  # type: ignore[attr-defined]
    placed = {name: module for name, module in modules.items() if name not in sys.modules}
    sys.modules.update(placed)
    try:
        yield
    finally:
        for name, module in placed.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]


class _Later(ModuleType):
    """Stands for a module: gives stand-ins while it has its place, and the module's own attributes after that."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # MONAI asks for the version
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        if sys.modules.get(self.__name__) is not self:
            return getattr(importlib.import_module(self.__name__), name)
        return sys.modules.get(f"{self.__name__}.{name}") or _called_later(self.__name__, name)


def _called_later(module: str, name: str) -> Any:
    def function(*args: Any, **kwargs: Any) -> Any:
        return getattr(importlib.import_module(module), name)(*args, **kwargs)

    function.__name__ = name
    return function


class _AnyZeroRedundancy(type):
    def __instancecheck__(cls, instance: object) -> bool:
        module = sys.modules.get(f"{_ZERO}.zero_redundancy_optimizer")  # who has such an optimizer has imported it
        return module is not None and isinstance(instance, module.ZeroRedundancyOptimizer)


class _ZeroRedundancyOptimizer(metaclass=_AnyZeroRedundancy):
    """What Ignite compares an optimizer's class with before it saves its state."""
