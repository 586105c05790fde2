"""The MONAI reader of DICOM series."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monai.data.image_reader import ImageReader
from monai.utils.enums import MetaKeys, SpaceKeys

from pipeline.dicom.path_text import joined
from pipeline.dicom.reading.geometry import ras_affine
from pipeline.dicom.reading.loading import load
from pipeline.dicom.reading.scanning import choose, scan
from pipeline.dicom.reading.tilt import Shear

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

__all__ = ["DicomSeriesReader"]


class DicomSeriesReader(ImageReader):  # type: ignore[misc, unused-ignore]
    """Read one DICOM series, of a folder or of a list of files, as one volume.

    The voxels are float32 in the units of the series, with axes (column, row, slice), and the affine maps them
    to RAS millimetres. The metadata is MONAI's, and:

    - ``dicom_files``: the paths of the files in slice order, joined by newlines, see
      :func:`pipeline.dicom.path_text.parted` (one string survives the collation of cases that differ in their number
      of slices; a list does not), for :func:`pipeline.dicom.write_segmentation`;
    - ``dicom_series``: the SeriesInstanceUID, with "/2" after it for the second volume of that series;
    - ``dicom_modality``, ``dicom_series_uid`` and ``dicom_frame_of_reference_uid`` ("" where there is none).

    A series of a tilted gantry is refused, or given on an upright grid, see :func:`pipeline.dicom.load`. The affines
    and ``spatial_shape`` are then those of the upright grid, and ``meta["tilted_slices"]`` has the way back to the
    acquired slices (:meth:`pipeline.dicom.reading.tilt.Shear.from_text`); it is "" for a series that was not tilted,
    and absent without ``untilt``.

    Args:
        series: which series to read where there are several: its UID, number or description, with "/2" after it for
            the second of its volumes.
        untilt: whether to bring a series of a tilted gantry to an upright grid.
        compact: whether to give int16 where it holds all values; else float32.
    """

    def __init__(self, *, series: str | None = None, untilt: bool = False, compact: bool = False) -> None:
        super().__init__()
        self.series = series
        self.untilt = untilt
        self.compact = compact

    def verify_suffix(self, filename: Sequence[os.PathLike[str] | str] | os.PathLike[str] | str) -> bool:
        """Say whether the path is a folder or named as a DICOM file; asked only where no reader was named."""
        return all(path.is_dir() or path.suffix.lower() == ".dcm" for path in self.read(filename))

    def read(
        self,
        data: Sequence[os.PathLike[str] | str] | os.PathLike[str] | str,
        **kwargs: Any,  # noqa: ARG002 - MONAI's interface
    ) -> tuple[Path, ...]:
        """Note the paths, and open nothing.

        MONAI's ``LoadImage`` catches whatever ``read`` raises and goes on to another reader, which would load
        a wrong volume; what ``get_data`` raises reaches the user.
        """
        paths = [data] if isinstance(data, str | os.PathLike) else data
        return tuple(Path(path) for path in paths)

    def get_data(self, img: tuple[Path, ...]) -> tuple[np.ndarray[Any, np.dtype[Any]], dict[str, Any]]:
        """Load the series.

        Args:
            img: what :meth:`read` returned.

        Returns:
            The voxels (column, row, slice), a view without a copy, and the metadata.

        Raises:
            InputError: there is no single series, or it is not one sound volume.
        """
        series = choose(scan(img), self.series)
        volume = load(series, dtype=None if self.compact else "float32", untilt=self.untilt)
        array = volume.array.transpose(2, 1, 0)
        affine = ras_affine(volume.get_geometry())
        if series.frames is not None:
            affine = series.frames.ras_affine
            series.frames.check(affine)
        meta: dict[str, Any] = {
            MetaKeys.AFFINE.value: affine,
            MetaKeys.ORIGINAL_AFFINE.value: affine.copy(),
            MetaKeys.SPATIAL_SHAPE.value: array.shape,
            MetaKeys.SPACE.value: SpaceKeys.RAS.value,
            MetaKeys.ORIGINAL_CHANNEL_DIM.value: "no_channel",
            "dicom_files": joined(series.files),
            "dicom_series": series.series_uid if series.part is None else f"{series.series_uid}/{series.part}",
            "dicom_modality": series.modality,
            "dicom_series_uid": series.series_uid,
            "dicom_frame_of_reference_uid": str(volume.frame_of_reference_uid or ""),
        }
        if self.untilt:
            meta["tilted_slices"] = "" if series.tilted is None else Shear.of_stack(series.tilted).text
        return array, meta
