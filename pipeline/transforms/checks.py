"""Checks right after loading: what would make a wrong mask in silence is refused by name."""

from __future__ import annotations

import logging
import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform
from monai.utils import MetaKeys, convert_to_dst_type

from pipeline.dicom.labels.lattice import Turn
from pipeline.dicom.path_text import parted
from pipeline.errors import InputError
from pipeline.sources.label_values import snapped

__all__ = ["CheckImaged", "CheckLabeld"]

logger = logging.getLogger(__name__)

AFFINE_TOLERANCE_MM = 1e-2
_VOLUME = 3


class CheckImaged(MapTransform):  # type: ignore[misc]
    """Refuse images that a network cannot use: a wrong channel count or rank, NaN, infinite or constant voxels.

    Args:
        keys: channel-first images, shape (C, X, Y[, Z]).
        channels: the number of channels that the network takes.
        dimensions: the number of spatial axes.
        modality: the DICOM modality that the network was made for; a series of another is used, with a warning.
        constant: what to do with an image that has one value everywhere: ``refuse`` it, or ``warn`` and use it.

    Raises:
        InputError: names the file and counts the voxels.
    """

    def __init__(
        self,
        keys: KeysCollection,
        *,
        channels: int,
        dimensions: int = 3,
        modality: str | None = None,
        constant: Literal["refuse", "warn"] = "refuse",
    ) -> None:
        super().__init__(keys)
        self.channels = channels
        self.dimensions = dimensions
        self.modality = modality
        self.constant = constant

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return the data unchanged."""
        for key in self.key_iterator(data):
            image = data[key]
            source = source_of(image)
            if image.ndim != self.dimensions + 1 or image.shape[0] != self.channels:
                raise InputError(
                    "has the wrong shape",
                    where=source,
                    expected=f"{self.channels} channel(s) of {self.dimensions} axes",
                    got=f"{image.shape[0]} channel(s) of {image.ndim - 1} axes, {tuple(image.shape[1:])}",
                )
            if 0 in image.shape:
                raise InputError("has an axis of length 0", where=source, got=tuple(image.shape[1:]))
            self._check_grid(image)
            self._check_modality(image)
            values = torch.as_tensor(image).cpu().numpy()  # NumPy goes by the strides, where PyTorch makes a copy
            lowest, highest = float(values.min()), float(values.max())  # NaN, if there is one
            if not (math.isfinite(lowest) and math.isfinite(highest)):
                raise InputError(
                    f"{int((~np.isfinite(values)).sum())} of {values.size} voxels are NaN or infinite",
                    where=source,
                    cure="Repair the image; medbundle does not guess their values",
                )
            if lowest == highest:
                self._refuse_constant(source, lowest)
            elif self.channels > 1:
                self._check_channels(image, values)
        return dict(data)

    def _refuse_constant(self, source: str, value: float) -> None:
        empty = InputError("all voxels have one value", where=source, got=f"{value:g}")
        if self.constant == "refuse":
            raise empty
        logger.warning("%s: do not trust what the network says of it", empty)

    def _check_channels(self, image: Any, values: np.ndarray) -> None:
        """Of channels from files of their own each must show something."""
        files = parted(getattr(image, "meta", {}).get("channel_files", ""))
        if len(files) != len(values):
            return
        for file, one in zip(files, values, strict=True):
            if file and one.min() == one.max():
                self._refuse_constant(file, float(one.min()))

    def _check_modality(self, image: Any) -> None:
        modality = getattr(image, "meta", {}).get("dicom_modality")
        if modality and self.modality and modality != self.modality:
            logger.warning(
                "%s: the series is %s, but the network was made for %s: do not trust the mask",
                source_of(image),
                modality,
                self.modality,
            )

    def _check_grid(self, image: Any) -> None:
        affine = getattr(image, "affine", None)
        if affine is not None and _is_singular(affine):
            raise InputError(
                "the affine is singular, so that the image has no place and size",
                where=source_of(image),
                cure="Repair the header",
            )


class CheckLabeld(MapTransform):  # type: ignore[misc]
    """Refuse label maps with values that the plan does not name, or on another grid than their image.

    A label map whose axes run in another order or direction, through the voxels of the image, is turned to it. Values
    that a scaled file holds rounded become whole, see :func:`pipeline.sources.label_values.snapped`.

    Args:
        keys: channel-first label maps, shape (1, X, Y[, Z]).
        image_key: the image whose grid they must share, before any resampling.
        values: every value that may occur, background included.

    Raises:
        InputError: names both files.
    """

    def __init__(self, keys: KeysCollection, *, image_key: str, values: Sequence[int]) -> None:
        super().__init__(keys)
        self.image_key = image_key
        self.values = tuple(values)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return the data with label maps on the grids of their images."""
        out = dict(data)
        image = data[self.image_key]
        for key in self.key_iterator(data):
            label = data[key]
            if label.shape[0] != 1:
                raise InputError(
                    "is not a label map", where=source_of(label), expected="1 channel", got=f"{label.shape[0]} channels"
                )
            label = _whole(label)
            self._check_values(label)
            label = _turned(label, image)
            if label.shape[1:] != image.shape[1:]:
                raise InputError(
                    f"label and image {source_of(image)} differ in size",
                    where=source_of(label),
                    expected=tuple(image.shape[1:]),
                    got=tuple(label.shape[1:]),
                )
            distance = grid_distance_mm(label, image)
            if not distance <= AFFINE_TOLERANCE_MM:  # nor NaN
                raise InputError(
                    f"label and image {source_of(image)} lie apart by up to {distance:.3g} mm",
                    where=source_of(label),
                    cure="Resample the label to the image (nearest neighbour), or correct the header that is wrong",
                )
            out[key] = label
        return out

    def _check_values(self, label: Any) -> None:
        values, counts = np.unique(np.asarray(label), return_counts=True)
        for value, count in zip(values.tolist(), counts.tolist(), strict=True):
            if value not in self.values:
                raise InputError(
                    f"label value {value:g} ({count} voxels) is not in the plan",
                    where=source_of(label),
                    expected=f"only {', '.join(map(str, self.values))}",
                    cure="Correct the label map or name the value in plan.yaml",
                )


