"""DICOM in and out: series with their geometry judged, a MONAI reader, and contours and segmentation objects."""

from pipeline.dicom.geometry import ras_affine
from pipeline.dicom.grid import Grid
from pipeline.dicom.label_objects import read_labels, referenced_series
from pipeline.dicom.reader import DicomSeriesReader
from pipeline.dicom.rtstruct import read_rtstruct
from pipeline.dicom.segmentation import Algorithm, Segment, write_segmentation
from pipeline.dicom.segments import read_segments
from pipeline.dicom.series import Scan, Series, choose, load, scan

__all__ = [
    "Algorithm",
    "DicomSeriesReader",
    "Grid",
    "Scan",
    "Segment",
    "Series",
    "choose",
    "load",
    "ras_affine",
    "read_labels",
    "read_rtstruct",
    "read_segments",
    "referenced_series",
    "scan",
    "write_segmentation",
]
