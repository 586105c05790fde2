"""Which label of one file is which of another: by name, then by code; by value where there are no names."""

from __future__ import annotations

import itertools
import logging
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from pipeline.errors import InputError
from pipeline.sources.label_map import LabelMap
from pipeline.sources.label_table import Label, label_names, segment_arguments

__all__ = ["FileLabels", "LabelPairing"]

# What programs call a segment for want of a name: medbundle, 3D Slicer, ITK-SNAP, dcmqi.
_NAMELESS = re.compile(r"(label|segment|segmentation|mask|class|roi|region|structure)[\s_-]*\d*", re.IGNORECASE)
# Codes (SCT) that stand for anything: Tissue, Anatomical Structure (twice), Body structure, Morphologically abnormal.
_VAGUE_CODES = {"85756007", "91723000", "123037004", "49755003"}
_CURE = "Tell by --labels which value each name has"

logger = logging.getLogger(__name__)

_Code = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class FileLabels:
    """The labels of one file.

    Attributes:
        values: that occur, or that the file describes, without the background.
        names: of those that have one; what a program writes for want of a name, such as ``Segment 1``, is none.
        codes: the property type and its modifier, likewise.
        numbered: see :class:`pipeline.sources.LabelMap`.
    """

    values: frozenset[int]
    names: Mapping[int, str] = field(default_factory=dict)
    codes: Mapping[int, _Code] = field(default_factory=dict)
    numbered: bool = False

    @classmethod
    def of(cls, label_map: LabelMap) -> FileLabels:
        """Those of a label map."""
        named = {one.value: one for one in label_map.segments if not _NAMELESS.fullmatch(one.name.strip())}
        codes = {one.value: _code(one.property_type, one.modifier) for one in label_map.segments}
        values = {*label_map.values, *(one.value for one in label_map.segments)}
        return cls(
            values=frozenset(values),
            names={value: " ".join(one.name.split()) for value, one in named.items()},
            codes={value: code for value, code in codes.items() if code[0] not in _VAGUE_CODES},
            numbered=label_map.numbered,
        )

    @property
    def is_named(self) -> bool:
        """Whether each label has a name, and each another one."""
        return self.names.keys() >= self.values and len(set(map(_plain, self.names.values()))) == len(self.names)


class LabelPairing:
    """The labels that are scored, and which of them each label of a file is.

    Args:
        names: by the values that scored maps get.
        answers: what each value goes by, further names among it.
        codes: property type and modifier of each value that has them.
        by_name: whether a label that has a name is found by it, or else by its code, and by its value only where it
            has none. If not, all are found by their values.
        numbers: the values that files whose labels are but numbered must have to be believed; None where any will do.
    """

    def __init__(
        self,
        names: Mapping[int, str],
        *,
        answers: Mapping[int, Iterable[str]] | None = None,
        codes: Mapping[int, _Code] | None = None,
        by_name: bool = True,
        numbers: frozenset[int] | None = None,
    ) -> None:
        self.names = dict(names)
        self.by_name = by_name
        self._numbers = numbers
        answers = answers or {value: (name,) for value, name in names.items()}
        self._by_name = {_plain(name): value for value, own in answers.items() for name in own}
        shared = Counter((codes or {}).values())
        self._by_code = {code: value for value, code in (codes or {}).items() if shared[code] == 1}

    @classmethod
    def of_table(cls, table: Sequence[Label], where: Path) -> LabelPairing:
        """Pair by a table of labels; its ``source_names`` are further names, and its types codes.

        Raises:
            InputError: two values have one name.
        """
        codes = {}
        for label in (one for one in table if one.type is not None):
            arguments = segment_arguments(label)
            codes[label.value] = _code(arguments["property_type"], arguments["modifier"])
        answers = {label.value: (label.name, *label.source_names) for label in table}
        return cls(label_names(table, where), answers=answers, codes=codes)

    @classmethod
    def of_files(cls, references: Sequence[FileLabels], predictions: Sequence[FileLabels]) -> LabelPairing:
        """Pair by what the files say: by names where every label of every file has one, by values otherwise.

        The values are those of the references.

        Raises:
            InputError: two files give one value to different names, and one name is in none of the others; or to two
                values, and others have values only.
        """
        files = (*references, *predictions)
        if any(one.names for one in files) and all(one.is_named for one in files):
            found = _by_names(files)
            _check_partners(found, references, predictions)
            return found
        return _by_values(files)

    def values_of(self, files: Sequence[FileLabels]) -> dict[int, set[int]]:
        """The labels that are scored and in some files, each of whose labels has a name; with their values there."""
        found: dict[int, set[int]] = {}
        for one in files:
            for value in one.values:
                found.setdefault(self._target(value, one, Path()), set()).add(value)
        return found

    def onto(self, label_map: LabelMap, path: Path) -> tuple[LabelMap, str]:
        """Give a label map the values that are scored.

        Returns:
            The map, and what is to be said of it; "" where all is plain.

        Raises:
            InputError: a label of it is none of those that are scored, or cannot be told.
        """
        own = FileLabels.of(label_map)
        table = {value: self._target(value, own, path) for value in label_map.values}
        note = self._note(own, table, path)
        if all(value == target for value, target in table.items()):
            return label_map, note
        new = np.zeros(max(table) + 1, dtype=np.min_scalar_type(max(table.values())))
        new[list(table)] = list(table.values())
        segments = tuple(replace(one, value=table[one.value]) for one in label_map.segments if one.value in table)
        return replace(label_map, labels=new[label_map.labels], segments=segments), note

    def _note(self, own: FileLabels, table: Mapping[int, int], path: Path) -> str:
        """What is to be said where values were taken on trust, or contradict the names."""
        if own.numbered and any(not (self.by_name and value in own.names) for value in table):
            return self._by_number(own, path)
        moved = [value for value, target in table.items() if value != target]
        if own.numbered or not moved:
            return ""
        first = moved[0]
        return f"'{own.names[first]}' has the value {first}, not {table[first]} as elsewhere: labels paired by name"

    def _target(self, value: int, own: FileLabels, path: Path) -> int:
        name = own.names.get(value)
        if not self.by_name or name is None:
            if value not in self.names:
                expected = ", ".join(map(str, self.names))
                raise InputError(f"label value {value} has no name", where=path, expected=f"0, {expected}")
            return value
        found = self._by_name.get(_plain(name), self._by_code.get(own.codes.get(value, ())))
        if found is None:
            raise InputError(
                f"its label {value} '{name}' is none of those that are scored",
                where=path,
                expected=", ".join(self.names.values()),
                cure="Name it in --labels as well, among its label's source_names",
            )
        return found

    def _by_number(self, own: FileLabels, path: Path) -> str:
        if self._numbers is not None and own.values != self._numbers:
            raise InputError(
                "its segments are numbered and do not tell their label values",
                where=path,
                expected=f"the values {', '.join(map(str, sorted(self._numbers)))}",
                got=", ".join(map(str, sorted(own.values))),
                cure=_CURE,
            )
        return "segments do not tell their label values: labels paired by segment number"


