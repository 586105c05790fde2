"""Which files make a case, which cases make a split, and what to do with those that fail."""

from pipeline.data.classes import find_classified
from pipeline.data.content import content_hash
from pipeline.data.failures import CaseFailures, SurvivingCases
from pipeline.data.files import IMAGE_SUFFIXES, existing_path, find_inputs, strip_suffix
from pipeline.data.pairs import find_pairs
from pipeline.data.splits import DataSplit

__all__ = [
    "IMAGE_SUFFIXES",
    "CaseFailures",
    "DataSplit",
    "SurvivingCases",
    "content_hash",
    "existing_path",
    "find_classified",
    "find_inputs",
    "find_pairs",
    "strip_suffix",
]
