"""A picture as an input."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from pipeline.dicom.reading.picture import picture_size
from pipeline.sources.image import SourceImage
from pipeline.sources.integrity import check_png
from pipeline.sources.kinds import is_dicom, kind_of

__all__ = ["Picture"]


class Picture(SourceImage):
    """PNG and the like, or a DICOM picture, as :class:`pipeline.sources.PictureReader` reads them."""

    @cached_property
    def _stated(self) -> tuple[tuple[int, int], int]:
        """Width and height, and samples a pixel."""
        first = self.files[0]
        if is_dicom(first):
            columns, rows, samples, _ = picture_size(first)
            return (columns, rows), samples
        with Image.open(first) as picture:
            return picture.size, len(picture.getbands())

    @property
    def kind(self) -> str:
        """The format."""
        kind = str(kind_of(self.files[0]))
        return "DICOM picture" if kind == "DICOM" else kind

    @property
    def size(self) -> tuple[int, ...]:
        """Width and height."""
        return self._stated[0]

    @property
    def affine(self) -> npt.NDArray[np.float64]:
        """The identity: a picture has no place in space."""
        return np.eye(4)

    @property
    def unit(self) -> Literal["mm", "pixel"]:
        """A picture has no other measure."""
        return "pixel"

    @property
    def channels(self) -> int:
        """Samples of a pixel, of all files."""
        return self.options.channels or self._stated[1] * len(self.files)

    def load(self) -> tuple[Any, dict[str, Any]]:
        """Read the samples, see :meth:`pipeline.sources.image.SourceImage.load`."""
        from pipeline.sources.pictures import PictureReader

        options = self.options
        for file in self.files:
            if kind_of(file) == "PNG":
                check_png(file)
        reader = PictureReader(channels=options.channels, label=options.label, colors=options.colors)
        return reader.get_data(self.files)
