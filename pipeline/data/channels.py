"""Which files are the channels of which case, told by their names."""

from __future__ import annotations

import logging
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from pipeline.errors import InputError, one_line
from pipeline.sources import open_image
from pipeline.sources.kinds import strip_suffix
from pipeline.sources.paths import NO_IMAGE

__all__ = ["Grouped", "Rule", "case_of", "check_case", "group_files", "joint_name", "most_specific", "telling", "words"]

logger = logging.getLogger(__name__)

T = TypeVar("T")
Rule = Mapping[str, Any]
"""How a channel is told: the fields of :class:`pipeline.planning.channels.Channel` that are given."""

_NUMBER = re.compile(r"(.*)_(\d{4})$")  # nnU-Net's channel numbers
_WORD = re.compile(r"[a-z0-9]+")
_SEPARATORS = " _-.+"
_Reading = Literal["number", "name"]


@dataclass
class Grouped:
    """Cases, and the channel of each path.

    Attributes:
        cases: ``image`` with a path per channel, ``name``, and ``problem`` where the case cannot be used: a channel
            that is missing or could be several files, in one line.
        channel: the index of each used path's channel; None where it holds all.
        unused: paths that are no channel.
    """

    cases: list[dict[str, Any]] = field(default_factory=list)
    channel: dict[Path, int | None] = field(default_factory=dict)
    unused: list[Path] = field(default_factory=list)


@dataclass(frozen=True)
class _Role:
    """What a file would be: a channel of the case that its folder and the rest of its name tell."""

    path: Path
    folder: Path
    rest: str
    channel: int


def group_files(files: Sequence[Path], rules: Sequence[Rule], root: Path) -> Grouped:
    """Group files by the channels' names or by nnU-Net's numbers, whichever gives more whole cases.

    A file that holds as many channels as there are rules is a case of its own.

    Args:
        files: volumes or pictures.
        rules: one per channel, in order.
        root: the folder that they are in; cases are named by their places below.

    Raises:
        InputError: name and number of a file contradict each other, and no whole case tells which counts.
    """
    by_name, by_number = _grouped(files, rules, root, "name"), _grouped(files, rules, root, "number")
    best = max(by_name, by_number, key=_likelihood)
    if not _likelihood(best)[0]:  # no case is whole
        for file in sorted(by_name.channel.keys() & by_number.channel.keys()):
            one, other = by_name.channel[file], by_number.channel[file]
            if one != other and one is not None and other is not None:
                what = f"is channel {rules[one]['name']} by its name and {rules[other]['name']} by its number"
                raise InputError(what, where=file, cure="Rename it, or give the channels files in plan.yaml")
    return best


def _likelihood(found: Grouped) -> tuple[int, int, int]:
    """By how many cases have all channels; how many can be used; how many files are any channel."""
    sound = [case for case in found.cases if "problem" not in case]
    return sum(NO_IMAGE not in case["image"] for case in sound), len(sound), len(found.channel)


def _grouped(files: Sequence[Path], rules: Sequence[Rule], root: Path, reading: _Reading) -> Grouped:
    found = Grouped()
    units, alone = _units(files, rules, root, reading)
    folders = Counter(folder for folder, _ in units)
    for (folder, rest), roles in sorted(units.items()):
        if len(roles) == 1 and _holds_all(roles[0].path, len(rules)):
            alone.append(roles[0].path)
            continue
        only = reading == "name" and folders[folder] == 1 and folder != root
        parts = [*folder.relative_to(root).parts, *([] if only or not rest else [rest])]
        paths: dict[int, list[tuple[Path, ...]]] = defaultdict(list)
        for role in roles:
            paths[role.channel].append((role.path,))
        found.cases.append(case_of("_".join(parts) or root.resolve().name, paths, rules, folder))
        found.channel.update({role.path: role.channel for role in roles})
    for file in sorted(alone):
        if _holds_all(file, len(rules)):
            name = "_".join((*file.parent.relative_to(root).parts, strip_suffix(file.name)))
            found.cases.append({"image": str(file), "name": name})
            found.channel[file] = None
        else:
            found.unused.append(file)
    return found


def _units(
    files: Sequence[Path], rules: Sequence[Rule], root: Path, reading: _Reading
) -> tuple[dict[tuple[Path, str], list[_Role]], list[Path]]:
    """Files by the case that their folder and the rest of their name tell, and those that are no single channel."""
    units: dict[tuple[Path, str], list[_Role]] = defaultdict(list)
    alone: list[Path] = []
    for file in files:
        roles = _roles(file, rules, root, reading)
        if len(roles) == 1:
            units[roles[0].folder, roles[0].rest].append(roles[0])
        else:
            alone.append(file)
    return (_whole_folders(units, rules, root) if reading == "name" else units), alone


def _roles(file: Path, rules: Sequence[Rule], root: Path, reading: _Reading) -> list[_Role]:
    """The channels that a file could be, those with the longest name or pattern: ``T1 c`` is meant where both are."""
    stem = strip_suffix(file.name)
    numbered = _NUMBER.match(stem) if reading == "number" else None
    beside = words(file.parent.name) if reading == "name" and file.parent != root else None  # a folder per channel
    roles = []
    for index, rule in enumerate(rules):
        if "files" in rule:
            rest = _by_pattern(file.name, str(rule["files"]))
        elif reading == "number":
            rest = numbered.group(1) if numbered is not None and int(numbered.group(2)) == index else None
        else:
            rest = _without_words(stem, str(rule["name"]))
        if rest is not None:
            roles.append(_Role(file, file.parent, rest, index))
        elif "files" not in rule and beside == words(str(rule["name"])):
            roles.append(_Role(file, file.parent.parent, stem, index))
    return most_specific(roles, lambda role: len("".join(words(_told(rules[role.channel])))))


