"""What a label map says in numbers, counted while it is made."""

from __future__ import annotations

import torch

__all__ = ["Tally"]

_LABELS = 256


class Tally:
    """Voxels and mean confidence of each label."""

    def __init__(self) -> None:
        self._voxels = torch.zeros(_LABELS, dtype=torch.int64)
        self._confidence = torch.zeros(_LABELS, dtype=torch.float64)

    def add(self, labels: torch.Tensor, confidence: torch.Tensor) -> None:
        """Count a block: labels, uint8, and the probability of each, of one shape."""
        flat = labels.flatten().long()
        self._voxels += torch.bincount(flat, minlength=_LABELS)
        self._confidence += torch.bincount(flat, weights=confidence.flatten().double().cpu(), minlength=_LABELS)

    def summary(self, *, highest: int) -> dict[str, torch.Tensor]:
        """For each label up to the highest: ``label_voxels``, and ``label_confidence``, NaN where there is no voxel."""
        voxels, confidence = self._voxels[: highest + 1], self._confidence[: highest + 1]
        return {"label_voxels": voxels, "label_confidence": confidence / voxels}
