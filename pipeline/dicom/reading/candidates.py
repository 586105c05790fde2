"""Which images of one SeriesInstanceUID belong together: a scanner may put several volumes into a series.

Images that differ in size, orientation, frame of reference, modality, patient or stack are never of one volume;
a localizer is of none. Neither are images of several echoes or b-values, nor of several time points: the images of
one position are then told apart by what they were acquired with.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from pipeline.dicom.reading.image_modules import ACQUISITION_KEYWORDS, by_number

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pipeline.dicom.reading.header import Header

__all__ = ["Candidate", "candidates"]

ORIENTATION_TOLERANCE = 1e-3
"""How far two direction cosines may differ by rounding; a turn by a tenth of a degree is more."""

VALUE_TOLERANCE = 0.02
"""How far two echo times or b-values of one volume may differ, as a part of them: scanners note what they measured."""

JITTER_MM = 0.01
_ALWAYS_APART = ("EchoTime", "DiffusionBValue")
_MOST_KEYWORDS = 3
_UNITS = {"EchoTime": " ms", "DiffusionBValue": " s/mm2", "InversionTime": " ms", "TriggerTime": " ms"}
_WORDS = {
    "DiffusionBValue": "b-value (DiffusionBValue)",
    "TemporalPositionIdentifier": "TemporalPositionIdentifier/Index",
}


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """Images or frames that may be one volume; ``note`` tells what sets them apart from the others."""

    headers: tuple[Header, ...]
    note: str = ""


def candidates(headers: Sequence[Header]) -> list[Candidate]:
    """Part the headers of one SeriesInstanceUID into candidates for a volume, the largest first.

    A file with a problem is in every candidate that it may belong to.
    """
    frames = [frame for header in headers for frame in header.frame_headers or (header,)]
    groups: list[_Group] = []
    for frame in frames:
        if frame.problem is None:
            group = next((group for group in groups if group.difference(frame) is None), None)
            if group is None:
                groups.append(group := _Group(frame))
            group.add(frame)
    groups.sort(key=lambda group: (group.reference.localizer, -len(group.headers)))
    _add_unusable([frame for frame in frames if frame.problem is not None], groups)
    found = []
    for group in groups:
        note = groups[0].difference(group.reference) or ""
        for acquired, part in _by_acquisition(group.headers):
            found.append(Candidate(headers=tuple(part), note=", ".join(filter(None, (note, acquired)))))
    return found


class _Group:
    """Images alike in all that one volume must have in common."""

    def __init__(self, reference: Header) -> None:
        self.reference = reference
        self.headers: list[Header] = []

    def add(self, header: Header) -> None:
        self.headers.append(header)
        if header.frame_of_reference_uid and not self.reference.frame_of_reference_uid:
            self.reference = header

    def difference(self, header: Header) -> str | None:
        """Return in what a header cannot be of this group; ``None`` where it can."""
        own = self.reference
        if header is own:
            return None
        if header.localizer != own.localizer:
            return f"a localizer, {header.name}" if header.localizer else "no localizer"
        frames_of_reference = (own.frame_of_reference_uid, header.frame_of_reference_uid)
        traits = (
            ("modality", own.modality, header.modality),
            ("size", _size(own), _size(header)),
            ("orientation", own.orientation, header.orientation),
            ("frame of reference", *(frames_of_reference if all(frames_of_reference) else ("", ""))),
            ("patient", *_patients(own, header)),
            ("object", _object(own), _object(header)),
            ("stack", own.stack_id, header.stack_id),
        )
        for trait, one, other in traits:
            if one != other and not (trait == "orientation" and _nearly_equal(own.orientation, header.orientation)):
                return _told(trait, header, one, other)
        return None


def _told(trait: str, header: Header, one: object, other: object) -> str:
    if trait == "stack":
        return f"StackID {header.stack_id}"
    if trait == "object":
        return (
            f"a multi-frame image of its own, {header.path.name}" if header.enhanced else "beside a multi-frame image"
        )
    what = f"the {trait} differs within the series: {header.name}"
    if trait == "patient":  # what is compared are hashes
        return what
    if trait == "orientation":
        one, other = ("\\".join(f"{value + 0.0:.3g}" for value in axes) for axes in (one, other))  # type: ignore[attr-defined]
    return f"{what}, expected {one}, got {other}"


def _nearly_equal(one: Sequence[float], other: Sequence[float]) -> bool:
    return max(abs(a - b) for a, b in zip(one, other, strict=True)) <= ORIENTATION_TOLERANCE


def _size(header: Header) -> str:
    return f"{header.columns} x {header.rows} pixels"


def _patients(one: Header, other: Header) -> tuple[str, str]:
    """Return the hashes to compare: of the IDs, or of the names where an ID is absent."""
    place = 0 if one.patient[0] and other.patient[0] else 1
    pair = one.patient[place], other.patient[place]
    return pair if all(pair) else ("", "")


def _object(header: Header) -> str:
    """Return what an enhanced image's frames have in common; single frames of one series have all."""
    if not header.enhanced:
        return ""
    return header.concatenation.uid if header.concatenation else header.sop_instance_uid


