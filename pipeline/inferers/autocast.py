"""bfloat16 where the processor has it: MONAI's ``amp`` knows CUDA only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from monai.inferers import Inferer

__all__ = ["AutocastInferer", "bf16_is_fast"]


def bf16_is_fast(device: torch.device) -> bool:
    """Whether bfloat16 arithmetic is native: AVX512-BF16 or AMX on a CPU, compute capability 8 or more on CUDA.

    Elsewhere it is emulated, which is slower than float32.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        # torch has no public question for this; an unknown or missing answer counts as no.
        questions = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
        return any(question() for question in questions if question is not None)
    return False


class AutocastInferer(Inferer):  # type: ignore[misc]
    """Run the network of another inferer in bfloat16 autocast and hand back float32.

    Only the network runs in bfloat16: blending windows and the loss stay float32.

    Args:
        inferer: the inferer that calls the network.
        enabled: True or False decides; None takes bfloat16 where :func:`bf16_is_fast`.
    """

    def __init__(self, inferer: Inferer, *, enabled: bool | None = None) -> None:
        super().__init__()
        self.inferer = inferer
        self.enabled = enabled

    def __call__(self, inputs: torch.Tensor, network: Callable[..., torch.Tensor], *args: Any, **kwargs: Any) -> Any:
        """Apply the inner inferer; see MONAI's ``Inferer``."""
        enabled = bf16_is_fast(inputs.device) if self.enabled is None else self.enabled

        def in_bfloat16(batch: torch.Tensor, *a: Any, **k: Any) -> torch.Tensor:
            with torch.autocast(batch.device.type, dtype=torch.bfloat16, enabled=enabled):
                return network(batch, *a, **k).float()

        return self.inferer(inputs, in_bfloat16, *args, **kwargs)
