"""Two folders of label maps, whoever made them: matched by name, checked, scored."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.data.matching import match_names
from pipeline.errors import InputError, one_line
from pipeline.evaluation.case_maps import CaseMaps, on_one_grid
from pipeline.evaluation.pairing import FileLabels, LabelPairing
from pipeline.evaluation.score_table import ScoreTable
from pipeline.sources.given import given_path
from pipeline.sources.kinds import is_image, is_label_object, label_file, strip_suffix
from pipeline.sources.label_map import LabelMap

__all__ = ["FolderPairs", "find_label_maps", "match_folders", "pair_labels", "score_folders"]

_OVERLAY = "_overlay"  # a picture that medbundle segment puts beside a mask

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class FolderPairs:
    """What two folders hold.

    Attributes:
        predictions: the folder of the predictions.
        pairs: prediction (None where there is none) and reference by the case's name.
        ignored: predictions without a reference, by name.
    """

    predictions: Path
    pairs: Mapping[str, tuple[Path | None, Path]]
    ignored: Mapping[str, Path]


def find_label_maps(folder: Path) -> dict[str, Path]:
    """The label maps in a folder by their names without suffix.

    A folder within it that holds one DICOM SEG counts as a file. Where a DICOM SEG and another file have one name, as
    medbundle writes them, the other one is taken; a picture ``NAME_overlay`` beside ``NAME`` is none.

    Raises:
        InputError: there is no such folder, it holds no label map, or two files have one name.
    """
    root = given_path(folder)
    if not root.is_dir():
        raise InputError("no such folder", where=folder)
    found: dict[str, Path] = {}
    for name, path in _named_maps(root):
        found[name] = _preferred(found.get(name, path), path)
    if not found:
        raise InputError("holds no label map", where=folder, expected="NIfTI, NRRD, MHA, PNG, DICOM SEG or RTSTRUCT")
    overlays = {f"{name}{_OVERLAY}" for name in found}
    return {name: path for name, path in found.items() if name not in overlays}


def _named_maps(root: Path) -> Iterator[tuple[str, Path]]:
    for entry in sorted(root.iterdir()):
        path = label_file(entry)
        if not entry.name.startswith(".") and path.is_file() and (is_label_object(path) or is_image(path)):
            yield entry.name if entry.is_dir() else strip_suffix(entry.name), path


def _preferred(one: Path, other: Path) -> Path:
    """Which of two files of one name counts: that which is no DICOM object."""
    if one == other:
        return one
    if is_label_object(one) == is_label_object(other):
        raise InputError("two files have one name", where=other, got=one, cure="Move one of them away")
    return other if is_label_object(one) else one


def match_folders(predictions: Path, references: Path) -> FolderPairs:
    """Match the label maps of two folders by name.

    Raises:
        InputError: see :func:`find_label_maps`; or no name is in both.
    """
    named, wanted = find_label_maps(predictions), find_label_maps(references)
    pairs_of_names = match_names(named, wanted)
    predicted = {pairs_of_names.get(name, name): path for name, path in named.items()}
    if not predicted.keys() & wanted.keys():
        got = f"{next(iter(predicted))} ... and {next(iter(wanted))} ..."
        raise InputError(f"no file has the name of one in {references}", where=predictions, got=got)
    ignored = {name: path for name, path in predicted.items() if name not in wanted}
    for path in ignored.values():
        logger.warning("%s: has no reference in %s and is ignored", path, references)
    pairs = {name: (predicted.get(name), path) for name, path in wanted.items()}
    return FolderPairs(predictions=predictions, pairs=pairs, ignored=ignored)


def pair_labels(found: FolderPairs) -> LabelPairing:
    """Pair the labels that the files hold, see :meth:`pipeline.evaluation.pairing.LabelPairing.of_files`.

    Files that cannot be read are passed over: whoever scores them says what is wrong.

    Raises:
        InputError: no file can be read, or names and values of labels contradict each other.
    """
    held: dict[str, list[FileLabels]] = {"reference": [], "prediction": []}
    faults: list[str] = []
    for prediction, reference in found.pairs.values():
        maps = CaseMaps(prediction, reference)
        for side, labels in held.items():
            if side == "reference" or prediction is not None:
                labels.extend(_labels_of(maps, side, faults))
    if not any(held.values()):
        raise InputError("no label map can be read", where=found.predictions, got=next(iter(faults), None))
    return LabelPairing.of_files(held["reference"], held["prediction"])


def _labels_of(maps: CaseMaps, side: str, faults: list[str]) -> list[FileLabels]:
    try:
        return [FileLabels.of(getattr(maps, side))]
    except Exception as error:  # noqa: BLE001 - whatever it is, the other files go on
        faults.append(one_line(error))
        return []


def score_folders(
    table: ScoreTable,
    found: FolderPairs,
    *,
    pairing: LabelPairing | None = None,
    resample: bool = False,
    patients: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Score each pair; one that cannot be scored is recorded and the others go on.

    A prediction that is missing, cannot be read, has a label that is not scored or lies on another grid scores 0. Where
    it is the reference that cannot be read, the case counts nowhere.

    Args:
        table: takes the scores.
        found: from :func:`match_folders`.
        pairing: of the labels of the files with those of the table; by the names of the table when absent.
        resample: bring predictions to their references' grids instead of refusing another one.
        patients: the patient of each case; the case itself where it has none.

    Returns:
        The reason for each case that failed, in one line with both files.
    """
    pairing = pairing or LabelPairing(table.labels)
    zero, unscored = dict[str, str](), dict[str, str]()
    for name, (prediction, reference) in found.pairs.items():
        error = _score(name, table, found, pairing, resample=resample, patient=(patients or {}).get(name))
        if error is not None:
            reason = one_line(error) + f" (reference {reference}, prediction {prediction or 'none'})"
            (unscored if isinstance(error, _ReferenceError) else zero)[name] = reason
    table.add_missing(zero, patients=patients)
    table.add_unscored(unscored)
    return {name: (zero | unscored)[name] for name in found.pairs if name in zero or name in unscored}


