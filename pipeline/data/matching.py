"""Which files of two folders belong together by their names."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping

__all__ = ["match_marked_names", "match_names"]

_FIRST_CHANNEL = "_0000"  # nnU-Net's
_MARKS = ("mask", "masks", "seg", "segmentation", "label", "labels", "gt", "groundtruth", "annotation", "roi")
_SEPARATORS = ("_", "-", ".", " ")


def match_names(images: Iterable[str], labels: Iterable[str]) -> dict[str, str]:
    """Pair names without suffixes: the same name first, and then nnU-Net's, whose images have ``_0000`` at their ends.

    Names that differ in nothing but how Unicode composes their letters are the same (macOS decomposes them), and what
    is left may differ in the case of letters where that leaves no choice.

    Args:
        images: names of images.
        labels: names of label maps.

    Returns:
        The label map of each image that has one; no label map is that of two.
    """
    images, labels = list(images), list(labels)
    pairs: dict[str, str] = {}
    for form in (_composed, _folded):
        for end in ("", _FIRST_CHANNEL):
            left = [name for name in images if name not in pairs and form(name).endswith(end)]
            taken = set(pairs.values())
            by_form = _alone([name for name in labels if name not in taken], form)
            wanted = _alone(left, lambda name, form=form, end=end: form(name).removesuffix(end))  # type: ignore[misc]
            pairs |= {name: by_form[key] for key, name in wanted.items() if key in by_form}
    return pairs


def match_marked_names(images: Collection[str], labels: Collection[str]) -> dict[str, str]:
    """Pair the names that :func:`match_names` leaves, where one mark in the labels' names is all that differs.

    Such as ``_mask`` at the end of each, or ``label-`` at the beginning.

    Returns:
        The label map of each image; nothing where not all of both can be paired by one mark.
    """
    ends = [(separator + mark, "") for separator in _SEPARATORS for mark in _MARKS]
    for after, before in [*ends, *((before, after[1:] + after[0]) for after, before in ends)]:
        of_bare = _without_mark(labels, before, after)
        pairs = {image: of_bare[one] for image, one in match_names(images, of_bare).items()}
        if pairs and len(pairs) == len(images) == len(labels):
            return pairs
    return {}


def _without_mark(labels: Collection[str], before: str, after: str) -> dict[str, str]:
    """The labels by their names without a mark; nothing where one of them has it not."""
    folded = [_folded(name) for name in labels]
    if not all(name.startswith(before) and name.endswith(after) for name in folded):
        return {}
    return {name[len(before) : len(name) - len(after)]: name for name in labels}


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _folded(name: str) -> str:
    return _composed(name).casefold()


def _alone(names: Iterable[str], form: Callable[[str], str]) -> Mapping[str, str]:
    """The names by their form, without those that share one."""
    forms = {name: form(name) for name in names}
    count = Counter(forms.values())
    return {one: name for name, one in forms.items() if count[one] == 1}
