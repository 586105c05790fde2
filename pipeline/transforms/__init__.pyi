from .behind import WriteBehind
from .channels import PerChanneld, RandChannelDropoutd
from .checks import CheckImaged, CheckLabeld
from .in_place import ScaleIntensityRanged
from .intensity import Clahed, UnitRanged
from .labels import LoadLabeld
from .masks import DecodeMaskd
from .saving import SaveSegmentationd
from .sources import CheckSourced
from .spacing import Spacing, Spacingd

__all__ = [
    "CheckImaged",
    "CheckLabeld",
    "CheckSourced",
    "Clahed",
    "DecodeMaskd",
    "LoadLabeld",
    "PerChanneld",
    "RandChannelDropoutd",
    "SaveSegmentationd",
    "ScaleIntensityRanged",
    "Spacing",
    "Spacingd",
    "UnitRanged",
    "WriteBehind",
]
