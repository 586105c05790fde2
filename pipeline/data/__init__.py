"""Which files make a case, which cases make a split, and what to do with those that fail."""

import lazy_loader

# What there is stands in __init__.pyi; each name is imported when it is asked for.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
