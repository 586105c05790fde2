"""The front door: what lies at a path, its grid, its channels and its labels; the readers, and the one NIfTI writer."""

import lazy_loader

# What there is stands in __init__.pyi; each name is imported when it is asked for.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
