"""Which files of two folders belong together by their names."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping

__all__ = ["match_names"]

_FIRST_CHANNEL = "_0000"  # nnU-Net's


def match_names(images: Iterable[str], labels: Iterable[str]) -> Mapping[str, str]:
    """Pair names without suffixes: the same name first, and then nnU-Net's, whose images have ``_0000`` at their ends.

    Names that differ in nothing but how Unicode composes their letters are the same (macOS decomposes them).

    Args:
        images: names of images.
        labels: names of label maps.

    Returns:
        The label map of each image that has one; no label map is that of two.
    """
    by_form = {unicodedata.normalize("NFC", name): name for name in labels}
    pairs: dict[str, str] = {}
    for end in ("", _FIRST_CHANNEL):
        for name in images:
            form = unicodedata.normalize("NFC", name)
            if name not in pairs and form.endswith(end) and form.removesuffix(end) in by_form:
                pairs[name] = by_form.pop(form.removesuffix(end))
    return pairs