class _ReferenceError(InputError):
    """It is the reference that cannot be used."""


def _score(
    name: str, table: ScoreTable, found: FolderPairs, pairing: LabelPairing, *, resample: bool, patient: str | None
) -> Exception | None:
    """Score one case; gives back what stands against it."""
    prediction = found.pairs[name][0] or found.predictions
    try:
        (given, wanted), notes = _paired(name, found, pairing)
        if not pairing.by_name:
            _check_names(given, wanted, prediction)
        given, wanted, note = on_one_grid(given, wanted, prediction, resample=resample)
        labels, spacing = _flat(given, wanted)
        said = "; ".join(dict.fromkeys(filter(None, (*notes, note))))
        table.add(name, *labels, patient=patient, spacing_mm=spacing, note=said)
    except Exception as error:  # noqa: BLE001 - whatever it is, the other cases go on
        return error
    return None


def _paired(name: str, found: FolderPairs, pairing: LabelPairing) -> tuple[tuple[LabelMap, LabelMap], list[str]]:
    """Prediction and reference of a case with the values that are scored, and what is to be said of them."""
    paths = dict(zip(("prediction", "reference"), found.pairs[name], strict=True))
    maps, paired, notes = CaseMaps(*found.pairs[name]), dict[str, LabelMap](), list[str]()
    for side in maps.sides:
        path = paths[side]
        if path is None:
            raise InputError(f"has no label map of {name}", where=found.predictions)
        paired[side], note = _onto(maps, side, path, pairing)
        if note:
            logger.warning("%s: %s", path, note)
            notes.append(note)
    return (paired["prediction"], paired["reference"]), notes


def _onto(maps: CaseMaps, side: str, path: Path, pairing: LabelPairing) -> tuple[LabelMap, str]:
    try:
        return pairing.onto(getattr(maps, side), path)
    except Exception as error:
        if side == "reference":
            raise _ReferenceError(one_line(error)) from error
        raise


def _check_names(given: LabelMap, wanted: LabelMap, path: Path) -> None:
    """Where values pair the labels, the names that both files have must not contradict them."""
    own, others = FileLabels.of(given).names, FileLabels.of(wanted).names
    for value, name in own.items():
        other = others.get(value, name)
        if other.casefold() != name.casefold():
            raise InputError(f"calls label {value} {name}", where=path, expected=f"{other}, as its reference")


def _flat(given: LabelMap, wanted: LabelMap) -> tuple[Sequence[np.ndarray], tuple[float, ...] | None]:
    """Both arrays, and the spacing; a volume of one slice is measured as the 2D image that it is."""
    arrays, spacing = [given.labels, wanted.labels], wanted.spacing_mm()
    if spacing is not None and wanted.labels.shape[-1] == 1:
        return [array[..., 0] for array in arrays], spacing[:-1]
    return arrays, spacing
