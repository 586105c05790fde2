"""Image series of several kinds, and what a label object on them must say of each of their frames.

The frames of a source are known from its own headers, by pydicom alone.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from dicom_altered import slices as altered
from dicom_altered.enhanced import write_enhanced

from pipeline.data.phantoms import make_phantom, write_phantom_dicom

SAGITTAL = (0, 1, 0, 0, 0, -1)
OBLIQUE = (0.8, 0.48, -0.36, -0.6, 0.64, -0.48)


@dataclass(frozen=True)
class Frame:
    """A plane of a source image: its SOP instance, its number in it (from 1), and its place in LPS mm."""

    sop_instance_uid: str
    number: int
    position: tuple[float, ...]
    orientation: tuple[float, ...]
    pixel_spacing: tuple[float, float]


def frames_of(path: Path) -> list[Frame]:
    """The frames of an image file, in its own order."""
    dataset = pydicom.dcmread(path, stop_before_pixels=True)
    if "PerFrameFunctionalGroupsSequence" not in dataset:
        return [_frame(dataset.SOPInstanceUID, 1, dataset, dataset, dataset)]
    shared = dataset.SharedFunctionalGroupsSequence[0]
    return [
        _frame(
            dataset.SOPInstanceUID,
            number,
            groups.PlanePositionSequence[0],
            (groups if "PlaneOrientationSequence" in groups else shared).PlaneOrientationSequence[0],
            (groups if "PixelMeasuresSequence" in groups else shared).PixelMeasuresSequence[0],
        )
        for number, groups in enumerate(dataset.PerFrameFunctionalGroupsSequence, start=1)
    ]


def _frame(uid, number, position, orientation, measures) -> Frame:
    return Frame(
        str(uid),
        number,
        tuple(map(float, position.ImagePositionPatient)),
        tuple(map(float, orientation.ImageOrientationPatient)),
        tuple(map(float, measures.PixelSpacing)),
    )


def _named(slices, name):
    """Give a source a study and instances of its own, so that an archive holds all sources side by side."""
    for number, dataset in enumerate(slices):
        dataset.PatientName, dataset.PatientID = f"Source^{name}", name
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = altered.uid(name), altered.uid(name, "series")
        dataset.FrameOfReferenceUID = altered.uid(name, "frame")
        dataset.SOPInstanceUID = altered.uid(name, "instance", number)
    return slices


def axial_ct(folder: Path) -> None:
    write_phantom_dicom(make_phantom(7, shape=(24, 20, 9), spacing_mm=(2.0, 2.5, 3.0)), folder)


def single_slice(folder: Path) -> None:
    altered.write(_named(altered.stack(count=1, seed=3), "single"), folder)


def sagittal_ct(folder: Path) -> None:
    altered.write(_named(altered.stack(orientation=SAGITTAL, seed=4), "sagittal"), folder)


def oblique_mr(folder: Path) -> None:
    slices = _named(altered.mr(), "oblique")
    normal = np.cross(OBLIQUE[:3], OBLIQUE[3:])
    for k, dataset in enumerate(slices):
        dataset.ImageOrientationPatient = altered.ds(OBLIQUE)
        dataset.ImagePositionPatient = altered.ds(np.array([12.5, -40.25, 7.0]) + 3.2 * k * normal)
    altered.write(slices, folder)


def two_echoes(folder: Path) -> None:
    """Two volumes of one SeriesInstanceUID, each on the very positions of the other."""
    slices = _named(altered.mr(), "echoes")
    others = copy.deepcopy(slices)
    for number, dataset in enumerate(others):
        dataset.SOPInstanceUID = altered.uid("echoes", "second", number)
        dataset.EchoTime, dataset.EchoNumbers = "80", 2
        dataset.PixelData = dataset.PixelData[::-1]
    altered.write(slices + others, folder)


def enhanced_ct(folder: Path) -> None:
    """Its frames do not stand in the order of their positions."""
    slices = _named(altered.ct(), "enhanced ct")
    write_enhanced(order=[4, 0, 7, 2, 8, 1, 5, 3, 6])(slices, folder)


def enhanced_mr(folder: Path) -> None:
    write_enhanced(shared=False)(_named(altered.mr(), "enhanced mr"), folder)


def tilted_ct(folder: Path) -> None:
    """A gantry tilt of 12 degrees: the slices are not stacked along their normal."""
    slices = _named(altered.stack(seed=6), "tilted")
    for k, dataset in enumerate(slices):
        dataset.ImagePositionPatient = altered.ds((-21.5, -13.25 + 3 * k * np.tan(np.radians(12)), 40.75 + 3 * k))
        dataset.GantryDetectorTilt = "12"
    altered.write(slices, folder)
