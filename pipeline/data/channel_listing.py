"""Cases of several images, as a listing names them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.data.channel_cases import usable_cases
from pipeline.data.channels import Rule, case_of, joint_name
from pipeline.data.listings import is_path
from pipeline.errors import InputError
from pipeline.sources.kinds import strip_suffix
from pipeline.sources.paths import NO_IMAGE, channels_of
from pipeline.sources.survey import survey

__all__ = ["listed_cases", "one_image"]

_FIRST = "_0000"
_SHOWN = 60  # letters


def listed_cases(
    root: Path, entries: Sequence[Mapping[str, Any]], listing: Path, rules: Sequence[Rule]
) -> list[dict[str, Any]]:
    """The cases of a listing's entries, in their order.

    Args:
        root: where the listed paths begin.
        entries: each with ``image``: a list of a path per channel, with null in the place of one that the case lacks;
            or one path: of a file with all channels, of a folder with the channels of one case, or what the names of
            its channels have before nnU-Net's numbers.
        listing: the file, to name it in errors.
        rules: one per channel, in order, see :class:`pipeline.planning.channels.Channel`.

    Returns:
        For each ``image``, ``name`` and, where a channel is missing, ``problem``.

    Raises:
        InputError: an entry is no path and no list of as many as there are channels, what it names is not there, or
            two have one name.
    """
    cases: dict[str, dict[str, Any]] = {}
    for entry in entries:
        image = entry["image"]
        if is_path(image):
            case = _of_one_path(root / image, listing, rules)
        elif isinstance(image, list) and all(one is None or is_path(one) for one in image):
            case = _of_several(
                [NO_IMAGE if one in (None, NO_IMAGE) else str(root / one) for one in image], listing, rules
            )
        else:
            raise InputError(
                "has an image that is neither a path nor a list of paths", where=listing, got=repr(image)[:_SHOWN]
            )
        if case["name"] in cases:
            cure = "Rename or remove one of them"
            raise InputError("two cases have one name", where=listing, got=case["name"], cure=cure)
        cases[str(case["name"])] = case
    return list(cases.values())


def one_image(root: Path, image: Any, listing: Path) -> str | list[str]:
    """The path of an entry's image for a network that takes one; a list where one DICOM series lies at several.

    Args:
        root: where the listed paths begin.
        image: of the entry.
        listing: the file, to name it in errors.

    Raises:
        InputError: it is neither a path nor a list of paths, or these are several images.
    """
    if isinstance(image, str):
        return str(root / image)
    if not isinstance(image, list) or not image or not all(map(is_path, image)):
        got = repr(image)[:_SHOWN]
        raise InputError("has an image that is neither a path nor a list of paths", where=listing, got=got)
    paths = [str(root / one) for one in image]
    if len(channels_of(paths)) > 1:
        cure = "Name the bundle's channels in data.channels of its plan.yaml"
        raise InputError(
            f"has {len(image)} images a case", where=listing, expected="1", got=", ".join(image), cure=cure
        )
    return paths if len(paths) > 1 else paths[0]


def _of_several(image: Sequence[str], listing: Path, rules: Sequence[Rule]) -> dict[str, Any]:
    paths = [Path(one) for one in image if one != NO_IMAGE]
    for path in paths:
        if not path.exists():
            raise InputError("image is listed but missing", where=path, cure=f"Restore it or edit {listing}")
    channels = channels_of(image)
    if len(channels) != len(rules) or not paths:
        names = ", ".join(str(rule["name"]) for rule in rules)
        got = f"{len(paths)}: {', '.join(path.name for path in paths)}" if paths else "none"
        raise InputError("has a case of another number of images", where=listing, expected=f"{names}", got=got)
    name = joint_name(paths) if len(paths) > 1 else strip_suffix(paths[0].name)
    found = {index: [own] for index, own in enumerate(channels) if own}
    return case_of(name, found, rules, listing)


def _of_one_path(path: Path, listing: Path, rules: Sequence[Rule]) -> dict[str, Any]:
    if path.is_dir():
        cases = usable_cases(survey(path), rules, path)
        if len(cases) > 1:
            raise InputError(f"holds {len(cases)} cases", where=path, expected="the channels of one")
        return {**cases[0], "name": path.name}
    stem = strip_suffix(path.name)
    suffix, stem = path.name[len(stem) :], stem.removesuffix(_FIRST)
    numbered = [path.with_name(f"{stem}_{index:04d}{suffix}") for index in range(len(rules))]
    if path.exists() and not numbered[1].exists():
        return {"image": str(path), "name": strip_suffix(path.name)}
    if not any(one.exists() for one in numbered):
        raise InputError("image is listed but missing", where=path, cure=f"Restore it or edit {listing}")
    return case_of(stem, {index: [(one,)] for index, one in enumerate(numbered) if one.exists()}, rules, listing)
