"""Labelled cases of several images."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.data.channel_cases import group, usable_cases
from pipeline.data.channel_listing import listed_cases
from pipeline.data.channel_series import FoundSeries, group_series
from pipeline.data.channels import Rule, check_case, telling, words
from pipeline.data.inputs import Case, case_name
from pipeline.data.listings import training_entries
from pipeline.dicom import referenced_series
from pipeline.errors import InputError
from pipeline.sources.kinds import is_image, is_label_object, label_file, strip_suffix, visible
from pipeline.sources.layout import layout_of
from pipeline.sources.paths import paths_of
from pipeline.sources.survey import Survey, survey

__all__ = ["find_channel_pairs"]

logger = logging.getLogger(__name__)

_LABEL_WORDS = {"seg", "label", "labels", "mask", "gt", "segmentation"}


def find_channel_pairs(root: Path, rules: Sequence[Rule]) -> list[Case]:
    """List the labelled cases of a data set of several images a case.

    Args:
        root: a folder as :func:`pipeline.data.find_pairs` takes it; ``image`` may be a list in a ``dataset.json``. Or
            it holds a folder per case, with one label map beside the channels, whose name has the word seg, label,
            mask, gt or segmentation. Of a study in DICOM the outlines on its first channel count, or else those on
            the second, and so on.
        rules: one per channel, in order, see :class:`pipeline.planning.channels.Channel`.

    Returns:
        See :func:`pipeline.data.find_pairs`; ``image`` has a path per channel.

    Raises:
        InputError: see :func:`pipeline.data.find_pairs`; a channel is missing.
    """
    layout = layout_of(root)
    entries = [] if layout.listing is None else training_entries(layout.listing, several=True)
    if layout.listing is not None and entries:
        cases = _listed(root, entries, layout.listing, rules)
    elif layout.images is not None and layout.labels is not None:
        cases = _paired(layout.images, layout.labels, rules)
    else:
        found = survey(root)
        cases = _outlined(found, rules, root) if found.slices else _beside(found, rules, root)
    for case in cases:
        check_case(case)
    return sorted(cases, key=case_name)


def _listed(root: Path, entries: Sequence[Mapping[str, Any]], listing: Path, rules: Sequence[Rule]) -> list[Case]:
    cases = listed_cases(root, entries, listing, rules)
    for case, entry in zip(cases, entries, strict=True):
        label = root / str(entry["label"])
        if not label.exists():
            raise InputError("label is listed but missing", where=label, cure=f"Restore it or edit {listing}")
        case["label"] = str(label_file(label))
    return cases


def _paired(images: Path, labels: Path, rules: Sequence[Rule]) -> list[Case]:
    """Cases and label maps of one name."""
    cases = usable_cases(survey(images), rules, images)
    label_by_name: dict[str, Path] = {}
    for path in visible(labels.iterdir()):
        file = label_file(path)
        if is_label_object(file) or is_image(file):
            label_by_name[path.name if path.is_dir() else strip_suffix(path.name)] = file
    for case in cases:
        name = str(case["name"])
        given = name if name in label_by_name else name.removesuffix("_0000")
        if given not in label_by_name:
            raise InputError("image has no label", where=paths_of(case["image"])[0], expected=f"{name} in {labels}")
        case |= {"name": given, "label": str(label_by_name.pop(given))}
    for name, file in sorted(label_by_name.items()):
        raise InputError("label has no image", where=file, expected=f"{name} in {images}")
    return cases


def _beside(found: Survey, rules: Sequence[Rule], root: Path) -> list[Case]:
    """Cases with their label map in the same folder."""
    grouped = group(found, rules, root)
    labels = [path for path in grouped.unused if _LABEL_WORDS & {*words(strip_suffix(path.name))}]
    for case in grouped.cases:
        check_case(case)
        folder = paths_of(case["image"])[0].parent
        here = [path for path in labels if path.parent == folder]
        named = [path for path in here if words(path.name)[: len(words(case["name"]))] == words(case["name"])]
        chosen = named if len(here) > 1 else here
        if len(chosen) != 1:
            raise InputError(
                "image has no label" if not chosen else f"image has {len(chosen)} labels",
                where=paths_of(case["image"])[0],
                expected=f"one file beside it with a word of {', '.join(sorted(_LABEL_WORDS))} in its name",
            )
        case["label"] = str(chosen[0])
    if not grouped.cases:
        got = found.counted() or "no file"
        raise InputError("holds no labelled data set", where=root, expected=f"channels: {telling(rules)}", got=got)
    return grouped.cases


def _outlined(found: Survey, rules: Sequence[Rule], root: Path) -> list[Case]:
    """Studies with the RTSTRUCT or SEG that was drawn on one of their channels."""
    grouped = group_series(found.slices, rules, root)
    outlines: dict[str, list[Path]] = defaultdict(list)
    for path in found.outlines:
        for uid in referenced_series(path):
            outlines[uid].append(path)
    cases, first = list[Case](), dict[str, str]()
    for case in grouped.cases:
        series = grouped.series[str(case["name"])]
        label = _label_of(series, outlines)
        if label is None:
            logger.info("%s: nothing is outlined on its channels, and it is left out", case["name"])
            continue
        patient = next(iter(series.values())).study[1] or str(case["name"])
        cases.append({**case, "label": str(label), "patient": first.setdefault(patient, str(case["name"]))})
    if not cases:
        raise InputError(
            "holds no study with its channels and an RTSTRUCT or SEG on one of them",
            where=root,
            expected=telling(rules),
        )
    return cases


def _label_of(series: Mapping[int, FoundSeries], outlines: Mapping[str, Sequence[Path]]) -> Path | None:
    for _, one in sorted(series.items()):
        drawn = outlines.get(one.uid, ())
        if len(drawn) > 1:
            cure = "Leave one of them, or list the pairs in a dataset.json"
            raise InputError("a series has two outlines", where=drawn[1], got=drawn[0], cure=cure)
        if drawn:
            return drawn[0]
    return None
