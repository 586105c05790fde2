"""From a path to a list of cases to segment or classify."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.data.channel_cases import group, usable_cases
from pipeline.data.channel_listing import listed_cases, one_image
from pipeline.data.channels import Rule, check_case, telling
from pipeline.data.listings import training_entries
from pipeline.errors import InputError
from pipeline.sources.given import exists, given_path
from pipeline.sources.kinds import (
    describe,
    dicom_shows,
    is_dicom,
    is_image,
    is_label_object,
    kind_of,
    strip_suffix,
    visible,
)
from pipeline.sources.layout import layout_of
from pipeline.sources.paths import channels_of, paths_of
from pipeline.sources.survey import Survey, survey

__all__ = ["Case", "case_name", "existing_path", "find_inputs"]

logger = logging.getLogger(__name__)

Case = dict[str, Any]

_VOLUME = 3
_CURE = "Give a file, a folder of files, a DICOM series folder or a folder of those"


def find_inputs(
    dataset_dir: str | Path | None,
    series: str | None = None,
    *,
    dimensions: int | None = None,
    output_dir: str | Path | None = None,
    channels: Sequence[Rule] | None = None,
) -> list[Case]:
    """List the cases that a path holds.

    Each file of a folder, whatever its depth, is a case, or one of the files of a case, or counted by its kind in one
    line of the log. A DICOM series is one case, wherever its files lie; series that share a folder stay together, for
    only the user can tell which is meant. Where a folder holds both DICOM and other volumes or pictures, which of them
    are the cases is not guessed, but where pictures lie beside volumes and the network takes volumes.

    Args:
        dataset_dir: an image file, a folder of images, a DICOM series folder, a folder of such folders, or a folder
            with a Medical Segmentation Decathlon ``dataset.json`` (of which the images are taken) or with
            ``imagesTr`` and ``labelsTr``, ``images`` and ``labels`` or ``masks`` (likewise).
        series: the DICOM series to use; the whole path is then one DICOM source.
        dimensions: the number of spatial axes that the network takes.
        output_dir: a folder for results; where it lies in ``dataset_dir``, what it holds is no input.
        channels: what tells each image of a case of several, in order, by the fields of
            :class:`pipeline.planning.channels.Channel` that are given. A case is then the files that agree in the rest
            of their names, the channels in one folder, one file that holds all, or the series of one study.

    Returns:
        One ``{"image": path, "name": unique name}`` per case, sorted by name. The image is a list of paths where one
        folder does not hold it: those of a series in several folders, or its files; and one path per channel where
        there are ``channels``. A case of several that lacks one has a ``problem``, the reason in one line.

    Raises:
        InputError: the path is not given, does not exist or holds no image, or images of several kinds.
    """
    root = existing_path(dataset_dir)
    if channels is not None and series is not None:
        cure = "Leave --series out: the plan's channels tell which series they are"
        raise InputError("names one image, but the network takes several", where=f"series {series}", cure=cure)
    if not root.is_dir():
        return [_only(root) if channels is None else _with_channels_beside(root, channels, dimensions)]
    if series is not None:
        return _named([(root,)], root.parent)
    layout = layout_of(root)
    if layout.listing is not None:
        return _listed(root, layout.listing, dimensions, channels)
    if layout.images is not None and layout.labels is not None:
        names = layout.images.name, layout.labels.name
        logger.info("%s: the images are those in %s/; what lies in %s/ is no case", root, *names)
        return _surveyed(layout.images, dimensions, None, channels)
    return _surveyed(root, dimensions, None if output_dir is None else Path(output_dir), channels)


def existing_path(dataset_dir: str | Path | None) -> Path:
    """The path that the user gave, absolute: to load its library ITK changes the working directory of all threads.

    Raises:
        InputError: none is given, or nothing is there.
    """
    if dataset_dir is None or str(dataset_dir) == "":
        raise InputError("dataset_dir is not given", cure="Pass --dataset_dir with a file or folder")
    root = given_path(dataset_dir)
    if not exists(root):
        raise InputError("no such file or folder", where=root, cure="Check the path given as dataset_dir")
    return root.absolute()


def _only(file: Path) -> Case:
    if not file.is_file():
        raise InputError("is no file and no folder", where=file, got=describe(file), cure=_CURE)
    if kind_of(file) is None:
        raise InputError("is not an image", where=file, expected="DICOM, NIfTI, NRRD, MHA or a picture", cure=_CURE)
    if is_dicom(file) and dicom_shows(file) is None and not is_label_object(file):
        raise InputError(f"is a DICOM object of the kind {describe(file)}, not an image", where=file, cure=_CURE)
    return _named([(file,)], file.parent)[0]


def _with_channels_beside(file: Path, channels: Sequence[Rule], dimensions: int | None) -> Case:
    """The case that a file is a channel of, whose others lie in its folder; or that it holds all channels of."""
    _only(file)
    if is_dicom(file):
        cure = "Give the folder that holds all series of the study"
        raise InputError(f"is one file, but the network takes {len(channels)} series", where=file, cure=cure)
    grouped = group(survey(file.parent), channels, file.parent, dimensions=dimensions)
    for case in grouped.cases:
        if file in paths_of(case["image"]):
            check_case(case)
            return case
    what = f"is none of the {len(channels)} channels, nor all of them"
    raise InputError(what, where=file, expected=telling(channels))


def _listed(root: Path, listing: Path, dimensions: int | None, channels: Sequence[Rule] | None) -> list[Case]:
    """The images of a listing; of one that lists none, those of ``imagesTr``."""
    entries = training_entries(listing, several=channels is not None)
    if not entries and channels is not None and (root / "imagesTr").is_dir():
        return _surveyed(root / "imagesTr", dimensions, None, channels)
    if not entries:
        return _named([(path,) for path in _images_for_training(root, listing)], root)
    if channels is not None:
        return sorted(listed_cases(root, entries, listing, channels), key=case_name)
    return _named([paths_of(one_image(root, entry["image"], listing)) for entry in entries], root)


def _images_for_training(root: Path, listing: Path) -> list[Path]:
    folder = root / "imagesTr"
    if not folder.is_dir():
        cure = "Give the folder of the images, or move it away if its own folder is that"
        raise InputError("lists no case, and there is no imagesTr/ beside it", where=listing, cure=cure)
    return [path for path in visible(folder.iterdir()) if path.is_dir() or is_image(path)]


def _surveyed(
    root: Path, dimensions: int | None, output_dir: Path | None, channels: Sequence[Rule] | None
) -> list[Case]:
    found = survey(root, leave_out=output_dir)
    if channels is not None:
        return usable_cases(found, channels, root, dimensions=dimensions)
    images = _chosen(found, root, dimensions)
    if not images:
        got = found.counted() or "no file"
        raise InputError(
            "holds no image", where=root, expected="DICOM, NIfTI, NRRD, MHA or a picture", got=got, cure=_CURE
        )
    used = {path for paths in images for path in paths}
    used |= {file for one in found.slices for file in one.files}
    used |= {file for file in found.dicom_pictures if file.parent in used}
    passed_over = found.counted(without=used)
    if passed_over:
        logger.info("%s: no cases of their own, passed over: %s", root, passed_over)
    return [_of_one_image(case) for case in _named(images, root)]


def _of_one_image(case: Case) -> Case:
    """A case of several series has a problem: a list of them would be read as channels."""
    if not isinstance(case["image"], list) or len(channels_of(case["image"])) < 2:  # noqa: PLR2004 - series
        return case
    from pipeline.dicom import choose, scan  # with highdicom, which takes long to import, and few inputs need it

    try:
        choose(scan(case["image"]))
    except InputError as error:
        return {**case, "problem": str(error)}
    return case


def _chosen(found: Survey, root: Path, dimensions: int | None) -> list[tuple[Path, ...]]:
    """The images of the one kind that is meant."""
    series: list[tuple[Path, ...]] = [one.paths for one in found.slices]
    volumes, pictures = _each(found.volumes), _each(found.pictures)
    in_folder = Counter(file.parent for file in found.dicom_pictures)
    dicom_pictures = _each([file if in_folder[file.parent] > 1 else file.parent for file in found.dicom_pictures])
    if dimensions == _VOLUME and (series or volumes):
        pictures, dicom_pictures = [], []
    dicom = series + dicom_pictures
    if dicom and (volumes or pictures):
        one, other = dicom[0][0], (volumes or pictures)[0][0]
        kinds = f"{len(dicom)} of DICOM, {len(volumes) + len(pictures)} of other formats"
        raise InputError(
            "holds images of several kinds, and which of them are the cases cannot be told",
            where=root,
            got=f"{kinds}: {one.relative_to(root)} and {other.relative_to(root)}",
            cure="Name the DICOM with --series, give the path of the files that are meant, or move the others away",
        )
    return dicom or volumes + pictures


def _each(files: Sequence[Path]) -> list[tuple[Path, ...]]:
    return [(file,) for file in files]


def _named(images: Sequence[Sequence[Path]], root: Path) -> list[Case]:
    """Name cases by their path below ``root``, so that equal file names in two folders stay apart."""
    cases: dict[str, Case] = {}
    shared = Counter(_together(paths) for paths in images)
    for paths in images:
        path = _together(paths) if shared[_together(paths)] == 1 else paths[0]
        below = path.relative_to(root) if path != root else Path(path.resolve().name)
        name = "_".join((*below.parts[:-1], below.name if path.is_dir() else strip_suffix(below.name)))
        if name in cases:
            raise InputError(
                "two inputs have one name", where=path, got=cases[name]["image"], cure="Rename one of them"
            )
        image = str(paths[0]) if len(paths) == 1 else [str(one) for one in paths]
        cases[name] = {"image": image, "name": name}
    return sorted(cases.values(), key=case_name)


def _together(paths: Sequence[Path]) -> Path:
    """The path, or the folder that holds all of several."""
    if len(paths) == 1:
        return paths[0]
    shared = [set(one) for one in zip(*(path.parts for path in paths), strict=False)]
    common = next((index for index, parts in enumerate(shared) if len(parts) > 1), len(shared))
    return Path(*paths[0].parts[:common])


def case_name(case: Case) -> str:
    """The name of a case, to sort by."""
    return str(case["name"])
