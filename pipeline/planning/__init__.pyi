from .forecast import MemoryLimit
from .loading import load_plan
from .plan import Plan

__all__ = ["MemoryLimit", "Plan", "load_plan"]
