"""Plans: everything that tells one bundle from another, validated."""

from pipeline.planning.loading import load_plan
from pipeline.planning.plan import Plan
from pipeline.sources.label_table import Code, Label

__all__ = ["Code", "Label", "Plan", "load_plan"]
