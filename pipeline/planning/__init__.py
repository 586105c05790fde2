"""Plans: everything that tells one bundle from another, validated."""

from pipeline.planning.plan import Code, Label, Plan, load_plan

__all__ = ["Code", "Label", "Plan", "load_plan"]
