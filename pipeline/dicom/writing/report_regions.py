"""What a structured report refers to: segments, or outlines on the source images, and the values of these."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from highdicom import sr

from pipeline.dicom.datasets import read_dataset, reading
from pipeline.dicom.reading.decoding import for_each_frame
from pipeline.dicom.reading.pixels import fill_plane
from pipeline.dicom.writing.contours import slice_contours
from pipeline.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import Any, TypeAlias

    from pydicom.dataset import Dataset

    from pipeline.dicom.labels.grid import Bools, Floats
    from pipeline.dicom.reading.geometry import Stack
    from pipeline.dicom.segment import Segment

    Array: TypeAlias = np.ndarray[tuple[int, ...], np.dtype[Any]]

__all__ = ["Outlines", "Segments", "values_on_slices"]


class Segments:
    """The segments of a SEG."""

    def __init__(self, path: Path, stack: Stack) -> None:
        with reading(path):
            self.dataset = read_dataset(path, force=False)
            numbers = [
                (str(item.SegmentLabel), int(item.SegmentNumber)) for item in self.dataset.get("SegmentSequence", ())
            ]
        if not numbers:
            raise InputError("is not a segmentation", where=path)
        self.path, self.numbers = path, numbers
        self.series = sr.SourceSeriesForSegmentation(stack.headers[0].series_uid)
        self.evidence = [self.dataset]

    def region(self, _mask: Bools, segment: Segment) -> dict[str, Any]:
        """Return the argument that refers to the segment of a name."""
        found = [number for name, number in self.numbers if name == segment.name]
        if len(found) != 1:
            raise InputError(
                f"has {len(found) or 'no'} segments of the name '{segment.name}'", where=self.path, expected="one"
            )
        referenced = sr.ReferencedSegment(
            sop_class_uid=self.dataset.SOPClassUID,
            sop_instance_uid=self.dataset.SOPInstanceUID,
            segment_number=found[0],
            source_series=self.series,
        )
        return {"referenced_segment": referenced}


class Outlines:
    """Outlines on the source images; a hole has one within another."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.evidence: list[Dataset] = []

    def region(self, mask: Bools, _segment: Segment) -> dict[str, Any]:
        """Return the argument that outlines a mask (column, row, slice)."""
        regions = [
            sr.ImageRegion(sr.GraphicTypeValues.POLYLINE, _on_image([*contour, contour[0]]), _image(self.stack, int(k)))
            for k in np.flatnonzero(mask.any(axis=(0, 1)))
            for contour in slice_contours(mask[:, :, k])
        ]
        return {"referenced_regions": regions}


def _on_image(points: Sequence[Floats]) -> Floats:
    """Return coordinates for SCOORD (PS3.3 C.18.6.1.2), where the centre of the first pixel is at 0.5."""
    return np.asarray(points, dtype=np.float64) + 0.5


def _image(stack: Stack, k: int) -> sr.SourceImageForRegion:
    header = stack.headers[k]
    frames = [header.frame + 1] if header.enhanced else None
    return sr.SourceImageForRegion(header.sop_class_uid, header.sop_instance_uid, frames)


def values_on_slices(stack: Stack) -> Floats:
    """Return the values (column, row, slice) of slices as they were acquired, tilted or not."""
    slices, rows, columns = stack.geometry.spatial_shape
    array = np.empty((slices, rows, columns), dtype=np.float32)

    def use(index: int, stored: Array) -> None:
        fill_plane(stack.headers[index], stored, array[index])

    for_each_frame(stack.headers, use)
    values: Any = array.transpose(2, 1, 0)
    return values  # type: ignore[no-any-return]
