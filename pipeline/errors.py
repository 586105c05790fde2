"""Errors a user can act on: one line that says where, what, expected, got and the cure."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import PurePath

__all__ = ["CasesFailed", "InputError", "failure_list", "find_input_error", "is_shortage", "one_line", "shown"]

# How torch's allocators (Linux, Windows, CUDA) and oneDNN say that there is no memory, in a RuntimeError.
_SHORTAGE = ("can't allocate memory", "not enough memory", "could not create a memory", "out of memory")


class InputError(ValueError):
    """Something that the user gave cannot be used.

    The command line and the bundle configs print ``str(error)`` as one line on standard error and exit with
    status 1; no traceback is shown. Never put a patient's name or ID into any part of it.

    Args:
        what: what is wrong, without a final full stop.
        where: the file, folder, plan field or option that it is about.
        expected: what would have been right.
        got: what was found instead.
        cure: what the user can do now, as an imperative sentence without a final full stop.
    """

    def __init__(
        self,
        what: str,
        *,
        where: object = None,
        expected: object = None,
        got: object = None,
        cure: str | None = None,
    ) -> None:
        place = "" if where is None else f"{shown(where)}: "
        told = [(word, _told(value)) for word, value in (("expected", expected), ("got", got)) if value is not None]
        details = f" ({', '.join(f'{word} {value}' for word, value in told)})" if told else ""
        super().__init__(place + _told(what) + details + ("" if cure is None else f". {_told(cure)}"))


class CasesFailed(SystemExit):
    """Some cases of a batch failed; the others were finished.

    It ends a plain ``python -m monai.bundle run`` with exit status 3. It is no ``Exception``, because MONAI wraps
    those that come out of a config, and the status would be lost.

    Attributes:
        failures: the reason for each case that failed.
    """

    def __init__(self, failures: dict[str, str], *, total: int) -> None:
        super().__init__(f"{len(failures)} of {total} cases failed: {', '.join(map(shown, failures))}")
        self.failures = failures
        self.code = 3


def shown(name: object) -> str:
    """A name or a path in one line, as text can show it.

    Whatever would break the line, turn the direction of the text or cannot be encoded is escaped as in Python.
    """
    return "".join(_escaped(one) if _is_unseen(one) else one for one in str(name))


def _is_unseen(character: str) -> bool:
    # U+202A to U+202E and U+2066 to U+2069 turn the direction of what follows.
    turns = "\u202a" <= character <= "\u202e" or "\u2066" <= character <= "\u2069"
    return turns or unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def _told(value: object) -> str:
    """A path as it is called, and other text, such as a library's, in one line."""
    return shown(value) if isinstance(value, PurePath) else " ".join(str(value).split())


def failure_list(failures: Mapping[str, str], *, total: int) -> str:
    """The failed cases of a batch, a line each, for standard error."""
    lines = [f"  {shown(name)}: {reason}" for name, reason in failures.items()]
    return "\n".join([f"medbundle: {len(failures)} of {total} cases failed:", *lines]) + "\n"


def find_input_error(error: BaseException) -> InputError | None:
    """The user's error behind an exception: MONAI wraps what its transforms and configs raise."""
    return next((cause for cause in _causes(error) if isinstance(cause, InputError)), None)


def one_line(error: BaseException) -> str:
    """An exception in one line: the user's error behind it, or the innermost cause with its type."""
    known = find_input_error(error)
    if known is not None:
        return str(known)
    root = list(_causes(error))[-1]
    return " ".join(f"{type(root).__name__}: {root}".split())


def is_shortage(error: BaseException) -> bool:
    """Whether an error, or one behind it, says that there is no memory left.

    NumPy and Python have a class for it; torch's allocators and oneDNN say so in a ``RuntimeError``.
    """
    return any(
        isinstance(one, MemoryError)
        or (isinstance(one, RuntimeError) and any(words in str(one) for words in _SHORTAGE))
        for one in _causes(error)
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
