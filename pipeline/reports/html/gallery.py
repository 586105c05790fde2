"""Which cases of an evaluation are looked at, and their label maps and images."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.errors import InputError, one_line
from pipeline.evaluation.case_maps import CaseMaps, on_one_grid
from pipeline.evaluation.folders import FolderPairs
from pipeline.evaluation.measure_table import MeasureTable
from pipeline.evaluation.pairing import LabelPairing
from pipeline.reports.html.volumes import ViewedCase
from pipeline.sources import CaseReader
from pipeline.sources.given import given_path
from pipeline.sources.kinds import is_picture, strip_suffix
from pipeline.sources.paths import ImagePaths, first_of

__all__ = ["CaseGallery", "case_scores", "choose_cases", "find_images", "folder_cases"]

logger = logging.getLogger(__name__)

_FASTEST = 1  # zlib's level
_PLANE = 2

_Labels = npt.NDArray[np.integer[Any]]


class _Packed(NamedTuple):
    shape: tuple[int, ...]
    box: tuple[slice, ...]
    maps: bytes
    kind: np.dtype[Any]
    affine: npt.NDArray[np.float64] | None


class CaseGallery:
    """Keeps the label maps of scored cases, compressed, until it is known which of them are looked at.

    A case of 512x512x300 voxels takes about 0.1 MB for an organ and 1 MB for a hundred of them.
    """

    def __init__(self) -> None:
        self._kept: dict[str, _Packed] = {}

    def add(
        self, name: str, prediction: npt.ArrayLike, reference: npt.ArrayLike, *, affine: npt.ArrayLike | None
    ) -> None:
        """Keep a case; a second one of that name replaces the first.

        Args:
            name: the case.
            prediction: label map of shape (X, Y) or (X, Y, Z).
            reference: of the same shape, on the same grid.
            affine: 4x4 (3x3 of a 2D file), voxel indices to RAS mm; None of a picture.
        """
        maps = np.stack([np.asarray(reference), np.asarray(prediction)])
        box = _filled_box((maps[0] != 0) | (maps[1] != 0))
        both = (slice(None), *box)
        part = np.ascontiguousarray(maps[both])
        place = None if affine is None else _whole_affine(affine)
        self._kept[name] = _Packed(maps.shape[1:], box, zlib.compress(part.tobytes(), _FASTEST), maps.dtype, place)

    def cases(self, chosen: Mapping[str, str], images: Mapping[str, ImagePaths] | None = None) -> Iterator[ViewedCase]:
        """Give cases back one by one.

        Args:
            chosen: why each is shown, by name, from :func:`choose_cases`; those that were never added are left out.
            images: the file or folder of each case's image, all files of a DICOM series, or others of which the first
                is shown; a case without one, or whose image cannot be read, is shown without.
        """
        for name, kind in chosen.items():
            if name not in self._kept:
                continue
            packed = self._kept[name]
            reference, prediction = _unpacked(packed)
            image, image_affine = _image(name, (images or {}).get(name))
            yield ViewedCase(
                name=name,
                reference=reference,
                prediction=prediction,
                affine=packed.affine,
                image=image,
                image_affine=image_affine if packed.affine is not None else None,
                kind=kind,
            )


def case_scores(table: MeasureTable) -> npt.NDArray[np.float64]:
    """Mean Dice of each case over its labels, of shape (N,)."""
    dice = table.values["dice"]
    known = ~np.isnan(dice)
    scores: npt.NDArray[np.float64] = np.where(known, dice, 0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    return scores


def choose_cases(
    table: MeasureTable, *, without: Collection[str] = (), worst: int = 6, median: int = 3
) -> dict[str, str]:
    """Which cases are worth a look.

    Args:
        table: of all cases.
        without: cases that cannot be shown, such as those without a prediction.
        worst: how many of the lowest mean Dice.
        median: how many around the median.

    Returns:
        ``worst`` or ``median`` by name, the worst first. A case is in it once.
    """
    scores = case_scores(table)
    order = [n for n in np.argsort(scores, kind="stable").tolist() if table.cases[n] not in without]
    chosen = {table.cases[n]: "worst" for n in order[:worst]}
    start = max(len(order) // 2 - median // 2, 0)
    return chosen | {table.cases[n]: "median" for n in order[start : start + median] if table.cases[n] not in chosen}


def folder_cases(
    found: FolderPairs,
    chosen: Mapping[str, str],
    images: Mapping[str, ImagePaths] | None = None,
    pairing: LabelPairing | None = None,
) -> Iterator[ViewedCase]:
    """Read the label maps of scored cases again; those that cannot be read are passed over.

    Args:
        found: the folders that were scored.
        chosen: why each is shown, by name, from :func:`choose_cases`.
        images: the image of each case, from :func:`find_images`.
        pairing: of the labels of the folders; when absent, by their values.
    """
    for name, kind in chosen.items():
        prediction, reference = found.pairs.get(name, (None, None))
        if prediction is None or reference is None:
            continue
        try:
            maps = CaseMaps(prediction, reference)
            given, wanted = maps.prediction, maps.reference
            if pairing is not None:
                given, wanted = pairing.onto(given, prediction)[0], pairing.onto(wanted, reference)[0]
            given, wanted, _ = on_one_grid(given, wanted, prediction, resample=True)
        except InputError as error:
            logger.warning("%s: not shown in the report: %s", name, error)
            continue
        image, image_affine = _image(name, (images or {}).get(name))
        yield ViewedCase(
            name=name,
            reference=wanted.labels,
            prediction=given.labels,
            affine=wanted.affine,
            image=image,
            image_affine=image_affine if wanted.affine is not None else None,
            kind=kind,
        )


def find_images(folder: Path) -> dict[str, Path]:
    """The images in a folder by the names of their cases: files without suffix and ``_0000``, DICOM series as folders.

    Raises:
        InputError: there is no such folder.
    """
    root = given_path(folder)
    if not root.is_dir():
        raise InputError("no such folder", where=folder)
    entries = [path for path in sorted(root.iterdir()) if not path.name.startswith(".")]
    return {(path.name if path.is_dir() else strip_suffix(path.name)).removesuffix("_0000"): path for path in entries}


def _image(name: str, path: ImagePaths | None) -> tuple[npt.NDArray[Any] | None, npt.NDArray[np.float64] | None]:
    """An image for the eye and its affine (4x4); its first channel, of a colour picture the luminance."""
    if path is None:
        return None, None
    try:
        first = first_of(path)
        picture = is_picture(first[0])
        reader = CaseReader(channels=1 if picture else None, untilt=True)
        array, meta = reader.get_data(reader.read(first))
    except Exception as error:  # noqa: BLE001 - a report without one picture is better than none
        logger.warning("%s: its image is not shown in the report: %s", name, one_line(error))
        return None, None
    dimensions = len(np.asarray(meta["spatial_shape"]).ravel())
    while array.ndim > dimensions:
        array = array[..., 0]
    if picture:
        return array, None
    return array, _whole_affine(meta["affine"])


def _whole_affine(affine: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """4x4, whatever the dimensions of the file."""
    given, whole = np.asarray(affine, dtype=np.float64), np.eye(4)
    size = min(len(given), 4) - 1
    whole[:size, :size], whole[:size, 3] = given[:size, :size], given[:size, -1]
    return whole


def _filled_box(mask: npt.NDArray[np.bool_]) -> tuple[slice, ...]:
    box = []
    for axis in range(mask.ndim):
        filled = np.flatnonzero(mask.any(axis=tuple(other for other in range(mask.ndim) if other != axis)))
        box.append(slice(int(filled[0]), int(filled[-1]) + 1) if filled.size else slice(0, 0))
    return tuple(box)


def _unpacked(packed: _Packed) -> tuple[_Labels, _Labels]:
    sizes = [one.stop - one.start for one in packed.box]
    part = np.frombuffer(zlib.decompress(packed.maps), dtype=packed.kind).reshape(2, *sizes)
    maps = np.zeros((2, *packed.shape), dtype=packed.kind)
    both = (slice(None), *packed.box)
    maps[both] = part
    return maps[0], maps[1]