def _told(rule: Rule) -> str:
    return str(rule.get("files", rule["name"]))


def most_specific(candidates: Sequence[T], measure: Callable[[T], int]) -> list[T]:
    """Those of which a measure is largest."""
    most = max(map(measure, candidates), default=0)
    return [one for one in candidates if measure(one) == most]


def _by_pattern(name: str, pattern: str) -> str | None:
    """What a file's name has in the places of a pattern's wildcards; None where it does not match."""
    stem = strip_suffix(name)
    if not any(sign in pattern for sign in "*?["):
        return _without_words(stem, pattern)
    match = next(filter(None, (re.fullmatch(_expression(pattern), text.lower()) for text in (name, stem))), None)
    if match is None:
        return None
    spans = [match.span(group + 1) for group in range(len(match.groups()))]
    kept = [stem[start:stop].strip(_SEPARATORS) for start, stop in spans]
    return "_".join(filter(None, kept))


def _expression(pattern: str) -> str:
    """A pattern of the shell as a regular expression with a group for each wildcard."""
    signs = {"*": "(.*)", "?": "(.)"}
    parts = re.split(r"(\*|\?|\[[^]]+\])", pattern.lower())
    return "".join(
        signs.get(part, f"({part.replace('[!', '[^')})" if part.startswith("[") and part.endswith("]") else "")
        or re.escape(part)
        for part in parts
    )


def words(text: str) -> list[str]:
    """The words of a name, in small letters: ``T1-weighted`` has two."""
    return _WORD.findall(text.lower())


def _without_words(stem: str, name: str) -> str | None:
    """A name without a channel's words, which stand in it in a row; None where they do not."""
    wanted = words(name)
    found = list(_WORD.finditer(stem.lower()))
    for start in range(len(found) - len(wanted) + 1):
        part = found[start : start + len(wanted)]
        if wanted and [word.group() for word in part] == wanted:
            kept = (stem[: part[0].start()].strip(_SEPARATORS), stem[part[-1].end() :].strip(_SEPARATORS))
            return "_".join(filter(None, kept))
    return None


def _whole_folders(
    units: Mapping[tuple[Path, str], list[_Role]], rules: Sequence[Rule], root: Path
) -> dict[tuple[Path, str], list[_Role]]:
    """Join the files of a subfolder that holds each channel once, whatever else their names say."""
    by_folder: dict[Path, list[_Role]] = defaultdict(list)
    for (folder, _), roles in units.items():
        by_folder[folder] += roles
    needed = {index for index, rule in enumerate(rules) if not rule.get("optional")}
    joined: dict[tuple[Path, str], list[_Role]] = defaultdict(list)
    for folder, roles in by_folder.items():
        channels = [role.channel for role in roles]
        whole = folder != root and len(set(channels)) == len(channels) > 1 and needed <= set(channels)
        for role in roles:
            joined[folder, "" if whole else role.rest].append(role)
    return joined


def _holds_all(file: Path, count: int) -> bool:
    try:
        return open_image(file).channels == count
    except Exception as error:  # noqa: BLE001 - whoever reads it says by name what is wrong with it
        logger.debug("%s: %s", file, one_line(error))
        return False


def case_of(
    name: str, found: Mapping[int, Sequence[Sequence[Path]]], rules: Sequence[Rule], where: Path
) -> dict[str, Any]:
    """A case of the images that were found for each channel, or what is wrong with it.

    Args:
        name: of the case.
        found: the paths of each image that may be a channel, by the channel's index.
        rules: of all channels.
        where: what to name in an error.
    """
    image: list[str] = []
    problems, filled = [], []
    for index, rule in enumerate(rules):
        candidates = found.get(index, ())
        if len(candidates) > 1:
            listed = ", ".join(sorted(one[0].name for one in candidates))
            problems.append(f"channel {rule['name']} could be any of {listed}")
        elif candidates:
            image += map(str, candidates[0])
        elif rule.get("optional"):
            image.append(NO_IMAGE)
            filled.append(str(rule["name"]))
        else:
            problems.append(f"channel {rule['name']} is missing")
    case: dict[str, Any] = {"image": image, "name": name}
    if problems:
        here = ", ".join(str(rules[index]["name"]) for index in sorted(found)) or "no channel"
        told = InputError(f"case {name}: {'; '.join(problems)}", where=where, expected=telling(rules), got=here)
        return {**case, "image": image or [str(where)], "problem": str(told)}
    if filled:
        logger.info("%s: without %s, which becomes 0", name, ", ".join(filled))
    return case


def joint_name(paths: Sequence[Path]) -> str:
    """What the names of a case's images have in common; that of their folder where it is nothing."""
    stems = [strip_suffix(path.name) for path in paths]
    spans = [[word.span() for word in _WORD.finditer(stem.lower())] for stem in stems]
    count = 0
    while (
        all(count < len(own) for own in spans)
        and len({stem[: own[count][1]] for stem, own in zip(stems, spans, strict=True)}) == 1
    ):
        count += 1
    return stems[0][: spans[0][count - 1][1]] if count else paths[0].parent.name


def check_case(case: Mapping[str, Any]) -> None:
    """Refuse a case that was found to be of no use.

    Raises:
        InputError: its ``problem``.
    """
    if "problem" in case:
        raise InputError(str(case["problem"]))


def telling(rules: Iterable[Rule]) -> str:
    """How the channels are told, in words."""
    told = []
    for index, rule in enumerate(rules):
        by = [f"{key} {rule[key]}" for key in ("files", "modality", "description", "body_part") if key in rule]
        told.append(f"{rule['name']} by {' and '.join(by) or f'_{index:04d} or its name'}")
    return ", ".join(told)
