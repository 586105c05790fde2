"""From a path to a list of cases: inputs to segment, or pairs of an image and its label."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pydicom
from pydicom.uid import RTStructureSetStorage, SegmentationStorage

from pipeline.errors import InputError

__all__ = [
    "IMAGE_SUFFIXES",
    "existing_path",
    "find_inputs",
    "find_pairs",
    "is_dicom",
    "is_label_object",
    "label_file",
    "strip_suffix",
]

VOLUME_SUFFIXES = (".nii.gz", ".nii", ".hdr", ".mgz", ".mgh", ".nrrd", ".nhdr", ".mha", ".mhd")
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
IMAGE_SUFFIXES = VOLUME_SUFFIXES + PICTURE_SUFFIXES

PAIRED_FOLDERS = (("imagesTr", "labelsTr"), ("images", "labels"), ("images", "masks"))
_DICOM_PREAMBLE = 128
_LABEL_CLASSES = {RTStructureSetStorage, SegmentationStorage, "1.2.840.10008.5.1.4.1.1.66.7"}  # Label Map Segmentation

Case = dict[str, Any]


def strip_suffix(name: str) -> str:
    """A file's name without its image suffix: ``case_1.nii.gz`` is ``case_1``."""
    for suffix in (*IMAGE_SUFFIXES, ".dcm"):
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name


def is_dicom(path: Path) -> bool:
    """Whether a file says that it is DICOM, by the prefix after its preamble (PS3.10 section 7.1) or its suffix."""
    if path.suffix.lower() == ".dcm":
        return True
    if strip_suffix(path.name) != path.name or path.suffix.lower() in {".json", ".txt", ".csv", ".md"}:
        return False
    with path.open("rb") as file:
        file.seek(_DICOM_PREAMBLE)
        return file.read(4) == b"DICM"


def is_label_object(path: Path) -> bool:
    """Whether a file is a DICOM RTSTRUCT or SEG (PS3.4 B.5), which outlines what another file shows."""
    if not path.is_file() or not is_dicom(path):
        return False
    try:
        dataset = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["SOPClassUID"], force=True)
        return str(dataset.get("SOPClassUID")) in _LABEL_CLASSES
    except Exception:  # noqa: BLE001 - the reader says later, by name, what is wrong with it
        return False


def label_file(path: Path) -> Path:
    """The RTSTRUCT or SEG in a folder; the path itself where it is no such folder.

    Raises:
        InputError: the folder holds several.
    """
    if not path.is_dir():
        return path
    found = [file for file in sorted(path.iterdir()) if not file.name.startswith(".") and is_label_object(file)]
    if len(found) > 1:
        raise InputError(
            f"holds {len(found)} label objects", where=path, expected="one RTSTRUCT or SEG", cure="Leave one of them"
        )
    return found[0] if found else path


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
        if not _is_image(root) and not is_dicom(root):
            raise InputError(
                "is not an image", where=root, expected=f"DICOM or one of {' '.join(IMAGE_SUFFIXES)}", cure=_CURE
            )
        return [_input(root, root.parent)]
    if series is not None:
        return [_input(root, root.parent)]
    listing = root / "dataset.json"
    if listing.is_file():
        paths = [root / entry["image"] for entry in _training_entries(listing)] or list((root / "imagesTr").iterdir())
        return _named(paths, root)
    found = list(_images_in(root)) or [path for folder in _folders_below(root) for path in _images_in(folder)]
    if not found:
        raise InputError("holds no image", where=root, expected="DICOM, NIfTI, NRRD, MHA or a picture", cure=_CURE)
    return _named(found, root)


def find_pairs(dataset_dir: str | Path | None) -> list[Case]:
    """List the labelled cases of a data set.

    Args:
        dataset_dir: a folder with a Medical Segmentation Decathlon ``dataset.json``, or with ``imagesTr`` and
            ``labelsTr`` (nnU-Net's ``_0000`` is dropped from image names), ``images`` and ``labels``, or ``images``
            and ``masks``. Files belong together by name; an image may be a folder with one DICOM series, and a label
            a DICOM RTSTRUCT or SEG, or a folder with one.

    Returns:
        One ``{"image": path, "label": path, "name": name}`` per case, sorted by name. Where a ``dataset.json`` lists
        files of one name in several folders, the folders are a part of the cases' names.

    Raises:
        InputError: no data set here, a listed file is missing, an image or label has no partner, or two cases have one
            name.
    """
    root = existing_path(dataset_dir)
    if root.is_file():
        raise InputError("is a file", where=root, expected="the folder of a labelled data set")
    listing = root / "dataset.json"
    entries = _training_entries(listing) if listing.is_file() else []
    if entries:
        return _listed_pairs(root, entries, listing)
    for images, labels in PAIRED_FOLDERS:
        if (root / images).is_dir() and (root / labels).is_dir():
            return _paired_by_name(root / images, root / labels)
    layouts = ", ".join("/ and ".join(pair) + "/" for pair in PAIRED_FOLDERS)
    raise InputError("holds no labelled data set", where=root, expected=f"dataset.json, or {layouts}")


