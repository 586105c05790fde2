"""Errors a user can act on: one line that says where, what, expected, got and the cure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

__all__ = ["CasesFailed", "InputError", "failure_list", "find_input_error", "is_shortage", "one_line"]

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
        message = what if where is None else f"{where}: {what}"
        details = [f"{word} {value}" for word, value in (("expected", expected), ("got", got)) if value is not None]
        if details:
            message = f"{message} ({', '.join(details)})"
        if cure is not None:
            message = f"{message}. {cure}"
        super().__init__(" ".join(message.split()))


class CasesFailed(SystemExit):
    """Some cases of a batch failed; the others were finished.

    It ends a plain ``python -m monai.bundle run`` with exit status 3. It is no ``Exception``, because MONAI wraps
    those that come out of a config, and the status would be lost.

    Attributes:
        failures: the reason for each case that failed.
    """

    def __init__(self, failures: dict[str, str], *, total: int) -> None:
        super().__init__(f"{len(failures)} of {total} cases failed: {', '.join(failures)}")
        self.failures = failures
        self.code = 3


def failure_list(failures: Mapping[str, str], *, total: int) -> str:
    """The failed cases of a batch, a line each, for standard error."""
    lines = [f"  {name}: {reason}" for name, reason in failures.items()]
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
