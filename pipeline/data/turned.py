"""Pictures that their header turns, under masks that are drawn upright."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from PIL import ExifTags, Image

from pipeline.data.inputs import Case
from pipeline.errors import InputError
from pipeline.sources.kinds import PICTURE_KINDS, kind_of
from pipeline.sources.paths import paths_of

__all__ = ["check_turned"]

_UPRIGHT = 1


def check_turned(cases: Sequence[Case]) -> None:
    """Refuse a set in which an image and its mask state different orientations (EXIF, TIFF tag 274).

    Pixels are read as they are stored. A program that shows an image applies its orientation, so that a mask drawn on
    what was shown lies elsewhere.

    Raises:
        InputError: names the first case and counts them.
    """
    turned = [
        (case, found)
        for case in cases
        if isinstance(case.get("label"), str)
        and (found := [_orientation(path) for path in (paths_of(case["image"])[0], Path(case["label"]))])
        and found[0] != found[1]
    ]
    if turned:
        case, (image, label) = turned[0]
        raise InputError(
            f"{len(turned)} of {len(cases)} images are turned otherwise than their masks, by their orientation tags",
            where=paths_of(case["image"])[0],
            expected=f"{label}, as its mask",
            got=image,
            cure="Save image and mask with the turn applied and without the tag",
        )


def _orientation(path: Path) -> int:
    if kind_of(path) not in PICTURE_KINDS:
        return _UPRIGHT
    with suppress(Exception), Image.open(path) as picture:  # whoever reads it says what is wrong with it
        return int(picture.getexif().get(ExifTags.Base.Orientation, _UPRIGHT))
    return _UPRIGHT
