"""Label maps back to disk, in the geometry of their input."""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from monai.config import KeysCollection
from monai.transforms import MapTransform

from pipeline.dicom import Algorithm, Segment, write_segmentation
from pipeline.errors import InputError
from pipeline.transforms.checks import source_of

__all__ = ["SaveSegmentationd"]


class SaveSegmentationd(MapTransform):  # type: ignore[misc]
    """Write label maps as uint8 NIfTI and, for DICOM input, as DICOM SEG beside it.

    The file is ``<output_dir>/<name>.nii.gz``; it has exactly the shape and affine of the input. A file appears under
    its final name only when it is complete.

    Args:
        keys: label maps on the grid of the input, shape (1, X, Y, Z).
        image_key: the image that they belong to; its metadata tells the source.
        name_key: the entry with the case's name.
        output_dir: made when needed.
        segments: one mapping per label, the arguments of :class:`pipeline.dicom.Segment`.
        algorithm: name of the algorithm in the DICOM SEG.
        version: its version.

    Raises:
        InputError: the folder cannot be written, or a label map is not on its input's grid.
    """

    def __init__(
        self,
        keys: KeysCollection,
        *,
        output_dir: str | Path,
        segments: Sequence[Mapping[str, Any]],
        image_key: str = "image",
        name_key: str = "name",
        algorithm: str,
        version: str,
    ) -> None:
        super().__init__(keys)
        self.output_dir = Path(output_dir).expanduser()
        self.segments = tuple(Segment(**{key: _tuple(value) for key, value in one.items()}) for one in segments)
        self.image_key = image_key
        self.name_key = name_key
        self.algorithm = Algorithm(name=algorithm, version=version)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Write the files and return the data unchanged."""
        for key in self.key_iterator(data):
            meta = data[self.image_key].meta
            labels = np.asarray(data[key])[0].astype(np.uint8)
            expected = tuple(int(n) for n in np.asarray(meta["spatial_shape"]).ravel()[: labels.ndim])
            if labels.shape != expected:
                raise InputError(
                    "mask is not on the input's grid",
                    where=source_of(data[self.image_key]),
                    expected=expected,
                    got=labels.shape,
                )
            affine = np.asarray(meta["original_affine"], dtype=float)
            name = str(data[self.name_key])
            self._make_folder()
            if meta.get("dicom_files"):  # first, because it checks the grid once more
                self._write_dicom(labels, affine, meta, self.output_dir / f"{name}.dcm")
            write_label_map(labels, affine, self.output_dir / f"{name}.nii.gz", like=source_of(data[self.image_key]))
        return dict(data)

    def _make_folder(self) -> None:
        try:
            self.output_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError("cannot make the output folder", where=self.output_dir, got=error.strerror) from None

    def _write_dicom(self, labels: np.ndarray, affine: np.ndarray, meta: Mapping[str, Any], path: Path) -> None:
        write_segmentation(
            labels,
            affine=affine,
            source_files=str(meta["dicom_files"]).split("\n"),
            segments=self.segments,
            path=path,
            algorithm=self.algorithm,
        )


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def write_label_map(labels: np.ndarray, affine: np.ndarray, target: Path, *, like: str | None = None) -> None:
    """Write a uint8 NIfTI label map.

    Args:
        labels: shape (X, Y, Z), values 0 to 255.
        affine: voxel indices to RAS mm, shape (4, 4).
        target: the final path; a temporary neighbour is renamed to it.
        like: a NIfTI file whose affine, qform and sform codes are copied bit by bit; ignored if it is something else.
    """
    image = nib.Nifti1Image(labels.astype(np.uint8, copy=False), affine)
    if like is not None and like.lower().endswith((".nii", ".nii.gz")):
        source = nib.load(like)
        if isinstance(source.header, nib.Nifti1Header):  # only the geometry: its texts may name the patient
            image = nib.Nifti1Image(labels.astype(np.uint8, copy=False), source.affine)
            image.set_qform(source.header.get_qform(), code=int(source.header["qform_code"]))
            image.set_sform(source.header.get_sform(), code=int(source.header["sform_code"]))
    image.header.set_xyzt_units("mm", "sec")
    temporary = target.with_name(f".{os.getpid()}.{target.name}")
    try:
        nib.save(image, temporary)
        temporary.replace(target)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise InputError("cannot be written", where=target, got=error.strerror or error) from None
