from .ahead import FitsAhead
from .batches import drops_last
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
    "drops_last",
    "existing_path",
    "find_classified",
    "find_inputs",
    "find_pairs",
]
