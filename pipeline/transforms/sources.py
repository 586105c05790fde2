"""What masks need of the images that they will be made from, asked before anything is computed."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping
from typing import Any

from monai.config import KeysCollection
from monai.transforms import MapTransform

from pipeline.dicom.path_text import parted
from pipeline.transforms.checks import source_of

__all__ = ["CheckSourced"]

logger = logging.getLogger(__name__)


class CheckSourced(MapTransform):  # type: ignore[misc]
    """Say before the network runs what of a DICOM series' header no DICOM SEG can repeat, or that none can be made.

    The mask is made all the same: its NIfTI needs none of that.

    Args:
        keys: images as :class:`pipeline.sources.CaseReader` loads them; those of other formats pass.
    """

    def __init__(self, keys: KeysCollection) -> None:
        super().__init__(keys)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return the data unchanged."""
        for key in self.key_iterator(data):
            meta = getattr(data[key], "meta", {})
            files = [file for file in parted(meta.get("dicom_files", "")) if file]
            if files:
                from pipeline.dicom.writing.derived import missing_in_source  # highdicom takes long to import

                problem = missing_in_source(files, series=meta.get("dicom_series"))
                if problem is not None:
                    logger.warning("%s: there will be a NIfTI but no DICOM SEG: %s", source_of(data[key]), problem)
        return dict(data)
