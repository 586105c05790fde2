"""Size, place and shape of each label, counted slice by slice."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

__all__ = ["SHAPE", "label_shape"]

SHAPE = ("log_volume", "elongation", "distance", "at_edge")
"""What :func:`label_shape` tells of each label, in this order."""


def label_shape(labels: torch.Tensor, affine: npt.ArrayLike, *, values: tuple[int, ...]) -> npt.NDArray[np.float64]:
    """Describe labels in ways that do not depend on the order and direction of the axes.

    Args:
        labels: shape (X, Y) or (X, Y, Z), uint8.
        affine: voxel indices to mm, shape (n, n) with n > the number of axes.
        values: the labels.

    Returns:
        Shape (len(values), len(SHAPE)). ``log_volume``: natural logarithm of 1 + the volume in mm^rank.
        ``elongation``: root of the summed variances of the voxels' places by the volume to the power of 1 / rank.
        ``distance``: of the label's centre from that of all labels together, in mm. ``at_edge``: share of the label's
        voxels on the outermost layer of the image. All are 0 of a label that no voxel has.
    """
    rank = labels.ndim
    step = np.linalg.norm(np.asarray(affine, dtype=np.float64)[:3, :rank], axis=0)
    counts, first, second, edge = _moments(labels)
    chosen = list(values)
    n = np.maximum(counts, 1)
    centers = first / n[:, None] * step
    variance = np.maximum(second / n[:, None] - (first / n[:, None]) ** 2, 0) * step**2
    volume = counts * np.prod(step)
    foreground = [value for value in range(len(counts)) if value in values]
    middle = first[foreground].sum(axis=0) / max(counts[foreground].sum(), 1) * step
    columns = np.stack(
        [
            np.log1p(volume),
            np.sqrt(variance.sum(axis=1)) / np.maximum(volume, np.prod(step)) ** (1 / rank),
            np.linalg.norm(centers - middle, axis=1) * (counts > 0),
            edge / n,
        ],
        axis=1,
    )
    shape: npt.NDArray[np.float64] = columns[chosen]
    return shape


_Sums = npt.NDArray[np.float64]


def _moments(labels: torch.Tensor) -> tuple[_Sums, _Sums, _Sums, _Sums]:
    """Of each of 256 labels: voxels, sums of their indices and of the squares (256, rank), voxels at the edge."""
    rank, last = labels.ndim, [n - 1 for n in labels.shape]
    counts, edge = np.zeros(256), np.zeros(256)
    first, second = np.zeros((256, rank)), np.zeros((256, rank))
    places = np.indices(labels.shape[1:]).reshape(rank - 1, -1)
    rim = np.any([(place == 0) | (place == end) for place, end in zip(places, last[1:], strict=True)], axis=0)
    for index, part in enumerate(labels.numpy()):
        flat = part.ravel()
        seen = np.flatnonzero(flat)  # background is not described
        found = flat[seen]
        here = np.bincount(found, minlength=256)
        counts += here
        first[:, 0] += index * here
        second[:, 0] += index**2 * here
        for axis, place in enumerate(places, start=1):
            first[:, axis] += np.bincount(found, weights=place[seen], minlength=256)
            second[:, axis] += np.bincount(found, weights=place[seen].astype(float) ** 2, minlength=256)
        outer = here if index in (0, last[0]) else np.bincount(found[rim[seen]], minlength=256)
        edge += outer
    return counts, first, second, edge
