"""Which files make a case, which cases make a split, and what to do with those that fail."""

from pipeline.data.failures import CaseFailures, SurvivingCases
from pipeline.data.files import IMAGE_SUFFIXES, existing_path, find_inputs, find_pairs, strip_suffix
from pipeline.data.splits import DataSplit

__all__ = [
    "IMAGE_SUFFIXES",
    "CaseFailures",
    "DataSplit",
    "SurvivingCases",
    "existing_path",
    "find_inputs",
    "find_pairs",
    "strip_suffix",
]
