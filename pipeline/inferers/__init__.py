"""MONAI inferers: wrappers of others, and sliding windows in bounded memory."""

from pipeline.inferers.autocast import AutocastInferer, bf16_is_fast
from pipeline.inferers.fastest import FastestInferer
from pipeline.inferers.mirrored import MirroredInferer
from pipeline.inferers.probabilities import ProbabilityMaps
from pipeline.inferers.streaming import StreamingInferer

__all__ = [
    "AutocastInferer",
    "FastestInferer",
    "MirroredInferer",
    "ProbabilityMaps",
    "StreamingInferer",
    "bf16_is_fast",
]
