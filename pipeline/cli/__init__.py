"""The command line; :func:`pipeline.cli.main.main` is what ``medpipe`` runs."""

from pipeline.cli.main import main

__all__ = ["main"]
