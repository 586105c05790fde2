"""One reader for every input: DICOM series, NIfTI, NRRD, MHA and pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from monai.data.utils import is_no_channel
from monai.utils import MetaKeys

from pipeline.sources.compact import compact_tensor
from pipeline.sources.image import Options, read_voxels
from pipeline.sources.opening import open_image
from pipeline.sources.pictures import PathReader

__all__ = ["CaseReader"]

_PLANE = 2


class CaseReader(PathReader):
    """A MONAI image reader that takes whatever medbundle takes, for ``LoadImaged(reader=...)``.

    A folder or DICOM files go to :class:`pipeline.dicom.DicomSeriesReader`, pictures, also those in DICOM that have no
    place in the patient, to :class:`pipeline.sources.pictures.PictureReader`; NIfTI, NRRD and MHA go to MONAI's
    readers. An input that cannot be read is an :class:`~pipeline.errors.InputError`.

    Several paths are the channels of one image, or one DICOM series in several parts, see
    :func:`pipeline.sources.paths.channels_of`. Volumes are brought to the grid of the first, see
    :mod:`pipeline.sources.channels`; pictures must have one size.

    Where ``dimensions`` is 2, the third axis of a volume of one slice is dropped from the array and from
    ``spatial_shape``; the affines stay 4x4. ``meta["dropped_axis"]`` is then 2, the index of that axis among the
    spatial axes: ``numpy.expand_dims(mask, 2)`` has the shape of the input again. Other volumes stay as they are.

    Args:
        series: the DICOM series to take where a folder holds several: its UID, number or description.
        channels: the channels that a picture is given: 1, 3, 4, or None for those that it has.
        label: whether the files are label maps; a picture then gives grey values or palette indices.
        colors: whether masks that are colour pictures give their colours.
        dimensions: the number of spatial axes that the network takes, 2 or 3.
        untilt: whether to bring a DICOM series of a tilted gantry to an upright grid; else it is refused.
        compact: whether to give tensors in the smallest type that holds the values (uint8, int8 or int16, else
            float32), in the file's own order, so that MONAI need not copy them; ``LoadImaged`` must have the ``dtype``
            None then. Else arrays of the file's type.
    """

    def __init__(
        self,
        *,
        series: str | int | None = None,
        channels: int | None = None,
        label: bool = False,
        colors: bool = False,
        dimensions: int = 3,
        untilt: bool = False,
        compact: bool = False,
    ) -> None:
        super().__init__()
        self.dimensions = dimensions
        self.options = Options(
            series=None if series is None else str(series),
            untilt=untilt,
            compact=compact,
            channels=channels,
            label=label,
            colors=colors,
        )

    def get_data(self, img: tuple[Path, ...]) -> tuple[Any, dict[str, Any]]:
        """Read the noted paths.

        Returns:
            the array or tensor, spatial axes first in x, y(, z) order, and the metadata of MONAI's readers with an
            affine to RAS.
        """
        array, meta = read_voxels(open_image(img, self.options), where=img[0])
        if self.dimensions == _PLANE:
            array, meta = _without_slice_axis(array, meta)
        return (compact_tensor(array) if self.options.compact else array), meta


def _without_slice_axis(array: np.ndarray, meta: dict[str, Any]) -> tuple[np.ndarray, dict[str, Any]]:
    shape = tuple(int(n) for n in np.asarray(meta[MetaKeys.SPATIAL_SHAPE.value]).ravel())
    if len(shape) != _PLANE + 1 or shape[-1] != 1:
        return array, meta
    channel = meta[MetaKeys.ORIGINAL_CHANNEL_DIM.value]
    axis = _PLANE if is_no_channel(channel) or channel != 0 else _PLANE + 1  # several files have their channel first
    changed = {MetaKeys.SPATIAL_SHAPE.value: np.asarray(shape[:_PLANE]), "dropped_axis": _PLANE}
    return np.squeeze(array, axis), {**meta, **changed}
