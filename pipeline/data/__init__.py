"""Which files make a case, which cases make a split, and what to do with those that fail."""

from typing import TYPE_CHECKING, Any

from pipeline.data.classes import find_classified
from pipeline.data.content import content_hash
from pipeline.data.files import IMAGE_SUFFIXES, existing_path, find_inputs, strip_suffix
from pipeline.data.pairs import find_pairs
from pipeline.data.splits import DataSplit

if TYPE_CHECKING:
    from pipeline.data.failures import CaseFailures, SurvivingCases

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


def __getattr__(name: str) -> Any:
    """Import what needs torch when it is asked for: to look at files does not."""
    if name in ("CaseFailures", "SurvivingCases"):
        from pipeline.data import failures

        return getattr(failures, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
