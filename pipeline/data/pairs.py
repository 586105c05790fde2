"""From a folder to the labelled cases in it: pairs of an image and its label map."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from pipeline.data.channel_listing import one_image
from pipeline.data.channel_pairs import find_channel_pairs
from pipeline.data.channels import Rule
from pipeline.data.inputs import Case, case_name, existing_path
from pipeline.data.listings import folders_of, training_entries
from pipeline.data.matching import match_marked_names, match_names
from pipeline.data.outlines import find_outlined
from pipeline.errors import InputError
from pipeline.sources.given import exists
from pipeline.sources.kinds import holds_image, is_dicom, is_image, label_file, strip_suffix
from pipeline.sources.layout import PAIRED_FOLDERS, layout_of
from pipeline.sources.paths import paths_of

__all__ = ["find_pairs"]

logger = logging.getLogger(__name__)


def find_pairs(
    dataset_dir: str | Path | None, *, modality: str | None = None, channels: Sequence[Rule] | None = None
) -> list[Case]:
    """List the labelled cases of a data set.

    Args:
        dataset_dir: a folder with a Medical Segmentation Decathlon ``dataset.json``, or with ``imagesTr`` and
            ``labelsTr``, ``images`` and ``labels``, or ``images`` and ``masks``. Files belong together by name, see
            :func:`pipeline.data.matching.match_names`; an image may be a folder with one DICOM series, and a label a
            DICOM RTSTRUCT or SEG, or a folder with one. A folder with none of these may hold DICOM series and their
            RTSTRUCT or SEG files at any depth, which belong together by the series that the latter refer to, see
            :func:`pipeline.data.outlines.find_outlined`.
        modality: DICOM's code of the modality to take (CT, MR, PT, ...) where it is the outlines that are paired.
        channels: what tells each image of a case of several, see
            :func:`pipeline.data.channel_pairs.find_channel_pairs`.

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
    if channels is not None:
        return find_channel_pairs(root, channels)
    layout = layout_of(root)
    entries = [] if layout.listing is None else training_entries(layout.listing)
    if layout.listing is not None and entries:
        return _listed_pairs(root, entries, layout.listing)
    if layout.images is not None and layout.labels is not None:
        return _paired_by_name(layout.images, layout.labels)
    outlined = find_outlined(root, modality=modality)
    if outlined:
        return outlined
    layouts = ", ".join("/ and ".join(pair) + "/" for pair in PAIRED_FOLDERS)
    raise InputError(
        "holds no labelled data set",
        where=root,
        expected=f"dataset.json, or {layouts}, or DICOM series with RTSTRUCT or SEG",
    )


def _listed_pairs(root: Path, entries: list[dict[str, str]], listing: Path) -> list[Case]:
    listed = [one_image(root, entry["image"], listing) for entry in entries]
    for image, entry in zip(listed, entries, strict=True):
        for key, path in [*(("image", one) for one in paths_of(image)), ("label", root / entry["label"])]:
            if not exists(path):
                cure = f"Restore it or edit {listing}"
                raise InputError(f"{key} is listed but missing", where=path, cure=cure)
    images = [paths_of(entry["image"])[0] for entry in entries]
    names = [strip_suffix(image.name) for image in images]
    if len(set(names)) < len(names):
        names = ["_".join((*folders_of(image), name)) for image, name in zip(images, names, strict=True)]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise InputError("two cases have one name", where=listing, got=twice[0], cure="Rename or remove one of them")
    cases = [
        {"image": image, "label": str(label_file(root / entry["label"])), "name": name}
        for image, entry, name in zip(listed, entries, names, strict=True)
    ]
    return sorted(cases, key=case_name)


def _paired_by_name(images: Path, labels: Path) -> list[Case]:
    image_by_name = _by_name(images)
    label_by_name = {name: label_file(path) for name, path in _by_name(labels).items()}
    if not image_by_name:
        raise InputError("holds no image", where=images)
    pairs = match_names(image_by_name, label_by_name)
    names = dict(pairs)
    marked = match_marked_names(image_by_name.keys() - pairs.keys(), label_by_name.keys() - set(pairs.values()))
    if marked:
        image, label = min(marked.items())
        logger.info("%s: %d labels are paired as %s is with %s", labels.parent, len(marked), label, image)
    pairs, names = pairs | marked, names | {image: image for image in marked}
    for name in sorted(image_by_name.keys() - pairs.keys()):
        expected = f"{name} in {labels}" + (f", or {name[:-5]}" if name.endswith("_0000") else "")
        raise InputError("image has no label", where=image_by_name[name], expected=expected, cure=_cure(name))
    for name in sorted(label_by_name.keys() - set(pairs.values())):
        raise InputError("label has no image", where=label_by_name[name], expected=f"{name} in {images}")
    return sorted(
        ({"image": str(image_by_name[image]), "label": str(label_by_name[label]), "name": names[image]}
         for image, label in pairs.items()), key=case_name,
    )  # fmt: skip


def _cure(name: str) -> str | None:
    """What to do about an image that is a further channel by its name."""
    further = re.search(r"_\d{4}$", name)
    return (
        "Where it is a channel of another's case, name the channels in data.channels of plan.yaml" if further else None
    )


def _by_name(folder: Path) -> dict[str, Path]:
    """Image and DICOM files, and folders of a DICOM series or of an RTSTRUCT, by their names without suffix."""
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        in_folder = path.is_dir() and (holds_image(path) or label_file(path) != path)
        usable = in_folder or is_image(path) or is_dicom(path)
        name = path.name if path.is_dir() else strip_suffix(path.name)
        if usable and found.setdefault(name, path) != path:
            raise InputError(
                "two files have one name", where=path, got=found[name], cure="Rename or remove one of them"
            )
    return found
