"""The label objects that the programs of others are to read, and what must be found in them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pydicom
from interoperability import label_sources as sources
from interoperability.label_sources import Frame, frames_of
from scipy.ndimage import gaussian_filter

from pipeline.dicom import DicomSeriesReader, Segment, write_segmentation
from pipeline.dicom.writing.rtstruct import write_rtstruct

ANATOMY = ("123037004", "SCT", "Anatomical Structure")
SEGMENTS = (
    Segment(
        value=1,
        name="Kidney",
        category=ANATOMY,
        property_type=("64033007", "SCT", "Kidney"),
        modifier=("7771000", "SCT", "Left"),
        color=(200, 60, 40),
    ),
    Segment(value=4, name="Liver", category=ANATOMY, property_type=("10200004", "SCT", "Liver")),
    Segment(value=2, name="Spleen", category=ANATOMY, property_type=("78961009", "SCT", "Spleen")),
)
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True)
class Case:
    """A kind of source and how its labels are written; ``series`` chooses among several volumes."""

    source: Callable[[Path], None] | str
    options: Mapping[str, str] = field(default_factory=dict)
    series: str | None = None
    tilted: bool = False

    @property
    def real(self) -> bool:
        """Whether the source is a patient's: a folder of the shared data."""
        return isinstance(self.source, str)

    @property
    def label_map(self) -> bool:
        return self.options.get("segmentation_type") == "labelmap"

    @property
    def numbers(self) -> dict[str, int]:
        """The segment number that the file must give to each name."""
        return {
            segment.name: segment.value if self.label_map else number
            for number, segment in enumerate(SEGMENTS, start=1)
        }


LABEL_MAP = {"segmentation_type": "labelmap"}
REAL = "STS_Sarcoma/STS_025/MR_T1/image"
CASES = {
    "axial": Case(sources.axial_ct),
    "axial_deflated": Case(sources.axial_ct, {"compression": "deflated"}),
    "axial_label_map": Case(sources.axial_ct, {**LABEL_MAP, "compression": "none"}),
    "axial_label_map_deflated": Case(sources.axial_ct, {**LABEL_MAP, "compression": "deflated"}),
    "oblique": Case(sources.oblique_mr),
    "oblique_label_map_rle": Case(sources.oblique_mr, {**LABEL_MAP, "compression": "rle"}),
    "sagittal": Case(sources.sagittal_ct),
    "single": Case(sources.single_slice),
    "single_label_map": Case(sources.single_slice, LABEL_MAP),
    "second_of_two_echoes": Case(sources.two_echoes, series="1/2"),
    "enhanced_ct": Case(sources.enhanced_ct),
    "enhanced_ct_label_map": Case(sources.enhanced_ct, LABEL_MAP),
    "enhanced_mr": Case(sources.enhanced_mr),
    "tilted": Case(sources.tilted_ct, tilted=True),
    "real": Case(REAL),
    "real_label_map": Case(REAL, LABEL_MAP),
}
SOURCES = [name for name, case in CASES.items() if not case.options]
"""One case of each source; a structure set is written in one way."""


@dataclass(frozen=True)
class Made:
    """A segmentation object, a structure set of the same labels if the case is of :data:`SOURCES`, and the truth.

    ``labels`` is (column, row, slice) and ``lps_affine`` maps its voxels to LPS mm; ``frames`` are those of the
    source, in the order of the slices of ``labels``. ``source_files`` are the files that hold them, ``images`` all
    files of the source.
    """

    case: Case
    segmentation: Path
    structures: Path | None
    labels: np.ndarray
    lps_affine: np.ndarray
    images: list[Path]
    source_files: list[Path]
    frames: list[Frame]


def some_labels(shape) -> np.ndarray:
    """Labels 0, 1 and 2 in specks and single voxels, without any symmetry; the first slice and label 4 are empty."""
    rng = np.random.default_rng(0)
    columns, rows, slices = shape
    specks = rng.choice(3, size=(-(-columns // 3), -(-rows // 2), slices), p=[0.6, 0.2, 0.2])
    labels = specks.repeat(3, axis=0).repeat(2, axis=1)[:columns, :rows].astype(np.uint8)
    labels[rng.random(shape) < 0.01] = 2
    if slices > 1:
        labels[:, :, 0] = 0
    return labels


def bright_labels(array) -> np.ndarray:
    """The brightest parts of an image, with the ragged outlines and holes of tissue."""
    smooth = gaussian_filter(array, sigma=1)
    return np.digitize(smooth, np.quantile(smooth, [0.9, 0.97])).astype(np.uint8)


def make_objects(case: Case, folder: Path, images: Path) -> Made:
    """Write labels of a case on the images of a folder."""
    files = sorted(images.iterdir())
    if case.tilted:
        shape, lps_affine = _tilted_grid(files)
        labels, source_files = some_labels(shape), files
    else:
        reader = DicomSeriesReader(series=case.series)
        array, meta = reader.get_data(reader.read(images))
        labels = bright_labels(array) if case.real else some_labels(array.shape)
        lps_affine = LPS_TO_RAS @ meta["affine"]
        source_files = [Path(file) for file in meta["dicom_files"].split("\n")]
    arguments = {
        "affine": LPS_TO_RAS @ lps_affine,
        "source_files": files,
        "segments": SEGMENTS,
        "series": case.series,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        segmentation = write_segmentation(labels, path=folder / "seg.dcm", **arguments, **case.options)
        structures = None if case.options else write_rtstruct(labels, path=folder / "rs.dcm", **arguments)
    frames = in_slice_order([one for file in source_files for one in frames_of(file)], lps_affine, labels.shape[2])
    return Made(case, segmentation, structures, labels, lps_affine, files, source_files, frames)


def _tilted_grid(files: list[Path]) -> tuple[tuple[int, ...], np.ndarray]:
    """The sheared grid of the slices as they were acquired, from the feet up (PS3.3 C.7.6.2.1.1)."""
    slices = sorted((pydicom.dcmread(file) for file in files), key=lambda dataset: dataset.ImagePositionPatient[2])
    (first, *_, last), count = slices, len(slices)
    positions = [np.array(dataset.ImagePositionPatient, dtype=float) for dataset in (first, last)]
    between_rows, between_columns = map(float, first.PixelSpacing)
    orientation = np.array(first.ImageOrientationPatient, dtype=float)
    affine = np.eye(4)
    affine[:3, 0] = orientation[:3] * between_columns
    affine[:3, 1] = orientation[3:] * between_rows
    affine[:3, 2] = (positions[1] - positions[0]) / (count - 1)
    affine[:3, 3] = positions[0]
    return (first.Columns, first.Rows, count), affine


def in_slice_order(frames: list[Frame], lps_affine: np.ndarray, count: int) -> list[Frame]:
    """The frame at the place of each slice; every frame must be that of one slice."""
    assert len(frames) == count
    positions = np.array([frame.position for frame in frames])
    order = []
    for k in range(count):
        away = np.linalg.norm(positions - lps_affine[:3] @ (0, 0, k, 1), axis=1)
        assert away.min() < 0.01, "mm"
        order.append(int(away.argmin()))
    assert sorted(order) == list(range(count))
    return [frames[index] for index in order]
