"""Cases that are scored although the weights know their images or their patients."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from pipeline.data.content import content_of
from pipeline.data.inputs import Case
from pipeline.errors import InputError
from pipeline.sources.paths import first_of

__all__ = ["Overlap", "find_overlaps", "overlap_error", "patient_of"]

_NAMED = 5


class Overlap(NamedTuple):
    """A case that another part of the split knows.

    Attributes:
        case: the case.
        other: the name of the case of the other part.
        shared: "image" for an exact copy, else "patient".
    """

    case: Case
    other: str
    shared: Literal["image", "patient"]


def patient_of(case: Case, pattern: re.Pattern[str] | None) -> str:
    """The patient of a case: by the pattern's first group in its name; else whom its files tell; else the case itself.

    Raises:
        InputError: the pattern does not match.
    """
    name = str(case["name"])
    if pattern is None:
        return str(case.get("patient", name))
    match = pattern.search(name)
    if match is None:
        raise InputError("no patient in the case's name", where=name, expected=f"a match of {pattern.pattern}")
    return str(match.group(1))


def find_overlaps(
    cases: Iterable[Case], *, present: Sequence[Case], listed: Sequence[Case], pattern: re.Pattern[str] | None
) -> list[Overlap]:
    """The cases that show the same image as one of another part, or the same patient.

    Args:
        cases: those of one part, with ``name``, ``patient`` and ``image``.
        present: those of the other part that are in the folder as well.
        listed: those of the other part by the datalist's entries, whose images may be elsewhere.
        pattern: of the patient in a case's name. Without one an entry whose patient is called as its case has none
            that is known.

    Raises:
        InputError: the pattern does not match an entry without a patient.
    """
    hashed = {entry["name"]: entry["content"] for entry in listed if entry.get("content")}
    images = {content: name for name, content in hashed.items()}
    images |= {content_of(case): case["name"] for case in present if case["name"] not in hashed}
    images.pop(None, None)  # empty files, which show nothing
    patients = {entry.get("patient") or patient_of(entry, pattern): entry["name"] for entry in listed}
    if pattern is None:
        patients = {patient: name for patient, name in patients.items() if patient != name}
    patients |= {case["patient"]: case["name"] for case in present}
    found = []
    for case in cases:
        if images and content_of(case) in images:
            found.append(Overlap(case, images[content_of(case)], "image"))
        elif case["patient"] in patients:
            found.append(Overlap(case, patients[case["patient"]], "patient"))
    return found


def overlap_error(overlaps: Sequence[Overlap], *, root: Path, what: str, cure: str) -> InputError:
    """What to say of them: the first few by their files, never by their patients.

    Args:
        overlaps: at least one.
        root: the folder of the data.
        what: the sentence before the list, such as "2 of 9 cases were trained on".
        cure: what the user can do.
    """
    named = [f"{_file(one.case, root)} (same {one.shared} as {one.other})" for one in overlaps[:_NAMED]]
    more = [f"{len(overlaps) - _NAMED} more"] if len(overlaps) > _NAMED else []
    return InputError(f"{what}: {', '.join(named + more)}", where=root, cure=cure)


def _file(case: Case, root: Path) -> str:
    image = first_of(case["image"])[0]
    return image.relative_to(root).as_posix() if image.is_relative_to(root) else str(image)
