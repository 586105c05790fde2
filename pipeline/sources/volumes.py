"""NIfTI, MGH, NRRD and MetaImage volumes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt

from pipeline.errors import InputError
from pipeline.sources.image import Options, SourceImage
from pipeline.sources.kinds import kind_of
from pipeline.space import swap_lps_ras

__all__ = ["ItkVolume", "NibabelVolume", "open_volume"]

_BY_NIBABEL = ("NIfTI", "Analyze", "MGH")
_VOLUME, _VECTORS = 3, 5
_SHORT_BYTES = 2
_AFFINE_TOLERANCE_MM = 1e-3


def open_volume(files: Sequence[Path], options: Options) -> SourceImage:
    """Open a volume, or several files that MONAI's readers stack as its channels."""
    by_nibabel = kind_of(files[0]) in _BY_NIBABEL
    return NibabelVolume(files, options) if by_nibabel else ItkVolume(files, options)


class NibabelVolume(SourceImage):
    """NIfTI, Analyze or MGH by nibabel."""

    @cached_property
    def _header(self) -> Any:
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
        return np.asarray(self._header.affine, dtype=np.float64)

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

        reader = CompactNibabelReader(keep_file_open=True) if self.options.compact else NibabelReader()
        array, meta = reader.get_data(reader.read(_names(self.files)))
        if self.kind != "MGH":
            _check_geometry(self.files[0], self._header, np.asarray(meta["affine"], dtype=float))
        if array.ndim == _VECTORS and array.shape[_VOLUME] == 1:  # of NIfTI's vectors the fourth axis is time
            array = array[..., 0, :]
        return array, meta


class ItkVolume(SourceImage):
    """NRRD, MetaImage and whatever else ITK reads."""

    @cached_property
    def _header(self) -> Any:
        import itk  # large, and few inputs need it

        io = itk.ImageIOFactory.CreateImageIO(str(self.files[0]), itk.CommonEnums.IOFileMode_ReadMode)
        if io is None:
            raise InputError("is of no known format", where=self.files[0])
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

        # ITK wraps few types of vectors of a fixed length.
        reader = ITKReader(pixel_type=itk.VariableLengthVector[itk.F]) if self._of_vectors() else ITKReader()
        array, meta = reader.get_data(reader.read(_names(self.files)))
        return array, meta

    def _of_vectors(self) -> bool:
        try:
            return int(self._header.GetNumberOfComponents()) > 1
        except (InputError, RuntimeError):  # its reader says better what is wrong with it
            return False

    @property
    def _rank(self) -> int:
        return int(self._header.GetNumberOfDimensions())


def _names(files: Sequence[Path]) -> str | list[str]:
    names = [str(file) for file in files]
    return names if len(names) > 1 else names[0]


def _check_geometry(path: Path, header: Any, affine: npt.NDArray[np.float64]) -> None:
    """Refuse a header that says two things: MONAI takes the qform where the sform contradicts the voxel size."""
    stated = header.affine
    if not np.allclose(stated, affine, atol=_AFFINE_TOLERANCE_MM, equal_nan=True):
        raise InputError(
            "sform and qform disagree about the voxel size",
            where=path,
            expected=f"{np.linalg.norm(affine[:3, :3], axis=0).round(4).tolist()} mm, as the qform says",
            got=f"{np.linalg.norm(stated[:3, :3], axis=0).round(4).tolist()} mm from the sform",
            cure="Rewrite the header so that both agree",
        )