_CURE = "Give a file, a folder of files, a DICOM series folder or a folder of those"


def existing_path(dataset_dir: str | Path | None) -> Path:
    """The path that the user gave.

    Raises:
        InputError: none is given, or nothing is there.
    """
    if dataset_dir is None or str(dataset_dir) == "":
        raise InputError("dataset_dir is not given", cure="Pass --dataset_dir with a file or folder")
    root = Path(dataset_dir).expanduser()
    if not root.exists():
        raise InputError("no such file or folder", where=root, cure="Check the path given as dataset_dir")
    return root


def _is_image(path: Path) -> bool:
    return path.is_file() and not path.name.startswith(".") and path.name.lower().endswith(IMAGE_SUFFIXES)


def _images_in(folder: Path) -> Iterable[Path]:
    """The images directly in a folder; the folder itself when it holds DICOM images."""
    files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    images = [path for path in files if _is_image(path)]
    return images if images else [folder] if any(_has_dicom_pixels(path) for path in files) else []


def _has_dicom_pixels(path: Path) -> bool:
    """Whether a file may be a DICOM image: RTSTRUCT, SR and the like have no Rows; an unreadable file is no excuse."""
    if not is_dicom(path):
        return False
    try:
        return "Rows" in pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["Rows"], force=True)
    except Exception:  # noqa: BLE001 - the reader says later, by name, what is wrong with it
        return True


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
    return sorted(cases.values(), key=_name)


def _name(case: Case) -> str:
    return str(case["name"])


def _training_entries(listing: Path) -> list[dict[str, str]]:
    try:
        content = json.loads(listing.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError("is not valid JSON", where=listing, got=error) from None
    entries = content.get("training", []) if isinstance(content, dict) else []
    if not all(isinstance(entry, dict) and {"image", "label"} <= entry.keys() for entry in entries):
        raise InputError("has an entry without image and label", where=listing, expected='{"image": ..., "label": ...}')
    return list(entries)


def _listed_pairs(root: Path, entries: list[dict[str, str]], listing: Path) -> list[Case]:
    for entry in entries:
        for key in ("image", "label"):
            if not (root / entry[key]).exists():
                cure = f"Restore it or edit {listing}"
                raise InputError(f"{key} is listed but missing", where=root / entry[key], cure=cure)
    images = [Path(entry["image"]) for entry in entries]
    names = [strip_suffix(image.name) for image in images]
    if len(set(names)) < len(names):
        names = ["_".join((*_folders(image), name)) for image, name in zip(images, names, strict=True)]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise InputError("two cases have one name", where=listing, got=twice[0], cure="Rename or remove one of them")
    cases = [
        {"image": str(root / entry["image"]), "label": str(label_file(root / entry["label"])), "name": name}
        for entry, name in zip(entries, names, strict=True)
    ]
    return sorted(cases, key=_name)


def _folders(path: Path) -> tuple[str, ...]:
    return tuple(part for part in path.parent.parts if part not in (path.anchor, ".."))


def _paired_by_name(images: Path, labels: Path) -> list[Case]:
    image_by_name = {name.removesuffix("_0000"): path for name, path in _by_name(images).items()}
    label_by_name = {name: label_file(path) for name, path in _by_name(labels).items()}
    if not image_by_name:
        raise InputError("holds no image", where=images)
    for name in sorted(image_by_name.keys() - label_by_name.keys()):
        raise InputError("image has no label", where=image_by_name[name], expected=f"{name} in {labels}")
    for name in sorted(label_by_name.keys() - image_by_name.keys()):
        raise InputError("label has no image", where=label_by_name[name], expected=f"{name} in {images}")
    return [
        {"image": str(path), "label": str(label_by_name[name]), "name": name}
        for name, path in sorted(image_by_name.items())
    ]


def _by_name(folder: Path) -> dict[str, Path]:
    """Image and DICOM files, and folders of a DICOM series or of an RTSTRUCT, by their names without suffix."""
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            usable = bool(_images_in(path)) or label_file(path) != path
        else:
            usable = _is_image(path) or path.suffix.lower() == ".dcm"
        name = path.name if path.is_dir() else strip_suffix(path.name)
        if usable and found.setdefault(name, path) != path:
            raise InputError(
                "two files have one name", where=path, got=found[name], cure="Rename or remove one of them"
            )
    return found