def _whole(label: Any) -> Any:
    values = np.asarray(label)
    whole = snapped(values)
    return label if whole is values else convert_to_dst_type(whole, label)[0]


def _turned(label: Any, image: Any) -> Any:
    """The label map with its axes in the order and direction of the image's, where both are of one grid."""
    rank = label.ndim - 1
    if rank > _VOLUME or not (_is_placed(label) and _is_placed(image)):
        return label
    shape = (*label.shape[1:], *(1,) * (_VOLUME - rank))
    grid, affine = (np.asarray(one.affine, dtype=np.float64) for one in (image, label))
    turn = Turn.nearest(np.asarray(np.linalg.solve(grid, affine), dtype=np.float64), shape)
    array = turn.of(np.asarray(label)[0].reshape(shape))
    if np.array_equal(turn.whole, np.eye(_VOLUME)) or array.shape[rank:] != (1,) * (_VOLUME - rank):
        return label
    place = torch.as_tensor(affine @ turn.back(shape), dtype=label.affine.dtype)
    meta = {
        **label.meta,
        MetaKeys.AFFINE.value: place,
        MetaKeys.ORIGINAL_AFFINE.value: place.clone(),
        MetaKeys.SPATIAL_SHAPE.value: np.array(array.shape[:rank]),
    }
    return MetaTensor(torch.as_tensor(np.ascontiguousarray(array.reshape(1, *array.shape[:rank]))), meta=meta)


def _is_placed(image: Any) -> bool:
    return isinstance(image, MetaTensor) and image.affine.shape == (_VOLUME + 1,) * 2 and not _is_singular(image.affine)


def _is_singular(affine: Any) -> bool:
    return not abs(float(np.linalg.det(np.asarray(affine, dtype=float)))) > 0  # nor NaN


def grid_distance_mm(a: Any, b: Any) -> float:
    """The largest distance in mm between equal voxels of two grids of one size, taken over the corners."""
    if not (isinstance(a, MetaTensor) and isinstance(b, MetaTensor)):
        return 0.0
    size = np.asarray(a.shape[1:], dtype=float) - 1
    corners = np.array(np.meshgrid(*([0.0, n] for n in size), indexing="ij")).reshape(len(size), -1)
    rank = a.affine.shape[0] - 1
    points = np.zeros((rank + 1, corners.shape[1]))
    points[: len(size)], points[-1] = corners, 1.0
    apart = (np.asarray(a.affine, dtype=float) - np.asarray(b.affine, dtype=float)) @ points
    return float(np.linalg.norm(apart[:-1], axis=0).max())


def source_of(image: Any) -> str:
    """The file that an image was loaded from, as far as it is known."""
    meta = getattr(image, "meta", {})
    channels = parted(meta.get("channel_files", ""))  # the first may be missing
    return next(filter(None, channels), "") or str(meta.get("filename_or_obj", "image"))
