"""From a path to a list of cases to segment or classify."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pipeline.errors import InputError
from pipeline.sources.kinds import IMAGE_SUFFIXES, images_in, is_dicom, is_image, strip_suffix

__all__ = ["Case", "case_name", "existing_path", "find_inputs", "training_entries"]


Case = dict[str, Any]


def find_inputs(dataset_dir: str | Path | None, series: str | None = None) -> list[Case]:
    """List the cases that a path holds.

    Args:
        dataset_dir: an image file, a folder of images, a DICOM series folder, a folder of such folders, or a folder
            with a Medical Segmentation Decathlon ``dataset.json`` (of which the images are taken).
        series: the DICOM series to use; the whole path is then one DICOM source.

    Returns:
        One ``{"image": path, "name": unique name}`` per case, sorted by name.

    Raises:
        InputError: the path is not given, does not exist or holds no image.
    """
    root = existing_path(dataset_dir)
    if root.is_file():
        if not is_image(root) and not is_dicom(root):
            raise InputError(
                "is not an image", where=root, expected=f"DICOM or one of {' '.join(IMAGE_SUFFIXES)}", cure=_CURE
            )
        return [_input(root, root.parent)]
    if series is not None:
        return [_input(root, root.parent)]
    listing = root / "dataset.json"
    if listing.is_file():
        paths = [root / entry["image"] for entry in training_entries(listing)] or list((root / "imagesTr").iterdir())
        return _named(paths, root)
    found = list(images_in(root)) or [path for folder in _folders_below(root) for path in images_in(folder)]
    if not found:
        raise InputError("holds no image", where=root, expected="DICOM, NIfTI, NRRD, MHA or a picture", cure=_CURE)
    return _named(found, root)


_CURE = "Give a file, a folder of files, a DICOM series folder or a folder of those"


def existing_path(dataset_dir: str | Path | None) -> Path:
    """The path that the user gave, absolute: to load its library ITK changes the working directory of all threads.

    Raises:
        InputError: none is given, or nothing is there.
    """
    if dataset_dir is None or str(dataset_dir) == "":
        raise InputError("dataset_dir is not given", cure="Pass --dataset_dir with a file or folder")
    root = Path(dataset_dir).expanduser()
    if not root.exists():
        raise InputError("no such file or folder", where=root, cure="Check the path given as dataset_dir")
    return root.absolute()


def _folders_below(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.is_dir() and not path.name.startswith("."))


def _input(path: Path, root: Path) -> Case:
    return _named([path], root)[0]


def _named(paths: Iterable[Path], root: Path) -> list[Case]:
    """Name cases by their path below ``root``, so that equal file names in two folders stay apart."""
    cases: dict[str, Case] = {}
    for path in paths:
        below = path.relative_to(root) if path != root else Path(path.resolve().name)
        name = "_".join((*below.parts[:-1], strip_suffix(below.name) if not path.is_dir() else below.name))
        if name in cases:
            raise InputError(
                "two inputs have one name", where=path, got=cases[name]["image"], cure="Rename one of them"
            )
        cases[name] = {"image": str(path), "name": name}
    return sorted(cases.values(), key=case_name)


def case_name(case: Case) -> str:
    """The name of a case, to sort by."""
    return str(case["name"])


def training_entries(listing: Path) -> list[dict[str, str]]:
    """The labelled cases of a Medical Segmentation Decathlon ``dataset.json``.

    Raises:
        InputError: it is no JSON, or a case lacks its image or label.
    """
    try:
        content = json.loads(listing.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError("is not valid JSON", where=listing, got=error) from None
    entries = content.get("training", []) if isinstance(content, dict) else []
    if not all(isinstance(entry, dict) and {"image", "label"} <= entry.keys() for entry in entries):
        raise InputError("has an entry without image and label", where=listing, expected='{"image": ..., "label": ...}')
    return list(entries)
