"""From logits to labels, some classes at a time."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch

from pipeline.errors import InputError

__all__ = ["Decision", "HighestLogit", "Regions", "decision"]

_LABEL_MAX = 255
_FEW = 6  # so many channels are sooner interpolated than looked through
_RIVALS = 4  # channels whose lowest logit is looked for
_ROUNDING = 1e-6  # the weights of an interpolation add up to 1 but for this


class Decision(ABC):
    """Decides on one block of voxels after the other; of each block it is shown the channels in their order.

    Attributes:
        highest: label.
        passes_over: whether :meth:`contenders` may leave out channels.
    """

    highest: int
    passes_over = False

    def contenders(self, seen: torch.Tensor) -> Sequence[int]:
        """The channels that can decide on a block, by the logits (channels, ...) that it is interpolated from."""
        return range(len(seen))

    @abstractmethod
    def begin(self) -> None:
        """Start a block."""

    @abstractmethod
    def show(self, channels: Sequence[int], logits: torch.Tensor) -> None:
        """Look at the logits (c, ...) of some channels, which come in their order."""

    @abstractmethod
    def labels(self) -> torch.Tensor:
        """The labels (...) of the block, uint8."""

    @abstractmethod
    def confidence(self) -> torch.Tensor:
        """The probability (...) of each voxel's label, float32."""

    @abstractmethod
    def probability(self, logits: torch.Tensor) -> torch.Tensor:
        """The probability (...) of a channel, float32, by its logits in the block that was shown last."""

    @abstractmethod
    def background(self) -> torch.Tensor:
        """Logits (channels,) of a voxel that is certainly background."""


class HighestLogit(Decision):
    """The label of the highest logit, the first of equal ones, as argmax.

    Args:
        values: the label of each channel.
        confidence: whether to keep what softmax probabilities need.
    """

    def __init__(self, values: Sequence[int], *, confidence: bool = False) -> None:
        self.highest = max(values)
        self.values = tuple(values)
        self._with_confidence = confidence
        self.passes_over = not confidence and len(self.values) > _FEW
        self._best: torch.Tensor | None = None
        self._labels = self._sum = torch.empty(0)

    def begin(self) -> None:
        """See :class:`Decision`."""
        self._best = None

    def contenders(self, seen: torch.Tensor) -> Sequence[int]:
        """See :class:`Decision`; those whose highest logit reaches the lowest of some other channel.

        An interpolated value lies between those that it is made of, so that the others win nowhere. The first channel
        stays: where the network saw nothing all are equal, and it is the first that counts.
        """
        axes = tuple(range(1, seen.ndim))
        highest = seen.amax(dim=axes)
        strongest = highest.topk(min(_RIVALS, len(highest))).indices
        lowest = seen[strongest].amin(dim=axes).max()
        chances = highest >= lowest - _ROUNDING * lowest.abs()
        chances[0] = True
        return chances.nonzero()[:, 0].tolist()

    def show(self, channels: Sequence[int], logits: torch.Tensor) -> None:
        """See :class:`Decision`."""
        for channel, logit in zip(channels, logits, strict=True):
            value = self.values[channel]
            if self._best is None:
                self._best = logit.clone()
                self._labels = torch.full(logit.shape, value, dtype=torch.uint8, device=logit.device)
                self._sum = torch.ones_like(logit) if self._with_confidence else self._sum
                continue
            self._labels.masked_fill_(logit > self._best, value)
            before = self._best.clone() if self._with_confidence else self._best
            torch.maximum(self._best, logit, out=self._best)
            if self._with_confidence:
                self._sum = self._sum * torch.exp(before - self._best) + torch.exp(logit - self._best)

    def labels(self) -> torch.Tensor:
        """See :class:`Decision`."""
        return self._labels

    def confidence(self) -> torch.Tensor:
        """See :class:`Decision`; 1 / sum of exp(logit - highest), added up as the channels come."""
        return 1 / self._sum

    def probability(self, logits: torch.Tensor) -> torch.Tensor:
        """See :class:`Decision`; the softmax."""
        best = logits if self._best is None else self._best
        return torch.exp(logits - best) / self._sum

    def background(self) -> torch.Tensor:
        """See :class:`Decision`: the first channel is."""
        return torch.where(torch.arange(len(self.values)) == 0, _CERTAIN, -_CERTAIN)


class Regions(Decision):
    """Each channel is a region of its own; a later one overwrites the earlier ones where its probability is enough.

    One channel and the value 1 make a binary mask. Nested regions, such as whole tumour, tumour core and enhancing
    tumour, are given from the outermost to the innermost.

    Args:
        values: the label of each channel; all else is 0.
        threshold: the least sigmoid probability, between 0 and 1.
    """

    def __init__(self, values: Sequence[int], *, threshold: float = 0.5) -> None:
        self.highest = max(values)
        self.values = tuple(values)
        self.threshold = math.log(threshold / (1 - threshold))
        self._labels = self._logit = torch.empty(0)
        self._begun = False

    def begin(self) -> None:
        """See :class:`Decision`."""
        self._begun = False

    def show(self, channels: Sequence[int], logits: torch.Tensor) -> None:
        """See :class:`Decision`."""
        if not self._begun:
            self._labels = torch.zeros(logits.shape[1:], dtype=torch.uint8, device=logits.device)
            self._logit = torch.full_like(logits[0], -torch.inf)
            self._begun = True
        for channel, logit in zip(channels, logits, strict=True):
            inside = logit >= self.threshold
            self._labels[inside] = self.values[channel]
            # Of background: the probability of the channel that came nearest to it.
            outside = (self._labels == 0) & (logit > self._logit)
            self._logit = torch.where(inside | outside, logit, self._logit)

    def labels(self) -> torch.Tensor:
        """See :class:`Decision`."""
        return self._labels

    def confidence(self) -> torch.Tensor:
        """See :class:`Decision`; of background it is 1 - the highest probability of any region."""
        probability = torch.sigmoid(self._logit)
        return torch.where(self._labels == 0, 1 - probability, probability)

    def probability(self, logits: torch.Tensor) -> torch.Tensor:
        """See :class:`Decision`; the sigmoid."""
        return torch.sigmoid(logits)

    def background(self) -> torch.Tensor:
        """See :class:`Decision`: no channel is."""
        return torch.full((len(self.values),), -_CERTAIN)


# A softmax or sigmoid of it differs from 0 or 1 by less than 1e-4.
_CERTAIN = 10.0


def decision(rule: str, *, channels: int, values: Sequence[int] | None, threshold: float, confidence: bool) -> Decision:
    """The decision of that name; see :class:`pipeline.inferers.StreamingInferer` for the arguments.

    Raises:
        InputError: an unknown rule, or labels that do not fit the channels or uint8.
    """
    if rule not in ("argmax", "regions"):
        raise InputError("unknown rule", where="rule", expected="argmax or regions", got=rule)
    if values is None:
        values = range(channels) if rule == "argmax" else range(1, channels + 1)
    values = tuple(int(value) for value in values)
    if len(values) != channels:
        raise InputError("each channel needs a label", where="values", expected=channels, got=len(values))
    if min(values) < 0 or max(values) > _LABEL_MAX:
        raise InputError("labels must fit 8 bits", where="values", expected="0 to 255", got=f"up to {max(values)}")
    if rule == "argmax":
        return HighestLogit(values, confidence=confidence)
    if not 0 < threshold < 1:
        raise InputError("is no probability", where="threshold", expected="between 0 and 1", got=threshold)
    return Regions(values, threshold=threshold)
