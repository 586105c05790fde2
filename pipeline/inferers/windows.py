"""The sliding windows of a volume, as MONAI's ``sliding_window_inference`` lays them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from monai.data.utils import compute_importance_map, dense_patch_slices
from monai.utils import PytorchPadMode, ensure_tuple_rep, fall_back_tuple, look_up_option
from torch.nn import functional

__all__ = ["Windows"]


@dataclass(frozen=True)
class Windows:
    """Where the windows lie and how much each of their voxels weighs.

    Attributes:
        size: of each window, in voxels.
        starts: the first index of each window along each axis, on the volume's own grid: negative where the volume is
            smaller than the window and padded.
        image_size: voxels along each axis of the volume.
        weight: shape ``size``, float32.
        padding_mode: of ``torch.nn.functional.pad``.
        cval: what a constant padding has.
    """

    size: tuple[int, ...]
    starts: tuple[tuple[int, ...], ...]
    image_size: tuple[int, ...]
    weight: torch.Tensor
    padding_mode: str
    cval: float

    @classmethod
    def of(
        cls,
        image_size: Sequence[int],
        *,
        roi_size: Sequence[int] | int,
        overlap: Sequence[float] | float,
        mode: str,
        sigma_scale: Sequence[float] | float,
        padding_mode: str,
        cval: float,
    ) -> Windows:
        """The windows of a volume; the arguments are those of MONAI's ``SlidingWindowInferer``."""
        image_size = tuple(int(n) for n in image_size)
        size = tuple(int(n) for n in fall_back_tuple(roi_size, image_size))
        padded = tuple(max(pair) for pair in zip(image_size, size, strict=True))
        overlaps = ensure_tuple_rep(overlap, len(size))
        steps = [
            window if window == whole else max(int(window * (1 - share)), 1)
            for window, whole, share in zip(size, padded, overlaps, strict=True)
        ]
        before = [(whole - image) // 2 for whole, image in zip(padded, image_size, strict=True)]
        starts = tuple(
            tuple(int(one.start) - pad for one, pad in zip(window, before, strict=True))
            for window in dense_patch_slices(padded, size, steps)
        )
        return cls(
            size=size,
            starts=starts,
            image_size=image_size,
            weight=compute_importance_map(size, mode=mode, sigma_scale=sigma_scale, dtype=torch.float32),
            padding_mode=str(look_up_option(padding_mode, PytorchPadMode).value),
            cval=cval,
        )

    def read(self, image: torch.Tensor, start: Sequence[int]) -> torch.Tensor:
        """The part (C, ...) of an image (C, ...) under a window, as far as the image goes."""
        inside = (slice(None), *(slice(a, b) for a, b in self.inside(start)))
        return image[inside]

    def inside(self, start: Sequence[int]) -> list[tuple[int, int]]:
        """The part of a window that is inside the volume."""
        return [
            (max(a, 0), min(a + window, whole))
            for a, window, whole in zip(start, self.size, self.image_size, strict=True)
        ]

    def pad(self, part: torch.Tensor, start: Sequence[int]) -> torch.Tensor:
        """Pad what :meth:`read` gave to the window's size."""
        ends: list[int] = []
        for a, window, whole in zip(reversed(start), reversed(self.size), reversed(self.image_size), strict=True):
            ends += [max(-a, 0), max(a + window - whole, 0)]
        if not any(ends):
            return part
        options: dict[str, Any] = {"value": self.cval} if self.padding_mode == "constant" else {}
        return functional.pad(part[None], ends, mode=self.padding_mode, **options)[0]
