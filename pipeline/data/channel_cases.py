"""From what lies in a folder to cases of several images."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.data.channel_series import group_series
from pipeline.data.channels import Grouped, Rule, check_case, group_files, telling
from pipeline.errors import InputError
from pipeline.sources.survey import Survey

__all__ = ["group", "usable_cases"]

logger = logging.getLogger(__name__)

_VOLUME, _NAMED = 3, 5


def group(found: Survey, rules: Sequence[Rule], root: Path, *, dimensions: int | None = None) -> Grouped:
    """The cases of a survey, and the channel of each file.

    Args:
        found: what lies in ``root``.
        rules: one per channel, in order, see :class:`pipeline.planning.channels.Channel`.
        root: the folder.
        dimensions: the number of spatial axes that the network takes; pictures are no channels of volumes.

    Raises:
        InputError: both DICOM series and other files could be the cases, or two cases have one name.
    """
    files = [*found.volumes, *([] if dimensions == _VOLUME and found.volumes else found.pictures)]
    by_series, by_files = group_series(found.slices, rules, root), group_files(files, rules, root)
    if by_series.cases and by_files.cases:
        raise InputError(
            "holds images of several kinds, and which of them are the cases cannot be told",
            where=root,
            got=f"{len(by_series.cases)} cases of DICOM series, {len(by_files.cases)} of other files",
            cure="Give the path of those that are meant, or move the others away",
        )
    grouped, other = (by_series, by_files) if by_series.cases else (by_files, by_series)
    grouped.unused += other.unused
    names = Counter(case["name"] for case in grouped.cases)
    twice = [name for name, count in names.items() if count > 1]
    if twice:
        raise InputError("two cases have one name", where=root, got=twice[0], cure="Rename one of them")
    return grouped


def usable_cases(
    found: Survey, rules: Sequence[Rule], root: Path, *, dimensions: int | None = None
) -> list[dict[str, Any]]:
    """The cases of a survey, sorted by name; what is no channel is named in one line of the log.

    Raises:
        InputError: see :func:`group`; there is no case, or the only one cannot be used.
    """
    grouped = group(found, rules, root, dimensions=dimensions)
    if not grouped.cases:
        names = [path.name for path in sorted(grouped.unused)]
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        got = f"{', '.join(names[:_NAMED])}{more}" if names else found.counted() or "no file"
        what = f"holds no image that is one of the {len(rules)} channels, or all of them"
        raise InputError(what, where=root, expected=telling(rules), got=got)
    if len(grouped.cases) == 1:
        check_case(grouped.cases[0])
    used = {*grouped.channel, *grouped.unused, *(file for one in found.slices for file in one.files)}
    passed_over = found.counted(without=used)
    if passed_over:
        logger.info("%s: no cases of their own, passed over: %s", root, passed_over)
    if grouped.unused:
        below = [path.relative_to(root).as_posix() for path in sorted(grouped.unused)]
        more = f" and {len(below) - _NAMED} more" if len(below) > _NAMED else ""
        logger.warning("%s: no channel, and not used: %s%s", root, ", ".join(below[:_NAMED]), more)
    return sorted(grouped.cases, key=lambda case: str(case["name"]))
