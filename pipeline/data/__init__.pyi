from .ahead import FitsAhead
from .batches import fill_batch
from .case_threads import CaseThreads
from .classes import find_classified
from .content import content_hash
from .failures import CaseFailures, SurvivingCases
from .inputs import existing_path, find_inputs
from .pairs import find_pairs
from .splits import DataSplit

__all__ = [
    "CaseFailures",
    "CaseThreads",
    "DataSplit",
    "FitsAhead",
    "SurvivingCases",
    "content_hash",
    "existing_path",
    "fill_batch",
    "find_classified",
    "find_inputs",
    "find_pairs",
]
