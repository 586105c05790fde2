"""Scores of classifications, and what they say together."""
