"""MONAI inferers that wrap other inferers."""

from pipeline.inferers.autocast import AutocastInferer, bf16_is_fast
from pipeline.inferers.mirrored import MirroredInferer

__all__ = ["AutocastInferer", "MirroredInferer", "bf16_is_fast"]
