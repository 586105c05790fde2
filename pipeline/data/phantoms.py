"""Seeded phantoms: small abdominal CT volumes with two labelled organs, for tests and demonstrations.

No patient is in them. Unlabelled structures have the intensities of the labelled ones, and noise makes the
intensities of all of them overlap: shape and place have to be learnt, a threshold does not find them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import nibabel
import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

if TYPE_CHECKING:
    import os

__all__ = ["PHANTOM_LABELS", "Phantom", "make_phantom", "write_phantom_dicom", "write_phantom_labels"]

Floats: TypeAlias = "np.ndarray[tuple[int, ...], np.dtype[np.float64]]"
Bools: TypeAlias = "np.ndarray[tuple[int, ...], np.dtype[np.bool_]]"

PHANTOM_LABELS = {1: "kidney", 2: "lesion"}

AIR_HU, FAT_HU, LESION_HU, TISSUE_HU, VESSEL_HU, BONE_HU = -1000.0, -100.0, -50.0, 45.0, 140.0, 350.0
NOISE_HU = 20.0
_INTERCEPT = -1024


@dataclass(frozen=True, eq=False)
class Phantom:
    """A labelled volume.

    ``image`` is float32 in HU and ``labels`` uint8 (see :data:`PHANTOM_LABELS`), both with axes (i, j, k):
    i to the patient's left, j to the back, k to the feet, which is the grid on which the series is read again.
    ``affine`` maps voxels to RAS mm.
    """

    seed: int
    image: np.ndarray[tuple[int, ...], np.dtype[np.float32]]
    labels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]
    spacing_mm: tuple[float, float, float]

    @property
    def affine(self) -> Floats:
        """The 4x4 affine from voxel (i, j, k) to RAS mm; the middle of the grid is the origin."""
        affine = np.diag([*(-step for step in self.spacing_mm), 1.0])
        affine[:3, 3] = [(size - 1) * step / 2 for size, step in zip(self.image.shape, self.spacing_mm, strict=True)]
        return affine


def make_phantom(
    seed: int,
    *,
    shape: tuple[int, int, int] = (64, 64, 32),
    spacing_mm: tuple[float, float, float] = (2.0, 2.0, 3.0),
) -> Phantom:
    """Make a phantom; the same arguments give the same voxels.

    Args:
        seed: decides on size, place, rotation, intensities and noise.
        shape: voxels along (i, j, k).
        spacing_mm: distance between voxels along (i, j, k).
    """
    rng = np.random.default_rng(seed)
    points = _points(shape, spacing_mm)
    image = np.full(shape, AIR_HU)
    body_mm = np.array([56, 44, 1000]) * rng.uniform(0.9, 1.0, 3)
    image[_ellipsoid(points, center_mm=(0, 0, 0), semi_axes_mm=body_mm)] = FAT_HU
    image[_ellipsoid(points, center_mm=(0, 0, 0), semi_axes_mm=body_mm - 6)] = TISSUE_HU + rng.normal(0, 5)
    _add_distractors(image, points, rng)

    side = rng.choice([-1, 1])
    kidney_center = np.array([side * 26, 6, 0]) + rng.uniform(-5, 5, 3)
    kidney = _ellipsoid(
        points,
        center_mm=kidney_center,
        semi_axes_mm=np.array([13, 16, 26]) * rng.uniform(0.85, 1.15, 3),
        rotation=_rotation(rng),
    )
    lesion_center = np.array([-side * 24, -4, 0]) + rng.uniform(-7, 7, 3) * (1, 1, 2)
    lesion = _ellipsoid(points, center_mm=lesion_center, semi_axes_mm=rng.uniform(12, 17) * rng.uniform(0.95, 1.05, 3))

    image[kidney] = VESSEL_HU + rng.normal(0, 8)
    image[lesion] = LESION_HU + rng.normal(0, 6)
    labels = np.zeros(shape, dtype=np.uint8)
    labels[kidney], labels[lesion] = 1, 2
    image += 10 * _smooth_noise(rng, shape) * (image > AIR_HU) + rng.normal(0, NOISE_HU, shape)
    # Stored as whole numbers that 16 bits hold, as a scanner does.
    return Phantom(seed, np.clip(np.rint(image), _INTERCEPT, 3071).astype(np.float32), labels, spacing_mm)


def write_phantom_dicom(phantom: Phantom, folder: str | os.PathLike[str]) -> Path:
    """Write the image as a CT series, one file per slice, and return the folder.

    The names of the files do not follow the positions. The UIDs follow from the seed.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    names = np.random.default_rng(phantom.seed).permutation(phantom.image.shape[2])
    for k, name in enumerate(names):
        _ct_slice(phantom, k).save_as(folder / f"{name:04d}.dcm", enforce_file_format=True)
    return folder


