"""All kinds of altered series, in the order of a table."""

# ruff: noqa: F401, I001 - the modules register their kinds, in this order
from dicom_altered import header_kinds, geometry_kinds, mixture_kinds, encoding_kinds, value_kinds, folder_kinds
from dicom_altered import enhanced_kinds, enhanced_faults, real_kinds
from dicom_altered.kind import KINDS, Kind
from dicom_altered.truth import Difference, Truth, difference

__all__ = ["KINDS", "Difference", "Kind", "Truth", "difference"]
