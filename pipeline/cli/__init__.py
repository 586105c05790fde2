"""The command line: what ``medbundle`` runs."""

from pipeline.cli.main import main

__all__ = ["main"]
