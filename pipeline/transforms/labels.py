"""Label maps from files of their own or from DICOM contours and segments."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import LoadImage, MapTransform
from monai.utils import MetaKeys, SpaceKeys

from pipeline.dicom import Grid, read_labels
from pipeline.dicom.datasets import read_dataset
from pipeline.dicom.path_text import parted
from pipeline.sources.kinds import is_label_object, label_file
from pipeline.sources.reader import CaseReader

__all__ = ["LoadLabeld"]


class LoadLabeld(MapTransform):  # type: ignore[misc]
    """Load label maps, where a DICOM RTSTRUCT or SEG becomes one on the grid of its loaded image.

    Every other file is loaded as ``LoadImaged`` does with :class:`pipeline.sources.CaseReader`.

    Args:
        keys: paths of label maps, of RTSTRUCT or SEG files, or of folders with one of those. They become float32
            ``MetaTensor``, shape (1, X, Y, Z).
        image_key: the image, as it was just loaded, channel first.
        names: the names of the ROIs or segments of each label value, see :func:`pipeline.dicom.read_labels`. The keys
            may be strings, as JSON has them.

    Raises:
        InputError: see :func:`pipeline.dicom.read_labels` and :class:`pipeline.sources.CaseReader`.
    """

    def __init__(self, keys: KeysCollection, *, image_key: str, names: Mapping[str | int, Sequence[str]]) -> None:
        super().__init__(keys)
        self.image_key = image_key
        self.names = {int(value): tuple(own) for value, own in names.items()}
        self._load = LoadImage(reader=CaseReader(label=True), ensure_channel_first=True)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return the data with label maps in place of the paths."""
        out = dict(data)
        for key in self.key_iterator(data):
            path = label_file(Path(data[key]))
            out[key] = self._outlined(path, data[self.image_key]) if is_label_object(path) else self._load(str(path))
        return out

    def _outlined(self, path: Path, image: MetaTensor) -> MetaTensor:
        labels = read_labels(path, names=self.names, grid=_grid(image))
        affine = image.affine.clone()
        meta = {
            MetaKeys.AFFINE.value: affine,
            MetaKeys.ORIGINAL_AFFINE.value: affine.clone(),
            MetaKeys.SPATIAL_SHAPE.value: labels.shape,
            MetaKeys.SPACE.value: SpaceKeys.RAS.value,
            MetaKeys.ORIGINAL_CHANNEL_DIM.value: 0,
            "filename_or_obj": str(path),
        }
        return MetaTensor(torch.as_tensor(labels[np.newaxis], dtype=torch.float32), meta=meta)


def _grid(image: MetaTensor) -> Grid:
    files = parted(image.meta.get("dicom_files", ""))
    frame_of_reference_uid = ""
    if files[0]:
        header = read_dataset(Path(files[0]), keywords=["FrameOfReferenceUID"])
        frame_of_reference_uid = str(header.get("FrameOfReferenceUID") or "")
    columns, rows, slices = image.shape[1:]
    return Grid(
        shape=(columns, rows, slices),
        affine=np.asarray(image.affine, dtype=np.float64),
        frame_of_reference_uid=frame_of_reference_uid,
        series_uid=str(image.meta.get("dicom_series_uid", "")),
    )