def _by_names(files: Sequence[FileLabels]) -> LabelPairing:
    names: dict[int, str] = {}
    answers: dict[int, set[str]] = {}
    codes: dict[int, _Code] = {}
    for one in files:
        own = {_plain(one.names[value]) for value in one.values}
        for value in sorted(one.values):
            name, code = one.names[value], one.codes.get(value, ())
            target = _known(_plain(name), code, answers, codes, without=own)
            if target is None:
                target = value if value not in names else max(names) + 1
                names[target], answers[target], codes[target] = name, set(), code
            answers[target].add(_plain(name))
    return LabelPairing(dict(sorted(names.items())), answers=answers)


def _known(
    name: str, code: _Code, answers: Mapping[int, set[str]], codes: Mapping[int, _Code], *, without: set[str]
) -> int | None:
    """The label that a name or else a code belongs to; not one that the same file has under another name."""
    for value, known in answers.items():
        if name in known:
            return value
    alike = [value for value, other in codes.items() if code and other == code and not answers[value] & without]
    return alike[0] if len(alike) == 1 else None


def _check_partners(pairing: LabelPairing, references: Sequence[FileLabels], predictions: Sequence[FileLabels]) -> None:
    """Labels of one side alone are said, and refused where values would pair them."""
    here, there = pairing.values_of(references), pairing.values_of(predictions)
    alone = here.keys() - there.keys(), there.keys() - here.keys()
    for label, other in itertools.product(*map(sorted, alone)):
        shared = here[label] & there[other]
        if shared:
            raise InputError(
                f"label {min(shared)} is '{pairing.names[label]}' in the references "
                f"and '{pairing.names[other]}' in the predictions",
                cure="Name both in --labels, one of them among its label's source_names",
            )
    for side, labels in zip(("references", "predictions"), alone, strict=True):
        if labels:
            logger.warning("labels of the %s alone: %s", side, ", ".join(pairing.names[one] for one in sorted(labels)))


def _by_values(files: Sequence[FileLabels]) -> LabelPairing:
    named = _clear_names(files)
    telling = [one for one in files if not one.numbered]
    if named is None:
        if len(telling) < len(files):
            what = "names and values of labels differ between the files, and some have values only"
            raise InputError(what, cure=_CURE)
        logger.warning("names of labels differ between the files: they are paired by their values")
    names = named or {}
    return LabelPairing(
        {value: names.get(value, f"label {value}") for value in sorted(_all_values(files))},
        by_name=False,
        numbers=_all_values(telling) if telling else None,
    )


def _all_values(files: Sequence[FileLabels]) -> frozenset[int]:
    return frozenset(value for one in files for value in one.values)


def _clear_names(files: Sequence[FileLabels]) -> dict[int, str] | None:
    """The name of each value that has one; None where a value has several, or a name."""
    pairs = {(value, _plain(name)): name for one in files for value, name in one.names.items()}
    values, names = {value for value, _ in pairs}, {name for _, name in pairs}
    clear = len(values) == len(names) == len(pairs)
    return {value: name for (value, _), name in pairs.items()} if clear else None


def _code(kind: Sequence[str], modifier: Sequence[str] | None) -> _Code:
    return (*kind[:2], *(() if modifier is None else modifier[:2]))


def _plain(name: str) -> str:
    return " ".join(name.split()).casefold()
