from .labels.grid import Grid
from .labels.label_map import LabelMap, resample_to
from .labels.objects import read_labels, referenced_series
from .labels.rtstruct import read_rtstruct
from .labels.segments import read_segments
from .labels.volume import read_segmentation
from .reading.geometry import ras_affine
from .reading.loading import load
from .reading.reader import DicomSeriesReader
from .reading.scanning import choose, scan
from .reading.series import Scan, Series
from .segment import Algorithm, Segment
from .writing.measurement_report import write_measurement_report
from .writing.rtstruct import write_rtstruct
from .writing.segmentation import write_segmentation

__all__ = [
    "Algorithm",
    "DicomSeriesReader",
    "Grid",
    "LabelMap",
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
    "resample_to",
    "scan",
    "write_measurement_report",
    "write_rtstruct",
    "write_segmentation",
]
