"""A DICOM series as an input."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.dicom import DicomSeriesReader, Series, choose, ras_affine, scan
from pipeline.dicom.reading.pixels import has_whole_values
from pipeline.dicom.reading.tilt import Shear
from pipeline.errors import InputError
from pipeline.sources.image import Options, SourceImage

__all__ = ["DicomSeries"]

_SHORT_BYTES = 2


class DicomSeries(SourceImage):
    """The series at a folder or in a list of files, as :class:`pipeline.dicom.DicomSeriesReader` reads it."""

    def __init__(self, paths: Sequence[Path], options: Options) -> None:
        super().__init__(paths, options)
        self.paths = tuple(paths)

    @cached_property
    def series(self) -> Series:
        """The series itself; its files are those of :attr:`files` that it needs.

        Raises:
            InputError: see :func:`pipeline.dicom.choose`.
        """
        return choose(scan(self.paths), self.options.series)

    @property
    def kind(self) -> str:
        """The format."""
        return "DICOM"

    @property
    def size(self) -> tuple[int, ...]:
        """Columns, rows and slices; of the upright grid where a tilted series is brought to one."""
        shear = self._shear
        return shear.upright_size if shear is not None else (self.series.columns, self.series.rows, self.series.slices)

    @property
    def affine(self) -> npt.NDArray[np.float64]:
        """Voxel indices to RAS mm, shape (4, 4)."""
        tilted, shear = self.series.tilted, self._shear
        if tilted is not None and shear is not None:
            affine = np.array(ras_affine(tilted.geometry), dtype=np.float64)
            affine[:, 3] += affine[:, :2] @ shear.origin
            return affine
        return np.eye(4) if self.series.frames is None else ras_affine(self.series.frames.geometry)

    @property
    def voxel_bytes(self) -> int:
        """2 where all values are whole numbers, else 4."""
        frames = self.series.frames
        return _SHORT_BYTES if frames is not None and all(map(has_whole_values, frames.headers)) else 4

    def load(self) -> tuple[Any, dict[str, Any]]:
        """Read the voxels, see :meth:`pipeline.sources.image.SourceImage.load`."""
        options = self.options
        reader = DicomSeriesReader(series=options.series, untilt=options.untilt, compact=options.compact)
        try:
            return reader.get_data(self.paths)
        except InputError as error:
            folder = self.paths[0] if self.paths[0].is_dir() else self.paths[0].parent
            if str(folder) in str(error):
                raise
            raise InputError(str(error), where=folder) from error  # it names a series, or one of its files

    @cached_property
    def _shear(self) -> Shear | None:
        tilted = self.series.tilted if self.options.untilt else None
        return None if tilted is None else Shear.of_stack(tilted)
