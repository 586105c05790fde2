"""DICOM in and out: series with their geometry judged, a MONAI reader, and contours and segmentation objects."""

import lazy_loader

# What there is stands in __init__.pyi; each name is imported when it is asked for.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
