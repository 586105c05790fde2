"""The ``dataset.json`` of the Medical Segmentation Decathlon, and MONAI's datalists, which have its form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.documents import read_mapping
from pipeline.errors import InputError

__all__ = ["folders_of", "is_path", "training_entries"]

_EXPECTED = '{"image": "a path, or a list of them", "label": "a path"}'


def training_entries(listing: Path, *, several: bool = False) -> list[dict[str, Any]]:
    """The labelled cases that a listing names; none where it has no ``training``, as nnU-Net's.

    Args:
        listing: of the folder that its paths start from.
        several: whether an image may be a list of paths, see :func:`pipeline.data.channel_listing.listed_cases`.

    Raises:
        InputError: it is no JSON, or a case lacks its image or label, or has them in another form.
    """
    entries = read_mapping(listing).get("training") or []
    if not isinstance(entries, list):
        got = type(entries).__name__
        raise InputError("training is no list", where=listing, expected=f"[{_EXPECTED}, ...]", got=got)
    for number, entry in enumerate(entries, start=1):
        where = f"{listing}, training entry {number}"
        if not isinstance(entry, dict) or not {"image", "label"} <= entry.keys():
            raise InputError("has an entry without image and label", where=where, expected=_EXPECTED)
        image, label = entry["image"], entry["label"]
        if not is_path(label):
            raise InputError("label is no path", where=where, expected=_EXPECTED, got=_shown(label))
        if several:
            continue  # who puts the channels together judges them
        if isinstance(image, list) and len(image) > 1 and all(map(is_path, image)):
            continue  # the folders of one series, or several images, see pipeline.data.channel_listing.one_image
        entry["image"] = image[0] if isinstance(image, list) and len(image) == 1 else image
        if not is_path(entry["image"]):
            raise InputError("image is no path", where=where, expected=_EXPECTED, got=_shown(image))
    return entries


def folders_of(path: Path) -> tuple[str, ...]:
    """The names of the folders in a listed path, which tell files of one name apart."""
    return tuple(part for part in path.parent.parts if part not in (path.anchor, ".."))


def is_path(value: Any) -> bool:
    """Whether a value may be a path."""
    return isinstance(value, str) and bool(value.strip()) and "\0" not in value


def _shown(value: Any) -> str:
    return repr(value)[:60]
