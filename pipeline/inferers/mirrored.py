"""Test-time averaging over mirrored inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain, combinations
from typing import Any

import torch
from monai.inferers import Inferer

__all__ = ["MirroredInferer"]


class MirroredInferer(Inferer):  # type: ignore[misc]
    """Average the network's output over all flips of some spatial axes; maps are flipped back, classes have no axes.

    Args:
        inferer: the inferer that is applied to each flip.
        axes: spatial axes that may be flipped, counted from 0; n axes make 2 ** n passes.
    """

    def __init__(self, inferer: Inferer, *, axes: Sequence[int] = ()) -> None:
        super().__init__()
        self.inferer = inferer
        self.axes = tuple(axes)

    def __call__(self, inputs: torch.Tensor, network: Callable[..., torch.Tensor], *args: Any, **kwargs: Any) -> Any:
        """Apply the inner inferer; see MONAI's ``Inferer``.

        Inputs are (B, C, X, Y[, Z]), the output (B, K, X, Y[, Z]) or, of a classifier, (B, K).
        """
        total = self.inferer(inputs, network, *args, **kwargs)
        flips = chain.from_iterable(combinations(self.axes, n) for n in range(1, len(self.axes) + 1))
        passes = 1
        for flip in flips:
            dims = [axis + 2 for axis in flip]
            mirrored = self.inferer(torch.flip(inputs, dims), network, *args, **kwargs)
            total = total + (torch.flip(mirrored, dims) if mirrored.ndim == inputs.ndim else mirrored)
            passes += 1
        return total / passes
