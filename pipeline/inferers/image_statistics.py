"""What an image is like, in numbers that tell unusual ones: counted slab by slab."""

from __future__ import annotations

import math

import torch

__all__ = ["IMAGE_STATISTICS", "image_statistics"]

_SLICES, _BYTES = 32, 2**24  # at most at a time, as float32

IMAGE_STATISTICS = ("noise", "gradient", "sharpness", "constant", "skewness", "kurtosis", "log_size")
"""What :func:`image_statistics` tells."""


def image_statistics(image: torch.Tensor) -> dict[str, float]:
    """Statistics of a preprocessed image; those of several channels are averaged.

    Args:
        image: shape (C, X, Y[, Z]).

    Returns:
        ``noise``: standard deviation of the noise by Immerkaer's fast estimate (Computer Vision and Image
        Understanding 64:300, 1996), the mean absolute second difference along all axes at once; ``gradient``: mean
        absolute difference of neighbours; ``sharpness``: root of the mean squared second over first differences;
        ``constant``: share of neighbours of equal value, as padding has them; ``skewness`` and ``kurtosis`` of the
        values; ``log_size``: natural logarithm of the number of voxels.
    """
    rank = image.ndim - 1
    sums = torch.zeros(5, dtype=torch.float64)
    moments = torch.zeros(5, dtype=torch.float64)
    counts = torch.zeros(3, dtype=torch.float64)
    slices = max(1, min(_SLICES, _BYTES // (4 * math.prod(image.shape[2:]))))
    for first in range(0, image.shape[1], slices):
        # Two slices more, which the second differences need; each difference is counted once.
        part = image[:, first : first + slices + 2].float()
        own = part[:, :slices]
        moments += torch.stack([own.double().pow(power).sum() for power in range(5)]).cpu()
        found, seen = _differences(part, own, rank)
        sums += found
        counts += seen
    return _summary(sums, counts, moments, rank=rank, voxels=math.prod(image.shape[1:]))


def _differences(part: torch.Tensor, own: torch.Tensor, rank: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Sums over a slab: of the noise operator, of first differences (absolute, squared, zero) and squared second."""
    sums, counts = torch.zeros(5, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    laplacian = part
    for dim in range(1, rank + 1):
        laplacian = torch.diff(laplacian, n=2, dim=dim)
        source = part if dim == 1 else own
        first, second = (torch.diff(source, n=n, dim=dim) for n in (1, 2))
        first = first[:, : own.shape[1]] if dim == 1 else first
        absolute = first.abs()
        sums[1:] += (
            torch.stack([absolute.sum(), first.square().sum(), (absolute == 0).sum(), second.square().sum()])
            .double()
            .cpu()
        )
        counts[1:] += torch.tensor([first.numel(), second.numel()])
    sums[0] += laplacian.abs().sum().double().cpu()
    counts[0] += laplacian.numel()
    return sums, counts


def _summary(
    sums: torch.Tensor, counts: torch.Tensor, moments: torch.Tensor, *, rank: int, voxels: int
) -> dict[str, float]:
    laplacian, absolute, squared, equal, second = sums.tolist()
    places, pairs, triples = (max(count, 1.0) for count in counts.tolist())
    n, m1, m2, m3, m4 = moments.tolist()
    mean = m1 / n
    variance = max(m2 / n - mean**2, 1e-12)
    third = m3 / n - 3 * mean * m2 / n + 2 * mean**3
    fourth = m4 / n - 4 * mean * m3 / n + 6 * mean**2 * m2 / n - 3 * mean**4
    return {
        # The operator 1 -2 1 along each axis multiplies the standard deviation of white noise by sqrt(6) each time.
        "noise": math.sqrt(math.pi / 2) * laplacian / places / math.sqrt(6.0**rank),
        "gradient": absolute / pairs,
        "sharpness": math.sqrt(second / triples / max(squared / pairs, 1e-12)),
        "constant": equal / pairs,
        "skewness": third / variance**1.5,
        "kurtosis": fourth / variance**2,
        "log_size": math.log(voxels),
    }
