"""Two folders of label maps, whoever made them: matched by name, checked, scored."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.errors import InputError, one_line
from pipeline.evaluation.scores import ScoreTable
from pipeline.sources.kinds import is_image, is_label_object, label_file, strip_suffix
from pipeline.sources.label_maps import LabelMap, read_label_map, resample_to

__all__ = ["FolderPairs", "find_label_maps", "label_names", "match_folders", "score_folders"]

_OVERLAY = "_overlay"  # a picture that medbundle segment puts beside a mask
_RESAMPLED = "prediction resampled to the reference's grid (nearest neighbour)"

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
    """The label maps in a folder by their names: without suffix, and without nnU-Net's ``_0000``.

    A folder within it that holds one DICOM SEG counts as a file. Where a DICOM SEG and another file have one name, as
    medbundle writes them, the other one is taken; a picture ``NAME_overlay`` beside ``NAME`` is none.

    Raises:
        InputError: there is no such folder, it holds no label map, or two files have one name.
    """
    root = folder.expanduser()
    if not root.is_dir():
        raise InputError("no such folder", where=folder)
    found: dict[str, Path] = {}
    for entry in sorted(root.iterdir()):
        path = label_file(entry)
        outlined = is_label_object(path)
        usable = path.is_file() and (outlined or is_image(path))
        if entry.name.startswith(".") or not usable:
            continue
        name = (entry.name if entry.is_dir() else strip_suffix(entry.name)).removesuffix("_0000")
        if name in found and outlined != is_label_object(found[name]):
            found[name] = found[name] if outlined else path
        elif found.setdefault(name, path) != path:
            raise InputError("two files have one name", where=path, got=found[name], cure="Move one of them away")
    if not found:
        raise InputError("holds no label map", where=folder, expected="NIfTI, NRRD, MHA, PNG or DICOM SEG")
    overlays = {name for name in found if name.endswith(_OVERLAY) and name.removesuffix(_OVERLAY) in found}
    return {name: path for name, path in found.items() if name not in overlays}


def match_folders(predictions: Path, references: Path) -> FolderPairs:
    """Match the label maps of two folders by name.

    Raises:
        InputError: see :func:`find_label_maps`; or no name is in both.
    """
    predicted, wanted = find_label_maps(predictions), find_label_maps(references)
    if not predicted.keys() & wanted.keys():
        got = f"{next(iter(predicted))} ... and {next(iter(wanted))} ..."
        raise InputError(f"no file has the name of one in {references}", where=predictions, got=got)
    ignored = {name: path for name, path in predicted.items() if name not in wanted}
    for path in ignored.values():
        logger.warning("%s: has no reference in %s and is ignored", path, references)
    pairs = {name: (predicted.get(name), path) for name, path in wanted.items()}
    return FolderPairs(predictions=predictions, pairs=pairs, ignored=ignored)


def label_names(found: FolderPairs) -> dict[int, str]:
    """The labels that the files hold: by the names of DICOM segments where the files have and agree on them.

    Files that cannot be read are passed over: whoever scores them says what is wrong.

    Raises:
        InputError: no file can be read.
    """
    values: set[int] = set()
    named: dict[int, set[str]] = {}
    readable = 0
    for path in (one for pair in found.pairs.values() for one in pair if one is not None):
        try:
            label_map = read_label_map(path)
        except Exception:
            logger.debug("%s: not read", path, exc_info=True)
            continue
        readable += 1
        values |= set(np.unique(label_map.labels).tolist())
        for value, name in label_map.names.items():
            named.setdefault(value, set()).add(name)
    if not readable:
        raise InputError("no label map can be read", where=found.predictions)
    names = {value: next(iter(named[value])) for value in sorted(named) if len(named[value]) == 1}
    unique = len(set(names.values())) == len(names)
    return {
        value: names.get(value, f"label {value}") if unique else f"label {value}"
        for value in sorted((values | named.keys()) - {0})
    }


def score_folders(
    table: ScoreTable, found: FolderPairs, *, resample: bool = False, patients: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Score each pair; one that cannot be scored is recorded and the others go on.

    A prediction that is missing, cannot be read, has a value without a name or lies on another grid scores 0. Where it
    is the reference that cannot be read, the case counts nowhere.

    Args:
        table: takes the scores.
        found: from :func:`match_folders`.
        resample: bring predictions to their references' grids instead of refusing another one.
        patients: the patient of each case; the case itself where it has none.

    Returns:
        The reason for each case that failed, in one line with both files.
    """
    zero, unscored = dict[str, str](), dict[str, str]()
    for name, (prediction, reference) in found.pairs.items():
        beside = f" (reference {reference}, prediction {prediction or 'none'})"
        try:
            wanted = read_label_map(reference)
            _check_values(wanted, table.labels, reference)
        except Exception as error:  # noqa: BLE001 - whatever it is, the other cases go on
            unscored[name] = one_line(error) + beside
            continue
        try:
            if prediction is None:
                raise InputError(f"has no label map of {name}", where=found.predictions)  # noqa: TRY301
            given = read_label_map(prediction)
            _check_values(given, table.labels, prediction)
            _check_names(given, wanted, prediction)
            given, wanted, note = _on_one_grid(given, wanted, prediction, resample=resample)
            labels, spacing = _flat(given, wanted)
            table.add(name, *labels, patient=(patients or {}).get(name), spacing_mm=spacing, note=note)
        except Exception as error:  # noqa: BLE001 - see above
            zero[name] = one_line(error) + beside
    table.add_missing(zero, patients=patients)
    table.add_unscored(unscored)
    return {name: (zero | unscored)[name] for name in found.pairs if name in zero or name in unscored}


def _on_one_grid(given: LabelMap, wanted: LabelMap, path: Path, *, resample: bool) -> tuple[LabelMap, LabelMap, str]:
    difference = wanted.difference(given)
    if difference is None:
        return given, wanted, ""
    if (given.partial or wanted.partial) and wanted.shares_voxels(given):  # slices without a label may be left out
        whole = wanted.covering(given)
        return resample_to(given, whole), whole, ""
    if resample and given.affine is not None and wanted.affine is not None:
        whole = wanted.covering(given) if wanted.partial else wanted
        return resample_to(given, whole), whole, _RESAMPLED
    cure = None if given.affine is None or wanted.affine is None else "Give --resample to resample the prediction"
    raise InputError("is not on the reference's grid", where=path, got=difference, cure=cure)


def _check_values(label_map: LabelMap, labels: Mapping[int, str], path: Path) -> None:
    unknown = [value for value in np.unique(label_map.labels).tolist() if value != 0 and value not in labels]
    if unknown:
        expected = ", ".join(str(value) for value in labels)
        raise InputError(f"label value {unknown[0]} has no name", where=path, expected=f"0, {expected}")


def _check_names(given: LabelMap, wanted: LabelMap, path: Path) -> None:
    for value, name in given.names.items():
        if wanted.names.get(value, name) != name:
            raise InputError(
                f"calls label {value} {name}", where=path, expected=f"{wanted.names[value]}, as its reference"
            )


def _flat(given: LabelMap, wanted: LabelMap) -> tuple[Sequence[np.ndarray], tuple[float, ...] | None]:
    """Both arrays, and the spacing; a volume of one slice is measured as the 2D image that it is."""
    arrays, spacing = [given.labels, wanted.labels], wanted.spacing_mm()
    if spacing is not None and wanted.labels.shape[-1] == 1:
        return [array[..., 0] for array in arrays], spacing[:-1]
    return arrays, spacing
