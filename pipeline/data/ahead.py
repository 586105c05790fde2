"""Whether there is memory for the next image beside the one that is computed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from pipeline.memory import available_bytes
from pipeline.sources import Options, open_image

__all__ = ["FitsAhead"]

_FLOAT = 4


class FitsAhead:
    """Say whether a case may be read while another one is computed.

    It may, where its image as float32 on its own grid is at most a share of the memory that is free now. The share
    leaves room for what its preprocessing needs beside it, which is several times as much.

    Args:
        series: the DICOM series to take where there are several.
        share: of the available memory that the image may take.
        channels: of the image.
    """

    def __init__(self, *, series: str | None = None, share: float = 0.1, channels: int = 1) -> None:
        self.series = series
        self.share = share
        self.channels = channels

    def __call__(self, case: Mapping[str, Any]) -> bool:
        """Compare the size in the header of a case's image with the available memory."""
        try:
            image = open_image(case["image"], Options(series=self.series))
            needed = _FLOAT * self.channels * math.prod(image.size) + image.reading_bytes
        except Exception:  # noqa: BLE001 - whoever reads it says better what is wrong with it
            return True
        return needed <= self.share * available_bytes()
