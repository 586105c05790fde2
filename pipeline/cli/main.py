"""The ``medbundle`` command: parse, run one verb, and answer an error with one line."""

from __future__ import annotations

import argparse
import copy
import errno
import io
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from pipeline.cli.parser import parse
from pipeline.errors import InputError, find_input_error, shown

__all__ = ["main"]

EXIT_INPUT, EXIT_INTERRUPTED, EXIT_PIPE = 1, 130, 141

_OF_USERS = (errno.EACCES, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ENOSPC, errno.ENOTDIR, errno.EPERM,
             errno.EROFS)  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status: 0, 1 for unusable input, 3 where some cases failed."""
    for out in (sys.stdout, sys.stderr):
        if isinstance(out, io.TextIOWrapper):  # names that the terminal cannot show are no reason to end
            out.reconfigure(errors="backslashreplace")
    try:
        arguments = parse(list(sys.argv[1:] if argv is None else argv))
        command: Callable[[argparse.Namespace], int] = arguments.command
        stream: Literal["stdout", "stderr"] = "stderr" if getattr(arguments, "json", False) else "stdout"
        with _messages(verbose=arguments.verbose, stream=stream):
            return command(arguments)
    except KeyboardInterrupt:
        sys.stderr.write("medbundle: interrupted\n")
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # who reads the output has seen enough, as `head` has
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nor does Python's last flush complain
        return EXIT_PIPE
    except Exception as error:
        known = find_input_error(error) or _of_the_system(error)
        if known is None:
            raise
        sys.stderr.write(f"medbundle: {known}\n")
        return EXIT_INPUT


def _of_the_system(error: BaseException | None) -> InputError | None:
    """What the system says of a file that the user named, in one line; MONAI wraps what its components raise."""
    while error is not None and not isinstance(error, OSError):
        error = error.__cause__
    if isinstance(error, OSError) and error.errno in _OF_USERS and error.filename is not None:
        return InputError(str(error.strerror), where=error.filename)
    return None


class _Messages(logging.Handler):
    """Write to what ``sys.stdout`` or ``sys.stderr`` is at the moment: a progress bar replaces it to stay below."""

    def __init__(self, stream: Literal["stdout", "stderr"]) -> None:
        super().__init__()
        self.stream = stream

    def emit(self, record: logging.LogRecord) -> None:
        if isinstance(record.args, tuple) and "\n" not in str(record.msg):  # one line, whatever it names
            record = copy.copy(record)
            record.args = tuple(shown(one) if isinstance(one, str | Path) else one for one in record.args or ())
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
