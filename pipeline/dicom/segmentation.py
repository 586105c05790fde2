"""Labels out as a DICOM Segmentation object (PS3.3 A.51)."""

from __future__ import annotations

import itertools
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import highdicom
import numpy as np
import pydicom
from highdicom.color import CIELabColor
from highdicom.seg import Segmentation, SegmentDescription
from highdicom.sr.coding import CodedConcept
from pydicom.config import disable_value_validation

import pipeline
from pipeline.dicom.elements import READ_ERRORS
from pipeline.dicom.geometry import ras_affine
from pipeline.dicom.series import choose, scan
from pipeline.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from highdicom import VolumeGeometry
    from pydicom.dataset import Dataset

    from pipeline.dicom.series import Series

__all__ = ["Algorithm", "Segment", "write_segmentation"]

Code: TypeAlias = "tuple[str, str, str]"
Labels: TypeAlias = "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]"
Affine: TypeAlias = "np.ndarray[tuple[int, ...], np.dtype[np.float64]]"

GRID_TOLERANCE_VOXEL = 0.01

_LONG_STRING = 64  # the most characters of an LO value (PS3.5 6.2)


@dataclass(frozen=True, kw_only=True)
class Segment:
    """What one label value means.

    ``category`` and ``property_type`` are codes (value, scheme, meaning) of PS3.16 CID 7150 and CID 7151, for
    example ``("91723000", "SCT", "Anatomical Structure")``; ``modifier`` tells which part or side of the type it
    is, for example ``("255549009", "SCT", "Anterior")``. ``color`` is the recommended display colour, sRGB.
    """

    value: int
    name: str
    category: Code
    property_type: Code
    modifier: Code | None = None
    color: tuple[int, int, int] | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.value <= np.iinfo(np.uint8).max:
            raise InputError("a label value is out of range", where=f"segment {self.name}", expected="1 to 255")
        if not 1 <= len(self.name) <= _LONG_STRING:
            raise InputError(
                "a segment's name is of no use", where=f"segment {self.value}", expected="1 to 64 characters"
            )


@dataclass(frozen=True, kw_only=True)
class Algorithm:
    """Who made the segments. ``family`` is a code (value, scheme, meaning) of PS3.16 CID 7162."""

    name: str = "medpipe"
    version: str = pipeline.__version__
    family: Code = ("123109", "DCM", "Artificial Intelligence")


