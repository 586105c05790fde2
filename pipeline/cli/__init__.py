"""The command line; :func:`pipeline.cli.main.main` is what ``medbundle`` runs."""

from pipeline.cli.main import main

__all__ = ["main"]
