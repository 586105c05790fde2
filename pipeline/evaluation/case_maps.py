"""The two label maps of a case: read, and brought to one grid."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from pipeline.errors import InputError
from pipeline.sources.label_map import LabelMap, is_structure_set, read_label_map, read_structures_on, resample_to
from pipeline.sources.label_table import read_label_table, table_beside, table_segments

__all__ = ["CaseMaps", "on_one_grid"]

_RESAMPLED = "prediction resampled to the reference's grid (nearest neighbour)"

logger = logging.getLogger(__name__)


class CaseMaps:
    """Prediction and reference of a case, read when they are asked for, with what their values are called.

    A DICOM RTSTRUCT is filled on the grid of the other file; the names of other files stand in a table beside them, as
    ``medbundle convert`` writes it.

    Args:
        prediction: a label map; None where there is none.
        reference: another.
    """

    def __init__(self, prediction: Path | None, reference: Path) -> None:
        self._paths = {"prediction": prediction, "reference": reference}

    @property
    def sides(self) -> tuple[str, str]:
        """The two in the order in which they can be read."""
        outlined = is_structure_set(self._path("reference"))
        return ("prediction", "reference") if outlined else ("reference", "prediction")

    @cached_property
    def prediction(self) -> LabelMap:
        """The prediction.

        Raises:
            InputError: see :func:`pipeline.sources.read_label_map`; or there is none.
        """
        return self._read("prediction", "reference")

    @cached_property
    def reference(self) -> LabelMap:
        """The reference; raises likewise."""
        return self._read("reference", "prediction")

    def _read(self, side: str, other: str) -> LabelMap:
        path = self._path(side)
        if not is_structure_set(path):
            return _with_names(read_label_map(path), path)
        if is_structure_set(self._path(other)):
            raise InputError(
                "two RTSTRUCT have contours and no voxels",
                where=path,
                cure="Convert one of them to NIfTI with its series, see medbundle convert --reference",
            )
        grid: LabelMap = getattr(self, other)
        return read_structures_on(grid, path)

    def _path(self, side: str) -> Path:
        path = self._paths[side]
        if path is None:
            raise InputError(f"there is no {side}", where=self._paths["reference"])
        return path


def _with_names(label_map: LabelMap, path: Path) -> LabelMap:
    beside = table_beside(path)
    if label_map.segments or label_map.affine is None or not beside.is_file():
        return label_map
    try:
        return replace(label_map, segments=table_segments(read_label_table(beside, any_value=True)))
    except InputError as error:
        logger.warning("%s: its names are not used: %s", path, error)
        return label_map


def on_one_grid(given: LabelMap, wanted: LabelMap, path: Path, *, resample: bool) -> tuple[LabelMap, LabelMap, str]:
    """Bring two label maps to one grid.

    Grids whose axes run in another order or direction through the same voxels are the same.

    Args:
        given: the prediction.
        wanted: its reference.
        path: of the prediction.
        resample: whether a prediction on another grid is resampled, by its nearest voxels, or refused.

    Returns:
        Prediction and reference, and what is to be said of it; "" where nothing was resampled.

    Raises:
        InputError: the grids differ.
    """
    if wanted.difference(given) is None:
        return given, wanted, ""
    turned = given.turned_to(wanted)
    difference = wanted.difference(turned)
    if difference is None:
        return turned, wanted, ""
    whole = _covered(given, wanted)
    if whole is not None:
        return resample_to(given.as_thick_as(whole), whole), whole, ""
    placed = given.affine is not None and wanted.affine is not None
    if resample and placed:
        whole = wanted.covering(given) if wanted.partial else wanted
        return resample_to(given, whole), whole, _RESAMPLED
    cure = "Give --resample to resample the prediction" if placed else None
    raise InputError("is not on the reference's grid", where=path, got=difference, cure=cure)


def _covered(given: LabelMap, wanted: LabelMap) -> LabelMap | None:
    """The reference as far as the prediction reaches, where one leaves out slices of the other's grid; else None."""
    if not (given.partial or wanted.partial):
        return None
    given, wanted = given.as_thick_as(wanted), wanted.as_thick_as(given)
    return wanted.covering(given) if wanted.shares_voxels(given) else None
