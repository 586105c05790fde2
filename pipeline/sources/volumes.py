"""NIfTI, MGH, NRRD and MetaImage volumes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
from monai.utils import MetaKeys
from nibabel.openers import ImageOpener

from pipeline.errors import InputError
from pipeline.sources.compact import COMPRESSED
from pipeline.sources.image import Options, SourceImage
from pipeline.sources.integrity import read_to_the_end
from pipeline.sources.itk_header import check_meta_image, check_nrrd
from pipeline.sources.kinds import kind_of
from pipeline.sources.nifti_header import affine_mm, check_header
from pipeline.space import swap_lps_ras

__all__ = ["ItkVolume", "NibabelVolume", "open_volume"]

_BY_NIBABEL = ("NIfTI", "Analyze", "MGH")
_VOLUME, _VECTORS = 3, 5
_SHORT_BYTES = 2


def open_volume(files: Sequence[Path], options: Options) -> SourceImage:
    """Open a volume, or several files that MONAI's readers stack as its channels."""
    by_nibabel = kind_of(files[0]) in _BY_NIBABEL
    return NibabelVolume(files, options) if by_nibabel else ItkVolume(files, options)


class NibabelVolume(SourceImage):
    """NIfTI, Analyze or MGH by nibabel."""

    @cached_property
    def _header(self) -> Any:
        if self.kind == "Analyze":
            raise InputError(
                "Analyze 7.5 does not store how the image lies, so that left and right cannot be told",
                where=self.files[0],
                cure="Export it as NIfTI with the program that made it",
            )
        return nib.load(self.files[0])

    @property
    def kind(self) -> str:
        """The format."""
        return str(kind_of(self.files[0]))

    @property
    def size(self) -> tuple[int, ...]:
        """Voxels along each axis."""
        return tuple(int(n) for n in self._header.shape[:_VOLUME])

    @property
    def affine(self) -> npt.NDArray[np.float64]:
        """Voxel indices to RAS mm, shape (4, 4)."""
        return affine_mm(self._header) if self.kind == "NIfTI" else np.asarray(self._header.affine, dtype=np.float64)

    @property
    def channels(self) -> int:
        """Values of a voxel: the product of the axes after the third, and one for each further file."""
        return int(np.prod(self._header.shape[_VOLUME:], dtype=np.int64)) * len(self.files)

    @property
    def voxel_bytes(self) -> int:
        """2 where whole numbers of 16 bits stay what they are, else 4."""
        kind, proxy = self._header.get_data_dtype(), self._header.dataobj
        whole = float(getattr(proxy, "slope", 1)) == 1 and float(getattr(proxy, "inter", 0)).is_integer()
        return _SHORT_BYTES if whole and kind.kind in "iu" and kind.itemsize <= _SHORT_BYTES else 4

    def load(self) -> tuple[Any, dict[str, Any]]:
        """Read the voxels, see :meth:`pipeline.sources.image.SourceImage.load`."""
        from monai.data import NibabelReader

        from pipeline.sources.compact import CompactNibabelReader

        if self.kind == "NIfTI":
            check_header(self._header)
        reader = (CompactNibabelReader if self.options.compact else NibabelReader)(keep_file_open=True)
        opened = reader.read(_names(self.files))
        array, meta = reader.get_data(opened)
        for image in opened if isinstance(opened, list) else [opened]:
            _check_end(image)
        meta.update(dict.fromkeys((MetaKeys.AFFINE.value, MetaKeys.ORIGINAL_AFFINE.value), self.affine))
        if array.ndim == _VECTORS and array.shape[_VOLUME] == 1:  # of NIfTI's vectors the fourth axis is time
            array = array[..., 0, :]
        return array, meta


class ItkVolume(SourceImage):
    """NRRD, MetaImage and whatever else ITK reads."""

    @cached_property
    def _header(self) -> Any:
        import itk  # large, and few inputs need it

        self._check(voxels=False)
        io = itk.ImageIOFactory.CreateImageIO(str(self.files[0]), itk.CommonEnums.IOFileMode_ReadMode)
        if io is None:
            raise InputError("cannot be read: it is of no known format", where=self.files[0])
        io.SetFileName(str(self.files[0]))
        io.ReadImageInformation()
        return io

    @property
    def kind(self) -> str:
        """The format."""
        return str(kind_of(self.files[0]) or "image")

    @property
    def size(self) -> tuple[int, ...]:
        """Voxels along each axis."""
        return tuple(self._header.GetDimensions(axis) for axis in range(min(self._rank, _VOLUME)))

    @property
    def affine(self) -> npt.NDArray[np.float64]:
        """Voxel indices to RAS mm, shape (4, 4)."""
        io, rank = self._header, self._rank
        axes = np.array([io.GetDirection(axis) for axis in range(rank)]).T
        axes = axes * [io.GetSpacing(axis) for axis in range(rank)]
        affine, used = np.eye(4), min(rank, _VOLUME)
        affine[:used, :used] = axes[:used, :used]
        affine[:used, 3] = [io.GetOrigin(axis) for axis in range(used)]
        return swap_lps_ras(affine, affine=True)

    @property
    def channels(self) -> int:
        """Values of a voxel."""
        further = int(np.prod([self._header.GetDimensions(axis) for axis in range(_VOLUME, self._rank)]))
        return int(self._header.GetNumberOfComponents()) * further * len(self.files)

    def load(self) -> tuple[Any, dict[str, Any]]:
        """Read the voxels, see :meth:`pipeline.sources.image.SourceImage.load`."""
        import itk
        from monai.data import ITKReader

        self._check(voxels=True)
        # ITK wraps few types of vectors of a fixed length.
        reader = ITKReader(pixel_type=itk.VariableLengthVector[itk.F]) if self._of_vectors() else ITKReader()
        array, meta = reader.get_data(reader.read(_names(self.files)))
        return array, meta

    def _check(self, *, voxels: bool) -> None:
        for file in self.files:
            check = _CHECKS.get(str(kind_of(file)))
            if check is not None:
                check(file, voxels=voxels)

    def _of_vectors(self) -> bool:
        try:
            return int(self._header.GetNumberOfComponents()) > 1
        except (InputError, RuntimeError):  # its reader says better what is wrong with it
            return False

    @property
    def _rank(self) -> int:
        return int(self._header.GetNumberOfDimensions())


_CHECKS = {"NRRD": check_nrrd, "MetaImage": check_meta_image}


def _names(files: Sequence[Path]) -> str | list[str]:
    names = [str(file) for file in files]
    return names if len(names) > 1 else names[0]


def _check_end(image: Any) -> None:
    """Read a compressed file to its end, where its checksum stands."""
    path = Path(image.get_filename())
    if not image.file_map["image"].filename.lower().endswith(COMPRESSED):
        return
    opener = getattr(image.dataobj, "_opener", None)  # stands behind the last voxel
    if opener is not None:
        read_to_the_end(opener, where=path)
    else:
        with ImageOpener(image.file_map["image"].filename) as stream:
            read_to_the_end(stream, where=path)
