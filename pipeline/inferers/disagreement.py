"""How far the passes of a network over the same windows agree, summed while a volume is segmented."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from monai.inferers import Inferer

__all__ = ["DISAGREEMENT", "Disagreement", "DisagreementInferer"]

_NOISE = 0.5  # of the disturbed pass, in standard deviations of the window
_SEED = 0
_SUMS = 13

DISAGREEMENT = (
    "expected_dice",
    "mirrored_agreement",
    "noise_agreement",
    "confidence",
    "border_confidence",
    "inside",
    "inside_deviation",
    "outside",
)
"""What :meth:`Disagreement.features` tells of each channel, in this order."""


class Disagreement:
    """Sums over the windows of one image, for each channel but the first, which is background.

    Args:
        channels: of the logits.
    """

    def __init__(self, channels: int) -> None:
        self._sums = torch.zeros(channels - 1, _SUMS, dtype=torch.float64)

    def add(self, image: torch.Tensor, mean: torch.Tensor, others: tuple[torch.Tensor, torch.Tensor]) -> None:
        """Add some windows.

        Args:
            image: shape (N, C, X, Y[, Z]).
            mean: the logits (N, K, X, Y[, Z]) that decide.
            others: those of two single passes: plain, and of noisy windows.
        """
        grey = image.float().mean(dim=1)
        norms = [torch.logsumexp(logits, dim=1) for logits in (mean, *others)]
        labels = mean.argmax(dim=1)
        for channel in range(1, mean.shape[1]):
            first, *rest = (
                torch.exp(logits[:, channel] - norm) for logits, norm in zip((mean, *others), norms, strict=True)
            )
            mask = (labels == channel).to(first.dtype)
            border, ring = mask - _eroded(mask), _dilated(mask) - mask
            seen = [first.sum(), (first * mask).sum(), mask.sum(), (first * border).sum(), border.sum()]
            for other in rest:
                seen += [other.sum(), torch.minimum(first, other).sum()]
            seen += [(grey * mask).sum(), (grey.square() * mask).sum(), (grey * ring).sum(), ring.sum()]
            self._sums[channel - 1] += torch.stack(seen).double().cpu()

    def features(self) -> torch.Tensor:
        """The features (K - 1, len(DISAGREEMENT)) of what was added, float64; 0 where nothing has the label.

        ``expected_dice`` is that of the label map against labels drawn by the softmax probabilities: twice their sum
        over the label by the sum of its voxels and of all probabilities. The agreements are soft Dice coefficients of
        probabilities: of the mean of all passes with the first alone, and with that of the noisy windows.
        ``confidence`` is the mean probability over the label, ``border_confidence`` that over its outermost voxels;
        ``inside``, ``inside_deviation`` and ``outside`` are mean and standard deviation of the image's values there,
        and their mean over the voxels next to it.
        """
        s = self._sums
        total, hit, voxels, border_hit, border = (s[:, index] for index in range(5))
        agreements = [2 * s[:, index + 1] / (total + s[:, index]).clamp_min(1e-9) for index in (5, 7)]
        inside = s[:, 9] / voxels.clamp_min(1)
        deviation = (s[:, 10] / voxels.clamp_min(1) - inside.square()).clamp_min(0).sqrt()
        columns = [
            2 * hit / (total + voxels).clamp_min(1e-9),
            *agreements,
            hit / voxels.clamp_min(1),
            border_hit / border.clamp_min(1),
            inside,
            deviation,
            s[:, 11] / s[:, 12].clamp_min(1),
        ]
        return torch.stack(columns, dim=1)


class DisagreementInferer(Inferer):  # type: ignore[misc]
    """Give what another inferer gives for windows, and sum up how far single passes agree with it.

    One is the inferer's own first pass, which is not mirrored; the other is one more, of the windows with Gaussian
    noise of half their standard deviation.

    Args:
        inferer: gives logits (N, K, X, Y[, Z]) of windows (N, C, X, Y[, Z]).
        channels: K.
    """

    def __init__(self, inferer: Inferer, *, channels: int) -> None:
        super().__init__()
        self.inferer = inferer
        self.channels = channels
        self.begin()

    def begin(self) -> Disagreement:
        """Begin an image, with the same noise as each: what its windows add is in the sums that are returned."""
        self.sums = Disagreement(self.channels)
        self._generator = torch.Generator().manual_seed(_SEED)
        return self.sums

    def __call__(self, inputs: torch.Tensor, network: Callable[..., torch.Tensor], *args: Any, **kwargs: Any) -> Any:
        """Apply the inner inferer; see MONAI's ``Inferer``."""
        plain: list[torch.Tensor] = []

        def noting(batch: torch.Tensor, *a: Any, **k: Any) -> torch.Tensor:
            logits = network(batch, *a, **k)
            if not plain:  # the first pass of any inferer is of the windows as they are
                plain.append(logits)
            return logits

        mean = self.inferer(inputs, noting, *args, **kwargs)
        dims = tuple(range(2, inputs.ndim))
        noise = torch.randn(inputs.shape, generator=self._generator).to(inputs)
        scale = inputs.float().std(dim=dims, keepdim=True).to(inputs)
        noisy = network(inputs + _NOISE * scale * noise, *args, **kwargs)
        self.sums.add(inputs, mean.float(), (plain[0].float(), noisy.float()))
        return mean


def _dilated(mask: torch.Tensor) -> torch.Tensor:
    """Masks (N, ...) with all neighbours, diagonal ones too: one axis after the other, which is quicker than a cube."""
    wide = mask
    for dim in range(1, mask.ndim):
        near, length = wide.clone(), wide.shape[dim]
        if length > 1:
            ahead, behind = wide.narrow(dim, 1, length - 1), wide.narrow(dim, 0, length - 1)
            near.narrow(dim, 0, length - 1).copy_(torch.maximum(near.narrow(dim, 0, length - 1), ahead))
            near.narrow(dim, 1, length - 1).copy_(torch.maximum(near.narrow(dim, 1, length - 1), behind))
        wide = near
    return wide


def _eroded(mask: torch.Tensor) -> torch.Tensor:
    return 1 - _dilated(1 - mask)