def _add_unusable(unusable: Iterable[Header], groups: list[_Group]) -> None:
    lone: dict[str, _Group] = {}
    for header in unusable:
        place = _object(header)
        fitting = [
            group
            for group in groups
            if group not in lone.values()
            and not group.reference.localizer
            and _object(group.reference) == place
            and (not header.modality or header.modality == group.reference.modality)
        ]
        for group in fitting:
            group.headers.append(header)
        if not fitting:
            if place not in lone:
                lone[place] = _Group(header)
                groups.append(lone[place])
            lone[place].headers.append(header)


def _by_acquisition(headers: list[Header]) -> list[tuple[str, list[Header]]]:
    """Part images by what they were acquired with: (what sets a part apart, its images)."""
    usable = [header for header in headers if header.problem is None]
    rest = [header for header in headers if header.problem is not None]
    parts = [("", usable)]
    for keyword in _ALWAYS_APART:
        parts = [
            (", ".join(filter(None, (note, more))), finer)
            for note, part in parts
            for more, finer in _by_number(part, keyword)
        ]
    parts = [
        (", ".join(filter(None, (note, more))), finer) for note, part in parts for more, finer in _by_position(part)
    ]
    return [(note, part + rest) for note, part in parts]


def _by_number(headers: list[Header], keyword: str) -> list[tuple[str, list[Header]]]:
    """Part images by a number, where it differs by more than a scanner's rounding."""
    place = ACQUISITION_KEYWORDS.index(keyword)
    parts: list[tuple[float, str, list[Header]]] = []
    for header in sorted(headers, key=lambda header: by_number(header.acquisition[place])):
        value = header.acquisition[place]
        number = by_number(value)[0]
        if parts and (number == parts[-1][0] or math.isclose(number, parts[-1][0], rel_tol=VALUE_TOLERANCE)):
            parts[-1][2].append(header)
        else:
            parts.append((number, value, [header]))
    if len(parts) < 2:  # noqa: PLR2004
        return [("", headers)]
    return [(_shown(keyword, value), part) for _, value, part in parts]


def _by_position(headers: list[Header]) -> list[tuple[str, list[Header]]]:
    """Part images of which several lie at one position by as few keywords as will do."""
    deep = _depth(headers)
    if deep < 2:  # noqa: PLR2004
        return [("", headers)]
    columns = list(zip(*(header.acquisition for header in headers), strict=True))
    varying = [place for place, values in enumerate(columns) if len(set(values)) > 1]
    for count in range(1, _MOST_KEYWORDS + 1):
        for places in combinations(varying, count):
            parts: dict[tuple[str, ...], list[Header]] = defaultdict(list)
            for header in headers:
                parts[tuple(header.acquisition[place] for place in places)].append(header)
            # A keyword that has a value of its own for each image would part them all.
            if len(parts) <= deep and all(_depth(part) == 1 for part in parts.values()):
                names = [ACQUISITION_KEYWORDS[place] for place in places]
                return [
                    (", ".join(map(_shown, names, values)), parts[values])
                    for values in sorted(parts, key=lambda values: [by_number(value) for value in values])
                ]
    return [("", headers)]


def _depth(headers: list[Header]) -> int:
    """Return how many different images lie at one position, at most."""
    if not headers:
        return 0
    orientation = headers[0].orientation
    normal = np.cross(orientation[:3], orientation[3:])
    once = {(header.sop_instance_uid or str(header.path), header.frame): header for header in headers}
    along = np.sort(np.array([header.position for header in once.values()]) @ normal)
    starts = np.flatnonzero(np.diff(along, prepend=-np.inf) > JITTER_MM)
    return int(np.diff(starts, append=len(along)).max())


def _shown(keyword: str, value: str) -> str:
    word = _WORDS.get(keyword, keyword)
    return f"{word} {value}{_UNITS.get(keyword, '')}" if value else f"no {word}"