def write_segmentation(
    labels: Labels,
    *,
    affine: Affine,
    source_files: Sequence[str | os.PathLike[str]],
    segments: Sequence[Segment],
    path: str | os.PathLike[str],
    algorithm: Algorithm | None = None,
    series_description: str = "Segmentation",
    series_number: int = 1000,
) -> Path:
    """Write labels as a binary DICOM SEG on the frames of their source images.

    Every segment is described and every frame is written, empty or not. The file appears whole or not at all.

    Args:
        labels: uint8, axes (i, j, k) = (column, row, slice) as :class:`pipeline.dicom.DicomSeriesReader` gives.
        affine: 4x4, voxel (i, j, k) to RAS mm; it must be the grid of the source images.
        source_files: the files of the source series, in any order.
        segments: what each label value means; segment numbers follow this order.
        path: the file to write; an older one is replaced.
        algorithm: who made the segments; medpipe itself when absent.
        series_description: of the new series.
        series_number: of the new series.

    Returns:
        The path of the file.

    Raises:
        InputError: the grid is not that of the source images, or a label is not described.
    """
    series = choose(scan(source_files))
    if series.problem is not None:
        raise InputError(series.problem)
    geometry = _geometry(series)
    source_affine = ras_affine(geometry) if series.stack is None else series.stack.ras_affine
    _check_grid(labels, np.asarray(affine, dtype=np.float64), geometry.spatial_shape, source_affine)
    numbers = _segment_numbers(labels, segments)
    frames = numbers[labels.transpose(2, 1, 0)]
    algorithm = algorithm or Algorithm()
    # The source's own oddities, such as a value that is too long, are copied and not ours to warn about; and
    # highdicom's warning about a patient's name of one part would print that name.
    with disable_value_validation(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The string .* is unlikely to represent")
        sources = [pydicom.dcmread(file, stop_before_pixels=True, force=True) for file in series.files]
        segmentation = _segmentation(
            sources,
            # highdicom takes each plane of an array to lie on the source image of the same index, so that the
            # frames get the very positions of the source; an enhanced image orders its frames as it likes.
            frames if series.stack is not None else geometry.with_array(frames),
            segments=segments,
            algorithm=algorithm,
            series_description=series_description,
            series_number=series_number,
        )
        return _save(segmentation, Path(path))


def _geometry(series: Series) -> VolumeGeometry:
    if series.stack is not None:
        return series.stack.geometry
    geometry = highdicom.imread(series.files[0]).get_volume_geometry()
    if geometry is None:
        raise InputError("the enhanced multi-frame image is not one volume", where=series.files[0].name)
    return geometry


def _check_grid(labels: Labels, affine: Affine, spatial_shape: Sequence[int], source_affine: Affine) -> None:
    """Refuse labels whose corners are not on the source's corners: nothing is turned or shifted to fit."""
    shape = tuple(spatial_shape[::-1])
    if labels.dtype != np.uint8 or labels.shape != shape:
        raise InputError(
            "the labels are not on the grid of the source images",
            expected=f"uint8 of {shape}",
            got=f"{labels.dtype} of {labels.shape}",
        )
    corners = np.array(
        [(*corner, 1) for corner in itertools.product(*((0, size - 1) for size in shape))], dtype=float
    ).T
    # An affine of a single slice would agree at its corners whatever its third column says.
    corners[2, 4:] += shape[2] == 1
    away = np.abs(np.linalg.solve(source_affine, affine @ corners) - corners).max()
    if not away <= GRID_TOLERANCE_VOXEL:
        raise InputError(
            "the labels do not lie on the source images",
            expected=f"corners within {GRID_TOLERANCE_VOXEL:g} voxel",
            got=f"{away:.3g} voxel",
            cure="Bring the labels back to the grid of the input before writing them",
        )


def _segment_numbers(labels: Labels, segments: Sequence[Segment]) -> Labels:
    """Return a table from label value to segment number; DICOM numbers segments 1, 2, 3, ... without a gap."""
    values = [segment.value for segment in segments]
    if not values or len(set(values)) != len(values):
        raise InputError("the segments must have label values, each once", got=values)
    present = np.flatnonzero(np.bincount(labels.ravel(order="K"), minlength=1))
    unknown = sorted(set(present.tolist()) - {0, *values})
    if unknown:
        raise InputError("labels that no segment describes", got=unknown, expected=f"0 or one of {sorted(values)}")
    table = np.zeros(256, dtype=np.uint8)
    table[values] = np.arange(1, len(values) + 1)
    return table


def _description(
    number: int, segment: Segment, identification: highdicom.AlgorithmIdentificationSequence
) -> SegmentDescription:
    property_type = CodedConcept(*segment.property_type)
    if segment.modifier is not None:  # PS3.3 C.8.20.2; highdicom has no argument for it
        property_type.SegmentedPropertyTypeModifierCodeSequence = [CodedConcept(*segment.modifier)]
    return SegmentDescription(
        segment_number=number,
        segment_label=segment.name,
        segmented_property_category=CodedConcept(*segment.category),
        segmented_property_type=property_type,
        algorithm_type="AUTOMATIC",
        algorithm_identification=identification,
        display_color=None if segment.color is None else CIELabColor.from_rgb(*segment.color),
    )


def _segmentation(
    sources: Sequence[Dataset],
    pixels: Labels | highdicom.Volume,
    *,
    segments: Sequence[Segment],
    algorithm: Algorithm,
    series_description: str,
    series_number: int,
) -> Segmentation:
    identification = highdicom.AlgorithmIdentificationSequence(
        name=algorithm.name, family=CodedConcept(*algorithm.family), version=algorithm.version
    )
    descriptions = [_description(number, segment, identification) for number, segment in enumerate(segments, start=1)]
    try:
        return Segmentation(
            source_images=sources,
            pixel_array=pixels,
            segmentation_type="BINARY",
            segment_descriptions=descriptions,
            series_instance_uid=highdicom.UID(),
            series_number=series_number,
            sop_instance_uid=highdicom.UID(),
            instance_number=1,
            manufacturer="medpipe",
            manufacturer_model_name=algorithm.name,
            software_versions=pipeline.__version__,
            device_serial_number="none",
            omit_empty_frames=False,
            content_label="SEGMENTATION",
            series_description=series_description,
        )
    except READ_ERRORS as error:
        raise InputError(
            "no segmentation object can refer to the source images: their headers lack what it must repeat",
            where=sources[0].get("SeriesInstanceUID"),
            got=type(error).__name__,
        ) from error


def _save(segmentation: Segmentation, path: Path) -> Path:
    """Write under another name in the same folder, then rename: a rename within a folder is atomic."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        segmentation.save_as(partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return path
