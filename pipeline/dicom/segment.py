"""What a label value means, and who said so."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeAlias

import pipeline
from pipeline.errors import InputError

__all__ = ["Algorithm", "Code", "Segment", "value_in_words", "value_of_words"]

Code: TypeAlias = "tuple[str, str, str]"

_LARGEST_VALUE = 2**16 - 1  # of a label map segmentation
_LONG_STRING = 64  # the most characters of an LO value (PS3.5 6.2)
_PARTING = re.compile(r"[\x00-\x1f\x7f-\x9f\\]")  # what no LO value can hold


@dataclass(frozen=True, kw_only=True)
class Segment:
    """What one label value means.

    ``category`` and ``property_type`` are codes (value, scheme, meaning) of PS3.16 CID 7150 and CID 7151, for
    example ``("91723000", "SCT", "Anatomical Structure")``; ``modifier`` tells which part or side of the type it
    is, for example ``("255549009", "SCT", "Anterior")``. ``color`` is the recommended display colour, sRGB.
    """

    value: int
    name: str
    category: Code
    property_type: Code
    modifier: Code | None = None
    color: tuple[int, int, int] | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.value <= _LARGEST_VALUE:
            raise InputError(
                "a label value is out of range", where=f"segment {self.name}", expected=f"1 to {_LARGEST_VALUE}"
            )
        if not 1 <= len(self.name) <= _LONG_STRING or _PARTING.search(self.name):
            raise InputError(
                "a segment's name is of no use",
                where=f"segment {self.value}",
                expected="1 to 64 characters, no backslash and no line break, as DICOM can keep",
                got=repr(self.name),
            )


@dataclass(frozen=True, kw_only=True)
class Algorithm:
    """Who made the segments. ``family`` is a code (value, scheme, meaning) of PS3.16 CID 7162.

    The name is cut to the 64 characters that DICOM can keep; a backslash, which would part two values there, becomes a
    slash, and a line break a blank.
    """

    name: str = "medbundle"
    version: str = pipeline.__version__
    family: Code = ("123109", "DCM", "Artificial Intelligence")

    def __post_init__(self) -> None:
        kept = _PARTING.sub(lambda found: "/" if found[0] == "\\" else " ", self.name)
        object.__setattr__(self, "name", kept[:_LONG_STRING])


# A binary segmentation must number its segments 1, 2, 3, ... (PS3.3 C.8.20.2), so that the value of a label map needs
# another place. The description (0062,0006) is free text that viewers show, that other programs hand on and that
# de-identification keeps; private elements they would all drop.
_VALUE = re.compile(r"Label value (\d{1,5})")


def value_in_words(value: int) -> str:
    """The SegmentDescription that tells which label value a segment was made of."""
    return f"Label value {value}"


def value_of_words(description: str) -> int | None:
    """The label value that a SegmentDescription tells; None where it tells of something else."""
    found = _VALUE.fullmatch(" ".join(description.split()))
    value = 0 if found is None else int(found[1])
    return value if 1 <= value <= _LARGEST_VALUE else None
