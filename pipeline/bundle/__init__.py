"""A bundle as an object: locate, check, build from a plan, open, verify."""

import lazy_loader

# What there is stands in __init__.pyi; each name is imported when it is asked for.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