def write_phantom_labels(phantom: Phantom, path: str | os.PathLike[str]) -> Path:
    """Write the labels as NIfTI on the grid of the series, and return the path."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nibabel.Nifti1Image(phantom.labels, phantom.affine)
    image.header.set_xyzt_units("mm")
    nibabel.save(image, path)
    return path


def _points(shape: tuple[int, int, int], spacing_mm: tuple[float, float, float]) -> Floats:
    """Return the place of each voxel in mm from the middle of the grid: (i, j, k, 3)."""
    axes = [(np.arange(size) - (size - 1) / 2) * step for size, step in zip(shape, spacing_mm, strict=True)]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)


def _ellipsoid(
    points: Floats,
    *,
    center_mm: tuple[float, float, float] | Floats,
    semi_axes_mm: tuple[float, float, float] | Floats,
    rotation: Floats | None = None,
) -> Bools:
    local = points - np.asarray(center_mm)
    if rotation is not None:
        local = local @ rotation
    inside: Bools = ((local / np.asarray(semi_axes_mm)) ** 2).sum(axis=-1) <= 1
    return inside


def _rotation(rng: np.random.Generator, most_degrees: float = 20.0) -> Floats:
    """Return a rotation about each axis in turn by at most some degrees."""
    rotation: Floats = np.eye(3)
    for axis, angle in enumerate(np.radians(rng.uniform(-most_degrees, most_degrees, 3))):
        one, other = (axis + 1) % 3, (axis + 2) % 3
        turn = np.eye(3)
        turn[[one, other], [one, other]] = np.cos(angle)
        turn[one, other], turn[other, one] = -np.sin(angle), np.sin(angle)
        rotation = rotation @ turn
    return rotation


def _add_distractors(image: Floats, points: Floats, rng: np.random.Generator) -> None:
    """Add what nothing labels: a spine, vessels as bright as the kidney, bubbles as dark as the lesion."""
    spine = np.array([0, 30, 0]) + rng.uniform(-3, 3, 3)
    image[_ellipsoid(points, center_mm=spine, semi_axes_mm=(10, 8, 1000))] = BONE_HU
    for x in (-8, 9):
        vessel = np.array([x, 12, 0]) + rng.uniform(-3, 3, 3)
        semi_axes_mm = (rng.uniform(4, 7), rng.uniform(4, 7), 1000)
        image[_ellipsoid(points, center_mm=vessel, semi_axes_mm=semi_axes_mm)] = VESSEL_HU + rng.normal(0, 8)
    for _ in range(4):
        center = rng.uniform((-30, -32, -40), (30, -18, 40))
        value = rng.choice([VESSEL_HU, LESION_HU])
        image[_ellipsoid(points, center_mm=center, semi_axes_mm=rng.uniform(3, 6, 3))] = value


def _smooth_noise(rng: np.random.Generator, shape: tuple[int, int, int], width: float = 4.0) -> Floats:
    """Return noise of unit variance, smooth over about ``width`` voxels (a Gaussian in the Fourier domain)."""
    squares = np.meshgrid(*(np.fft.fftfreq(size) ** 2 for size in shape), indexing="ij")
    low_pass = np.exp(-2 * (np.pi * width) ** 2 * sum(squares))
    noise: Floats = np.fft.ifftn(np.fft.fftn(rng.normal(size=shape)) * low_pass).real
    noise /= noise.std()
    return noise


def _uid(phantom: Phantom, *parts: object) -> str:
    return generate_uid(entropy_srcs=["medbundle phantom", str(phantom.seed), *map(str, parts)])


def _ct_slice(phantom: Phantom, k: int) -> Dataset:
    """Return slice k as a CT Image (PS3.3 A.3)."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = _uid(phantom, "instance", k)
    _add_patient_and_study(dataset, phantom)
    step_i, step_j, step_k = phantom.spacing_mm
    # The affine is in RAS; DICOM's positions are in LPS (PS3.3 C.7.6.2.1.1).
    x, y, z = (phantom.affine @ (0, 0, k, 1))[:3] * (-1, -1, 1)
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.AcquisitionNumber = 1
    dataset.InstanceNumber = k + 1
    dataset.ImagePositionPatient = [f"{value:.6f}" for value in (x, y, z)]
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.PixelSpacing = [step_j, step_i]
    dataset.SliceThickness = step_k
    dataset.KVP = 120
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Columns, dataset.Rows = phantom.image.shape[:2]
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit = 15
    dataset.PixelRepresentation = 1
    dataset.RescaleIntercept = _INTERCEPT
    dataset.RescaleSlope = 1
    dataset.RescaleType = "HU"
    dataset.WindowCenter, dataset.WindowWidth = 40, 400
    # (i, j) = (column, row) becomes DICOM's rows of columns.
    dataset.PixelData = (phantom.image[:, :, k].T - _INTERCEPT).astype("<i2").tobytes()
    return dataset


def _add_patient_and_study(dataset: Dataset, phantom: Phantom) -> None:
    dataset.PatientName = "Phantom^001"
    dataset.PatientID = f"PHANTOM{phantom.seed}"
    dataset.PatientBirthDate = dataset.PatientSex = ""
    dataset.PatientPosition, dataset.BodyPartExamined = "HFS", "ABDOMEN"
    dataset.StudyInstanceUID = _uid(phantom, "study")
    dataset.StudyID = "1"
    dataset.StudyDate = dataset.SeriesDate = dataset.ContentDate = "20000101"
    dataset.StudyTime = dataset.SeriesTime = dataset.ContentTime = "120000"
    dataset.AccessionNumber = dataset.ReferringPhysicianName = ""
    dataset.Modality = "CT"
    dataset.SeriesInstanceUID = _uid(phantom, "series")
    dataset.SeriesNumber = 1
    dataset.SeriesDescription = "Phantom"
    dataset.FrameOfReferenceUID = _uid(phantom, "frame of reference")
    dataset.PositionReferenceIndicator = ""
    dataset.Manufacturer = "medbundle"
