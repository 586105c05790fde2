"""Dictionary transforms and the image reader that bundle configs name."""

from pipeline.transforms.checks import CheckImaged, CheckLabeld
from pipeline.transforms.intensity import Clahed, UnitRanged
from pipeline.transforms.labels import LoadLabeld
from pipeline.transforms.masks import DecodeMaskd
from pipeline.transforms.pictures import PictureReader
from pipeline.transforms.reading import CaseReader
from pipeline.transforms.saving import SaveSegmentationd
from pipeline.transforms.spacing import Spacing, Spacingd

__all__ = [
    "CaseReader",
    "CheckImaged",
    "CheckLabeld",
    "Clahed",
    "DecodeMaskd",
    "LoadLabeld",
    "PictureReader",
    "SaveSegmentationd",
    "Spacing",
    "Spacingd",
    "UnitRanged",
]
