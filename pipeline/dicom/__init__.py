"""DICOM in and out: series with their geometry judged, a MONAI reader, and segmentation objects."""

from pipeline.dicom.geometry import ras_affine
from pipeline.dicom.reader import DicomSeriesReader
from pipeline.dicom.segmentation import Algorithm, Segment, write_segmentation
from pipeline.dicom.series import Scan, Series, choose, load, scan

__all__ = [
    "Algorithm",
    "DicomSeriesReader",
    "Scan",
    "Segment",
    "Series",
    "choose",
    "load",
    "ras_affine",
    "scan",
    "write_segmentation",
]
