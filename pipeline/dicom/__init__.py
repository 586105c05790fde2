"""DICOM in and out: series with their geometry judged, a MONAI reader, and contours and segmentation objects."""

from typing import TYPE_CHECKING, Any

from pipeline.dicom.labels.grid import Grid
from pipeline.dicom.labels.objects import read_labels, referenced_series
from pipeline.dicom.labels.rtstruct import read_rtstruct
from pipeline.dicom.labels.segments import read_segments
from pipeline.dicom.labels.volume import LabelVolume, read_segmentation
from pipeline.dicom.reading.geometry import ras_affine
from pipeline.dicom.reading.series import Scan, Series, choose, load, scan
from pipeline.dicom.segment import Algorithm, Segment
from pipeline.dicom.writing.measurement_report import write_measurement_report
from pipeline.dicom.writing.rtstruct import write_rtstruct
from pipeline.dicom.writing.segmentation import write_segmentation

if TYPE_CHECKING:
    from pipeline.dicom.reading.reader import DicomSeriesReader

__all__ = [
    "Algorithm",
    "DicomSeriesReader",
    "Grid",
    "LabelVolume",
    "Scan",
    "Segment",
    "Series",
    "choose",
    "load",
    "ras_affine",
    "read_labels",
    "read_rtstruct",
    "read_segmentation",
    "read_segments",
    "referenced_series",
    "scan",
    "write_measurement_report",
    "write_rtstruct",
    "write_segmentation",
]


def __getattr__(name: str) -> Any:
    """Import the reader when it is asked for: it needs MONAI, whose import takes longer than to look at a study."""
    if name == "DicomSeriesReader":
        from pipeline.dicom.reading.reader import DicomSeriesReader

        return DicomSeriesReader
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
