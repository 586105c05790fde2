"""Pictures that their header turns, under masks that are drawn upright."""

from __future__ import annotations

import os
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
_TOLD = {"exif", "xmp", "XML:com.adobe.xmp"}
_PNG_SIGNATURE, _PNG_CHECK = 8, 4  # bytes


def check_turned(cases: Sequence[Case]) -> None:
    """Refuse a set in which an image and its mask state different orientations (EXIF, TIFF tag 274).

    Pixels are read as they are stored. A program that shows an image applies its orientation, so that a mask drawn on
    what was shown lies elsewhere.

    Raises:
        InputError: names the first case and counts them.
    """
    turned = [found for found in map(_turned, cases) if found is not None]
    if turned:
        path, image, label = turned[0]
        raise InputError(
            f"{len(turned)} of {len(cases)} images are turned otherwise than their masks, by their orientation tags",
            where=path,
            expected=f"{label}, as its mask",
            got=image,
            cure="Save image and mask with the turn applied and without the tag",
        )


def _turned(case: Case) -> tuple[Path, int, int] | None:
    """The first channel that is turned otherwise than the mask, its orientation and the mask's; None without one."""
    if not isinstance(case.get("label"), str):
        return None
    label = _orientation(Path(case["label"]))
    found = ((path, _orientation(path)) for path in paths_of(case["image"]))
    return next(((path, image, label) for path, image in found if image != label), None)


def _orientation(path: Path) -> int:
    if kind_of(path) not in PICTURE_KINDS:
        return _UPRIGHT
    with suppress(Exception), Image.open(path) as picture:  # whoever reads it says what is wrong with it
        if picture.format == "PNG" and not picture.info.keys() & _TOLD and b"eXIf" not in _chunks(path):
            return _UPRIGHT  # Pillow would decode all pixels to see whether a tag comes after them
        return int(picture.getexif().get(ExifTags.Base.Orientation, _UPRIGHT))
    return _UPRIGHT


def _chunks(path: Path) -> set[bytes]:
    """The kinds of chunks of a PNG (W3C Portable Network Graphics, section 5.3)."""
    found = set[bytes]()
    with path.open("rb") as file:
        file.seek(_PNG_SIGNATURE)
        while len(head := file.read(8)) == 8:  # noqa: PLR2004 - length and kind
            found.add(head[4:])
            file.seek(int.from_bytes(head[:4], "big") + _PNG_CHECK, os.SEEK_CUR)
    return found
