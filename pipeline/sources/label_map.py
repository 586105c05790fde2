"""The one reader of label maps: NIfTI, NRRD, MHA, MGZ, pictures, DICOM SEG and RTSTRUCT."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from pydicom.uid import RTStructureSetStorage

from pipeline.dicom import Grid, LabelMap, Segment, read_rtstruct, read_segmentation, read_segments, resample_to
from pipeline.dicom.datasets import read_dataset, reading
from pipeline.dicom.elements import text, whole_number
from pipeline.dicom.labels.rtstruct import CLOSED
from pipeline.dicom.labels.volume import TISSUE, read_segment_descriptions
from pipeline.dicom.segment import value_of_words
from pipeline.errors import InputError
from pipeline.sources.kinds import PICTURE_KINDS, is_label_object, kind_of
from pipeline.sources.label_table import table_segments
from pipeline.sources.label_values import whole_numbers
from pipeline.sources.reader import CaseReader

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydicom.dataset import Dataset

    from pipeline.sources.label_table import Label

__all__ = ["LabelMap", "is_structure_set", "plain_segment", "read_label_map", "read_structures_on", "resample_to"]

_VOLUME, _PLANE = 3, 2
_MOST = np.iinfo(np.uint8).max

_Labels = npt.NDArray[np.integer[Any]]

_log = logging.getLogger(__name__)


def read_label_map(
    path: Path, *, grid: Grid | None = None, table: Sequence[Label] | None = None, strict: bool = False
) -> LabelMap:
    """Read a file as a label map.

    Args:
        path: NIfTI, NRRD, MHA, MGZ, a picture (grey values or palette indices), a DICOM SEG or a DICOM RTSTRUCT.
        grid: of the image. An RTSTRUCT, which has no voxels, needs it, and a SEG is brought to it where it is given;
            every other file keeps its own.
        table: which segments of a SEG, or ROIs of an RTSTRUCT, are wanted, and their values; all are read without it.
        strict: see :func:`pipeline.dicom.read_rtstruct`.

    Raises:
        InputError: it cannot be read, has several channels, its values are not whole numbers, or a segment or ROI that
            is wanted is not there.
    """
    if not is_label_object(path):
        return _from_file(path)
    if not is_structure_set(path):
        return _from_segmentation(path, grid, table)
    if grid is None:
        raise InputError(
            "an RTSTRUCT has contours and no voxels",
            where=path,
            cure="Give the series that it was drawn on with --reference",
        )
    return _from_rtstruct(path, grid, table, strict=strict)


def is_structure_set(path: Path) -> bool:
    """Whether a file is a DICOM RTSTRUCT."""
    if not is_label_object(path):
        return False
    with reading(path):
        header = read_dataset(path, keywords=["SOPClassUID"], force=False)
        return text(header, "SOPClassUID") == RTStructureSetStorage


def read_structures_on(label_map: LabelMap, path: Path) -> LabelMap:
    """Read a DICOM RTSTRUCT on the grid of a label map, made larger where that may have left slices out.

    Raises:
        InputError: see :func:`read_label_map`; or the label map is a picture.
    """
    around = label_map.reaching(contour_points(path)) if label_map.partial else label_map
    affine, frame = around.volume_affine, label_map.frame_of_reference_uid
    columns, rows, slices = around.labels.shape
    return read_label_map(path, grid=Grid(shape=(columns, rows, slices), affine=affine, frame_of_reference_uid=frame))


def plain_segment(value: int, name: str) -> Segment:
    """A segment of which nothing but a name is known."""
    return Segment(value=value, name=name[:64], category=TISSUE, property_type=TISSUE)


def _from_file(path: Path) -> LabelMap:
    array, meta = CaseReader(label=True).get_data((path,))
    labels = whole_numbers(np.asarray(array), where=path)
    if kind_of(path) in PICTURE_KINDS:
        return LabelMap(labels=_shaped(labels, _PLANE, path), affine=None)
    affine = np.eye(4)
    given = np.asarray(meta["affine"], dtype=np.float64)
    size = min(len(given), 4) - 1  # a 2D file has a smaller one
    affine[:size, :size], affine[:size, 3] = given[:size, :size], given[:size, -1]
    return LabelMap(labels=_shaped(labels, _VOLUME, path), affine=affine)


def _shaped(labels: _Labels, dimensions: int, path: Path) -> _Labels:
    """With further axes of length 1 dropped or added."""
    shape = labels.shape[:dimensions] + (1,) * (dimensions - labels.ndim)
    if any(size != 1 for size in labels.shape[dimensions:]) or not labels.size:
        raise InputError("is no label map", where=path, expected="one value per voxel", got=f"shape {labels.shape}")
    return labels.reshape(shape)


def _from_segmentation(path: Path, grid: Grid | None, table: Sequence[Label] | None) -> LabelMap:
    if grid is None:
        own = read_segmentation(path)
        if table is None:
            return own
        shape = own.labels.shape
        grid = Grid(shape=(shape[0], shape[1], shape[2]), affine=own.volume_affine)
        return replace(own, **_wanted(read_segments(path, names=_names(table), grid=grid), table))
    if table is None:
        labels = read_segments(path, names=None, grid=grid)
        segments, numbered = read_segment_descriptions(path)
        return LabelMap(labels=labels, affine=grid.affine, segments=segments, numbered=numbered)
    return LabelMap(affine=grid.affine, **_wanted(read_segments(path, names=_names(table), grid=grid), table))


def _wanted(labels: _Labels, table: Sequence[Label]) -> dict[str, Any]:
    return {"labels": labels, "segments": table_segments(table), "numbered": False}


def _from_rtstruct(path: Path, grid: Grid, table: Sequence[Label] | None, *, strict: bool) -> LabelMap:
    if table is not None:
        labels = read_rtstruct(path, names=_names(table), grid=grid, strict=strict)
        return LabelMap(affine=grid.affine, **_wanted(labels, table))
    with reading(path):
        rois, numbered = _rois(read_dataset(path, force=False), path)
    names = {segment.value: (name,) for name, segment in rois.items()}
    labels = read_rtstruct(path, names=names, grid=grid, strict=strict)
    return LabelMap(labels=labels, affine=grid.affine, segments=tuple(rois.values()), numbered=numbered)


def contour_points(path: Path) -> npt.NDArray[np.float64]:
    """All points of an RTSTRUCT, (n, 3), RAS mm.

    Raises:
        InputError: it cannot be read.
    """
    with reading(path):
        rois = read_dataset(path, force=False).get("ROIContourSequence") or ()
        contours = [one for roi in rois for one in roi.get("ContourSequence") or ()]
        points = [np.array(one.get("ContourData") or (), dtype=np.float64).reshape(-1, 3) for one in contours]
    return np.concatenate([np.zeros((0, 3)), *points]) * (-1, -1, 1)


def _rois(dataset: Dataset, path: Path) -> tuple[dict[str, Segment], bool]:
    """Return a segment for each name of an ROI that has closed contours, and whether their values are but their order.

    Else they are the label values that the ROIs were made of, where all of them tell these, each its own.
    """
    contours = {
        whole_number(item, "ReferencedROINumber"): item
        for item in dataset.get("ROIContourSequence") or ()
        if any(text(one, "ContourGeometricType") in CLOSED for one in item.get("ContourSequence") or ())
    }
    found: dict[str, Segment] = {}
    told: dict[str, int | None] = {}
    for item in dataset.get("StructureSetROISequence") or ():
        name = " ".join(str(item.get("ROIName") or "").split())
        drawn = contours.get(whole_number(item, "ROINumber"))
        if drawn is None:
            _log.info("%s: ROI '%s' has no closed contour and is left out", path, name)
        elif name and name.casefold() not in found:
            found[name.casefold()] = replace(plain_segment(len(found) + 1, name), color=_color(drawn))
            told[name.casefold()] = value_of_words(str(item.get("ROIDescription") or ""))
    if not 1 <= len(found) <= _MOST:
        raise InputError(
            "ROIs with closed contours", where=path, expected=f"1 to {_MOST}", got=len(found),
            cure="Name the ones that are wanted with --labels",
        )  # fmt: skip
    return _with_values(found, told)


def _with_values(rois: dict[str, Segment], told: dict[str, int | None]) -> tuple[dict[str, Segment], bool]:
    values = {value for value in told.values() if value is not None and value <= _MOST}
    if len(values) < len(rois):
        return rois, True
    return {name: replace(roi, value=told[name] or roi.value) for name, roi in rois.items()}, False


def _color(drawn: Dataset) -> tuple[int, int, int] | None:
    """Return ROIDisplayColor; ``None`` where it is absent or none."""
    values = text(drawn, "ROIDisplayColor").split("\\")
    rgb = [int(value) for value in values if value.strip().isdigit() and int(value) <= _MOST]
    return (rgb[0], rgb[1], rgb[2]) if len(rgb) == len(values) == 3 else None  # noqa: PLR2004 - red, green, blue


def _names(table: Sequence[Label]) -> dict[int, tuple[str, ...]]:
    return {label.value: label.source_names or (label.name,) for label in table}
