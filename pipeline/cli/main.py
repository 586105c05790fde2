"""The ``medbundle`` command: parse, run one verb, and answer an error with one line."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

from pipeline.cli.parser import parse
from pipeline.errors import find_input_error

__all__ = ["main"]

EXIT_INPUT, EXIT_INTERRUPTED = 1, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status: 0, 1 for unusable input, 3 where some cases failed."""
    try:
        arguments = parse(list(sys.argv[1:] if argv is None else argv))
        command: Callable[[argparse.Namespace], int] = arguments.command
        stream: Literal["stdout", "stderr"] = "stderr" if getattr(arguments, "json", False) else "stdout"
        with _messages(verbose=arguments.verbose, stream=stream):
            return command(arguments)
    except KeyboardInterrupt:
        sys.stderr.write("medbundle: interrupted\n")
        return EXIT_INTERRUPTED
    except Exception as error:
        known = find_input_error(error)
        if known is None:
            raise
        sys.stderr.write(f"medbundle: {known}\n")
        return EXIT_INPUT


class _Messages(logging.Handler):
    """Write to what ``sys.stdout`` or ``sys.stderr`` is at the moment: a progress bar replaces it to stay below."""

    def __init__(self, stream: Literal["stdout", "stderr"]) -> None:
        super().__init__()
        self.stream = stream

    def emit(self, record: logging.LogRecord) -> None:
        stream = getattr(sys, self.stream)
        stream.write(self.format(record) + "\n")
        stream.flush()  # a log file is read while the training goes on


@contextmanager
def _messages(*, verbose: bool, stream: Literal["stdout", "stderr"]) -> Iterator[None]:
    """Our own messages, plainly; the libraries' and their warnings only when asked for."""
    import warnings

    handler = _Messages(stream)
    handler.setFormatter(logging.Formatter("%(name)s: %(message)s" if verbose else "%(message)s"))
    logger = logging.getLogger(None if verbose else "pipeline")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    with warnings.catch_warnings():
        if not verbose:
            warnings.simplefilter("ignore")
            for name in ("ignite", "monai.data.nvimgcodec_pydicom_plugin"):
                logging.getLogger(name).setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            logger.removeHandler(handler)
