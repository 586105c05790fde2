from .image import Options, SourceImage
from .label_map import LabelMap, read_label_map, resample_to
from .label_table import Code, Label, read_label_table, segment_arguments, write_label_table
from .nifti import write_nifti
from .opening import open_image
from .pictures import PictureReader
from .reader import CaseReader
from .survey import Survey, survey

__all__ = [
    "CaseReader",
    "Code",
    "Label",
    "LabelMap",
    "Options",
    "PictureReader",
    "SourceImage",
    "Survey",
    "open_image",
    "read_label_map",
    "read_label_table",
    "resample_to",
    "segment_arguments",
    "survey",
    "write_label_table",
    "write_nifti",
]
