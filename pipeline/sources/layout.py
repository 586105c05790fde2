"""How a folder is laid out: with a listing, with images and labels apart, as nnU-Net lays out, or in no known way."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import InputError

__all__ = ["PAIRED_FOLDERS", "Layout", "layout_of"]

PAIRED_FOLDERS = (("imagesTr", "labelsTr"), ("images", "labels"), ("images", "masks"))
"""Names of folders whose files belong together by name; the first pair is that of MSD and of nnU-Net's raw folders."""

_LISTING = "dataset.json"
_PLANS = ("plans.json", "nnUNetPlans.json")


@dataclass(frozen=True)
class Layout:
    """What a folder tells of its images and labels.

    Attributes:
        listing: a ``dataset.json``, of MSD, of nnU-Net or a datalist of MONAI; None without one.
        images: the folder of images that has labels beside it; None without one.
        labels: the folder of those labels.
    """

    listing: Path | None = None
    images: Path | None = None
    labels: Path | None = None


def layout_of(root: Path) -> Layout:
    """Look at the names in a folder.

    Raises:
        InputError: it holds an nnU-Net model, and no images.
    """
    if any((root / name).is_file() for name in _PLANS) and any(one.is_dir() for one in root.glob("fold_*")):
        raise InputError(
            "is a result folder of nnU-Net: a trained model", where=root, expected="images", cure="Give their folder"
        )
    listing = root / _LISTING
    for images, labels in PAIRED_FOLDERS:
        if (root / images).is_dir() and (root / labels).is_dir():
            return Layout(listing if listing.is_file() else None, root / images, root / labels)
    return Layout(listing if listing.is_file() else None)
