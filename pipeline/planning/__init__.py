"""Plans: everything that tells one bundle from another, validated; and what a case will take, told beforehand."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
