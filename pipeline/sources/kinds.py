"""What a file is, told from its content."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import pydicom
from pydicom import uid

from pipeline.errors import InputError

__all__ = [
    "IMAGE_SUFFIXES",
    "LABEL_CLASSES",
    "PICTURE_SUFFIXES",
    "VOLUME_SUFFIXES",
    "dicom_pictures",
    "images_in",
    "is_dicom",
    "is_image",
    "is_label_object",
    "is_picture",
    "label_file",
    "strip_suffix",
]


VOLUME_SUFFIXES = (".nii.gz", ".nii", ".hdr", ".mgz", ".mgh", ".nrrd", ".nhdr", ".mha", ".mhd")
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
IMAGE_SUFFIXES = VOLUME_SUFFIXES + PICTURE_SUFFIXES
_DICOM_PREAMBLE = 128
LABEL_CLASSES = {
    uid.RTStructureSetStorage,
    uid.SegmentationStorage,
    "1.2.840.10008.5.1.4.1.1.66.7",  # Label Map Segmentation
}
_PROJECTION_CLASSES = {  # which show a whole depth of the patient
    uid.ComputedRadiographyImageStorage,
    uid.DigitalXRayImageStorageForPresentation,
    uid.DigitalXRayImageStorageForProcessing,
    uid.DigitalMammographyXRayImageStorageForPresentation,
    uid.DigitalMammographyXRayImageStorageForProcessing,
    uid.DigitalIntraOralXRayImageStorageForPresentation,
    uid.DigitalIntraOralXRayImageStorageForProcessing,
}
_PICTURE_CLASSES = {  # whose images need no place in the patient
    uid.XRayAngiographicImageStorage,
    uid.XRayRadiofluoroscopicImageStorage,
    uid.UltrasoundImageStorage,
    uid.UltrasoundMultiFrameImageStorage,
    "1.2.840.10008.5.1.4.1.1.6",  # Ultrasound Image, retired
    uid.SecondaryCaptureImageStorage,
    uid.MultiFrameSingleBitSecondaryCaptureImageStorage,
    uid.MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
    uid.MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
    uid.MultiFrameTrueColorSecondaryCaptureImageStorage,
    uid.VLEndoscopicImageStorage,
    uid.VLMicroscopicImageStorage,
    uid.VLPhotographicImageStorage,
    uid.OphthalmicPhotography8BitImageStorage,
    uid.OphthalmicPhotography16BitImageStorage,
}
_PLACED = ["ImageOrientationPatient", "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"]


def strip_suffix(name: str) -> str:
    """A file's name without its image suffix: ``case_1.nii.gz`` is ``case_1``."""
    for suffix in (*IMAGE_SUFFIXES, ".dcm"):
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name


def is_dicom(path: Path) -> bool:
    """Whether a file says that it is DICOM, by the prefix after its preamble (PS3.10 section 7.1) or its suffix."""
    if path.suffix.lower() == ".dcm":
        return True
    if strip_suffix(path.name) != path.name or path.suffix.lower() in {".json", ".txt", ".csv", ".md"}:
        return False
    with path.open("rb") as file:
        file.seek(_DICOM_PREAMBLE)
        return file.read(4) == b"DICM"


def is_label_object(path: Path) -> bool:
    """Whether a file is a DICOM RTSTRUCT or SEG (PS3.4 B.5), which outlines what another file shows."""
    if not path.is_file() or not is_dicom(path):
        return False
    try:
        dataset = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["SOPClassUID"], force=True)
        return str(dataset.get("SOPClassUID")) in LABEL_CLASSES
    except Exception:  # noqa: BLE001 - the reader says later, by name, what is wrong with it
        return False


def dicom_pictures(path: Path) -> list[Path]:
    """The DICOM pictures at a path: radiographs, and ultrasound and others that have no place in the patient.

    Args:
        path: a file, or a folder, whose own files count.

    Returns:
        The files; none where the path also holds slices, which have such a place.
    """
    files = [path] if path.is_file() else sorted(path.iterdir()) if path.is_dir() else []
    pictures = []
    for file in files:
        kind = None if file.name.startswith(".") or not file.is_file() else _dicom_image(file)
        if kind == "slice":
            return []
        if kind == "picture":
            pictures.append(file)
    return pictures


def is_picture(path: str | Path) -> bool:
    """Whether an image is a picture, by its name, or one DICOM picture: see :func:`dicom_pictures`."""
    return str(path).lower().endswith(PICTURE_SUFFIXES) or len(dicom_pictures(Path(path))) == 1


def label_file(path: Path) -> Path:
    """The RTSTRUCT or SEG in a folder; the path itself where it is no such folder.

    Raises:
        InputError: the folder holds several.
    """
    if not path.is_dir():
        return path
    found = [file for file in sorted(path.iterdir()) if not file.name.startswith(".") and is_label_object(file)]
    if len(found) > 1:
        raise InputError(
            f"holds {len(found)} label objects", where=path, expected="one RTSTRUCT or SEG", cure="Leave one of them"
        )
    return found[0] if found else path


def is_image(path: Path) -> bool:
    """Whether a file's name is that of a volume or a picture."""
    return path.is_file() and not path.name.startswith(".") and path.name.lower().endswith(IMAGE_SUFFIXES)


def images_in(folder: Path) -> Iterable[Path]:
    """The images directly in a folder; the folder itself when it holds DICOM slices or one DICOM picture."""
    files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    images = [path for path in files if is_image(path)]
    if images:
        return images
    pictures = dicom_pictures(folder)
    if len(pictures) > 1:
        return pictures
    return [folder] if pictures or any(_dicom_image(path) for path in files) else []


def _dicom_image(path: Path) -> Literal["picture", "slice"] | None:
    """What DICOM image a file is; RTSTRUCT, SR and the like have no Rows and are none.

    An unreadable file counts as a slice: the reader says later, by name, what is wrong with it.
    """
    if not is_dicom(path):
        return None
    try:
        tags = ["SOPClassUID", "Rows", *_PLACED]
        header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=tags, force=True)
        if "Rows" not in header:
            return None
        kind = str(header.get("SOPClassUID"))
        placed = any(tag in header for tag in _PLACED)
    except Exception:  # noqa: BLE001 - see above
        return "slice"
    return "picture" if kind in _PROJECTION_CLASSES or (kind in _PICTURE_CLASSES and not placed) else "slice"
