"""Label maps out of files of any kind, by themselves or on the grid of a DICOM series."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pydicom
from pydicom.uid import RTStructureSetStorage

from pipeline.dicom import (
    Grid,
    LabelVolume,
    Segment,
    choose,
    load,
    read_rtstruct,
    read_segmentation,
    read_segments,
    scan,
)
from pipeline.dicom.elements import text, whole_number
from pipeline.dicom.labels.grid import reading
from pipeline.dicom.labels.volume import TISSUE, read_segment_descriptions
from pipeline.dicom.reading.tilt import Shear
from pipeline.dicom.writing.placement import place, source_stack
from pipeline.errors import InputError
from pipeline.sources import CaseReader
from pipeline.sources.kinds import PICTURE_KINDS, is_label_object, kind_of
from pipeline.sources.label_table import segment_arguments

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydicom.dataset import Dataset

    from pipeline.dicom import Series
    from pipeline.sources.label_table import Label

__all__ = ["Reference", "read_label_source"]

_VOLUME = 3
_MOST = np.iinfo(np.uint8).max

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Reference:
    """The series that labels belong to.

    ``files`` are all of its SeriesInstanceUID; ``selector`` tells which volume of them. ``untilt`` says that label maps
    lie on the upright grid of a series of a tilted gantry.
    """

    series: Series
    files: tuple[Path, ...]
    selector: str
    untilt: bool = False

    @classmethod
    def open(cls, path: Path, series: str | None, *, untilt: bool) -> Reference:
        """Find the series at a path.

        Raises:
            InputError: there is no single series, or it is not one sound volume.
        """
        found = scan(path.expanduser())
        chosen = choose(found, series)
        source_stack(chosen)
        alike = [one for one in found.series if one.series_uid == chosen.series_uid]
        files = dict.fromkeys(file for one in alike for file in one.files)
        part = "" if chosen.part is None else f"/{chosen.part}"
        return cls(series=chosen, files=tuple(files), selector=f"{chosen.series_uid}{part}", untilt=untilt)

    @property
    def grid(self) -> Grid:
        """The grid of the slices as acquired; of a tilted gantry, it is sheared."""
        return Grid.of_stack(source_stack(self.series))

    def image(self) -> np.ndarray | None:
        """The values of the series on its grid; ``None`` where the gantry was tilted."""
        return load(self.series).array.transpose(2, 1, 0) if self.series.problem is None else None


def read_label_source(
    path: Path, *, reference: Reference | None = None, table: Sequence[Label] | None = None
) -> LabelVolume:
    """Read a label map.

    Args:
        path: NIfTI, NRRD, MHA, a DICOM SEG or a DICOM RTSTRUCT.
        reference: the series on whose grid it is wanted; an RTSTRUCT needs it.
        table: what the values mean. Of a SEG or RTSTRUCT only the segments or ROIs that it names are read; without it
            all are.

    Raises:
        InputError: it cannot be read, does not lie on the reference, or its values are no labels.
    """
    if not is_label_object(path):
        return _from_file(path, reference, table)
    with reading(path):
        kind = text(pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["SOPClassUID"]), "SOPClassUID")
    if kind == RTStructureSetStorage:
        if reference is None:
            raise InputError(
                "an RTSTRUCT has contours and no voxels",
                where=path,
                cure="Give the series that it was drawn on with --reference",
            )
        return _from_rtstruct(path, reference.grid, table)
    return _from_segmentation(path, reference, table)


def _from_file(path: Path, reference: Reference | None, table: Sequence[Label] | None) -> LabelVolume:
    if kind_of(path) in PICTURE_KINDS:
        raise InputError(
            "a picture has no place in a patient", where=path, expected="NIfTI, NRRD, MHA, SEG or RTSTRUCT"
        )
    reader = CaseReader(label=True)
    array, meta = reader.get_data(reader.read(path))
    labels = _whole(np.asarray(array), path)
    affine = np.asarray(meta["affine"], dtype=np.float64)
    if reference is not None:
        labels, affine = _on_reference(labels, affine, reference)
    values = (np.flatnonzero(np.bincount(labels.ravel(order="K"), minlength=1)[1:]) + 1).tolist()
    if table is None and not values:
        raise InputError("the label map is empty", where=path, cure="Say with --labels what it could hold")
    segments = (
        _table_segments(table) if table is not None else tuple(_plain(value, f"Label {value}") for value in values)
    )
    unknown = sorted(set(values) - {segment.value for segment in segments})
    if unknown:
        raise InputError("values that --labels does not name", where=path, got=unknown)
    return LabelVolume(labels=labels, affine=affine, segments=segments)


def _whole(array: np.ndarray, path: Path) -> np.ndarray:
    """Return the values as uint8, or say why they are no labels."""
    if array.ndim > _VOLUME and set(array.shape[_VOLUME:]) == {1}:
        array = array.reshape(array.shape[:_VOLUME])
    if array.ndim != _VOLUME or not array.size:
        raise InputError("is not a volume", where=path, expected="three axes", got=f"shape {array.shape}")
    low, high = array.min(), array.max()
    if array.dtype.kind == "f" and not (np.isfinite([low, high]).all() and (np.rint(array) == array).all()):
        raise InputError("holds values that are no labels", where=path, expected="whole numbers", got="fractions")
    if low < 0 or high > _MOST:
        raise InputError(
            "holds values that are no labels",
            where=path,
            expected=f"whole numbers from 0 to {_MOST}",
            got=f"{low:g} to {high:g}",
        )
    return array.astype(np.uint8)


def _on_reference(labels: np.ndarray, affine: np.ndarray, reference: Reference) -> tuple[np.ndarray, np.ndarray]:
    tilted = reference.series.tilted
    if reference.untilt and tilted is not None:
        shear = Shear.of_stack(tilted)
        source_affine = shear.affine.copy()
        source_affine[:3, 2] -= shear.affine[:3, :2] @ shear.steps
        source_affine[:3, 3] += shear.affine[:3, :2] @ shear.origin
        upright = place(labels, affine=affine, shape=shear.upright_size, source_affine=source_affine)
        return shear.to_acquired(upright), shear.affine
    grid = reference.grid
    return place(labels, affine=affine, shape=grid.shape, source_affine=grid.affine), grid.affine


def _from_segmentation(path: Path, reference: Reference | None, table: Sequence[Label] | None) -> LabelVolume:
    if reference is None:
        volume = read_segmentation(path)
        if table is None:
            return volume
        shape = volume.labels.shape
        grid = Grid(shape=(shape[0], shape[1], shape[2]), affine=volume.affine)
    else:
        grid = reference.grid
    segments = read_segment_descriptions(path) if table is None else _table_segments(table)
    labels = read_segments(path, names=None if table is None else _names(table), grid=grid)
    return LabelVolume(labels=labels, affine=grid.affine, segments=segments)


def _from_rtstruct(path: Path, grid: Grid, table: Sequence[Label] | None) -> LabelVolume:
    if table is not None:
        labels = read_rtstruct(path, names=_names(table), grid=grid)
        return LabelVolume(labels=labels, affine=grid.affine, segments=_table_segments(table))
    with reading(path):
        rois = _rois(pydicom.dcmread(path), path)
    labels = read_rtstruct(path, names={segment.value: (name,) for name, segment in rois.items()}, grid=grid)
    return LabelVolume(labels=labels, affine=grid.affine, segments=tuple(rois.values()))


def _rois(dataset: Dataset, path: Path) -> dict[str, Segment]:
    """Return a segment for each name of an ROI that has closed contours, in the order of the ROIs."""
    contours = {
        whole_number(item, "ReferencedROINumber"): item
        for item in dataset.get("ROIContourSequence") or ()
        if any(text(one, "ContourGeometricType").startswith("CLOSED") for one in item.get("ContourSequence") or ())
    }
    found: dict[str, Segment] = {}
    for item in dataset.get("StructureSetROISequence") or ():
        name = " ".join(str(item.get("ROIName") or "").split())
        drawn = contours.get(whole_number(item, "ROINumber"))
        if drawn is None:
            _log.info("%s: ROI '%s' has no closed contour and is left out", path, name)
        elif name and name.casefold() not in found:
            found[name.casefold()] = replace(_plain(len(found) + 1, name), color=_color(drawn))
    if not 1 <= len(found) <= _MOST:
        raise InputError(
            "ROIs with closed contours", where=path, expected=f"1 to {_MOST}", got=len(found),
            cure="Name the ones that are wanted with --labels",
        )  # fmt: skip
    return found


def _color(drawn: Dataset) -> tuple[int, int, int] | None:
    """Return ROIDisplayColor; ``None`` where it is absent or none."""
    values = text(drawn, "ROIDisplayColor").split("\\")
    rgb = [int(value) for value in values if value.strip().isdigit() and int(value) <= _MOST]
    return (rgb[0], rgb[1], rgb[2]) if len(rgb) == len(values) == 3 else None  # noqa: PLR2004 - red, green, blue


def _plain(value: int, name: str) -> Segment:
    return Segment(value=value, name=name[:64], category=TISSUE, property_type=TISSUE)


def _table_segments(table: Sequence[Label]) -> tuple[Segment, ...]:
    return tuple(Segment(**{key: _tuple(value) for key, value in segment_arguments(one).items()}) for one in table)


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _names(table: Sequence[Label]) -> dict[int, tuple[str, ...]]:
    return {label.value: label.source_names or (label.name,) for label in table}
