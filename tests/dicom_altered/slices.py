"""Sound series as lists of pydicom datasets, in order along their normal, and how they are written.

Each has a patient's name and ID that no message may show.
"""

from __future__ import annotations

import copy
import functools
from contextlib import contextmanager

import numpy as np
import pydicom
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, MRImageStorage, generate_uid

CANARY_NAME = "Canaryname^Zebedee"
CANARY_ID = "CANARYID4711"
CANARIES = ("canaryname", "zebedee", "canaryid")
ROWS, COLUMNS, COUNT = 20, 24, 9
STEP_MM = 3.0
AXIAL = (1, 0, 0, 0, 1, 0)


def uid(*parts) -> str:
    return generate_uid(entropy_srcs=["altered series", *map(str, parts)])


def ds(values):
    """Numbers as DS, which has 16 characters."""
    return [f"{float(value):.10g}" for value in values]


def stack(*, count=COUNT, rows=ROWS, columns=COLUMNS, orientation=AXIAL, spacing=(2.5, 2.0), seed=0):
    """A CT of random values of 12 bits; ``spacing`` is (between rows, between columns) in mm."""
    rng = np.random.default_rng(seed)
    cosines = np.array(orientation, dtype=float)
    normal = np.cross(cosines[:3], cosines[3:])
    slices = []
    for k in range(count):
        dataset = Dataset()
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        add_study(dataset)
        dataset.SOPInstanceUID = uid("instance", seed, k)
        dataset.InstanceNumber = k + 1
        dataset.ImagePositionPatient = ds(np.array([-21.5, -13.25, 40.75]) + k * STEP_MM * normal)
        dataset.ImageOrientationPatient = ds(cosines)
        dataset.PixelSpacing = ds(spacing)
        dataset.SliceThickness = f"{STEP_MM:g}"
        dataset.Rows, dataset.Columns = rows, columns
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType = "1", "-1024", "HU"
        set_pixels(dataset, rng.integers(0, 4096, (rows, columns)), signed=True)
        slices.append(dataset)
    return slices


def add_study(dataset) -> None:
    dataset.SOPClassUID = CTImageStorage
    dataset.PatientName, dataset.PatientID = CANARY_NAME, CANARY_ID
    dataset.PatientBirthDate = dataset.PatientSex = ""
    dataset.PatientPosition = "HFS"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = uid("study"), uid("series")
    dataset.FrameOfReferenceUID, dataset.PositionReferenceIndicator = uid("frame"), ""
    dataset.StudyID, dataset.SeriesNumber = "1", 1
    dataset.StudyDate = dataset.SeriesDate = dataset.AcquisitionDate = dataset.ContentDate = "20000101"
    dataset.StudyTime = dataset.SeriesTime = dataset.AcquisitionTime = dataset.ContentTime = "120000"
    dataset.AccessionNumber = dataset.ReferringPhysicianName = ""
    dataset.Manufacturer = "nobody"
    dataset.Modality = "CT"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.SeriesDescription = "Altered"
    dataset.KVP, dataset.AcquisitionNumber = "120", 1


def set_pixels(dataset, values, *, bits=16, stored=None, signed=False) -> None:
    dataset.BitsAllocated, dataset.BitsStored = bits, stored or bits
    dataset.HighBit, dataset.PixelRepresentation = dataset.BitsStored - 1, int(signed)
    dataset.PixelData = np.asarray(values).astype(f"<{'i' if signed else 'u'}{bits // 8}").tobytes()


def pixels(dataset):
    """The stored values of a slice of :func:`stack`, 0 to 4095."""
    return np.frombuffer(dataset.PixelData, "<u2").reshape(dataset.Rows, dataset.Columns)


def ct():
    return stack()


def mr():
    """An MR image without any rescaling."""
    slices = stack(seed=1)
    for dataset in slices:
        dataset.SOPClassUID, dataset.Modality = MRImageStorage, "MR"
        dataset.EchoTime, dataset.RepetitionTime, dataset.EchoNumbers = "10", "500", 1
        dataset.ScanningSequence, dataset.SequenceVariant, dataset.ScanOptions = "SE", "NONE", ""
        dataset.MRAcquisitionType, dataset.EchoTrainLength = "2D", 1
        for keyword in ("RescaleSlope", "RescaleIntercept", "RescaleType", "KVP"):
            delattr(dataset, keyword)
    return slices


@functools.cache
def _real(folder):
    slices = [pydicom.dcmread(path) for path in sorted(folder.glob("*.dcm"))]
    normal = np.cross(*np.reshape(slices[0].ImageOrientationPatient, (2, 3)).astype(float))
    slices.sort(key=lambda dataset: float(np.dot(np.array(dataset.ImagePositionPatient, dtype=float), normal)))
    middle = max(len(slices) // 2 - 5, 0)
    return slices[middle : middle + 10]


def real(data, patient, modality):
    """Ten slices of a real series with the canary for a patient, or None where the data is absent."""
    folder = None if data is None else data / "STS_Sarcoma" / patient / modality / "image"
    if folder is None or not folder.is_dir():
        return None
    slices = copy.deepcopy(_real(folder))
    for dataset in slices:
        dataset.PatientName, dataset.PatientID = CANARY_NAME, CANARY_ID
    return slices


def set_raw(dataset, keyword, text, vr="DS") -> None:
    """Set an element to bytes that pydicom would not write of itself."""
    value = text.encode()
    value += b" " * (len(value) % 2)
    tag = tag_for_keyword(keyword)
    dataset[tag] = RawDataElement(pydicom.tag.Tag(tag), vr, len(value), value, 0, False, True)


def move(dataset, by_mm) -> None:
    at = np.array([float(value) for value in dataset.ImagePositionPatient])
    dataset.ImagePositionPatient = ds(at + by_mm)


def other_instance(dataset, *parts):
    """A copy with a SOPInstanceUID of its own."""
    again = copy.deepcopy(dataset)
    again.SOPInstanceUID = uid("other", dataset.SOPInstanceUID, *parts)
    return again


def other_pixels(dataset, *parts):
    """A copy with a SOPInstanceUID and pixels of its own."""
    again = other_instance(dataset, *parts)
    size = len(dataset.PixelData) // (dataset.BitsAllocated // 8)
    values = np.frombuffer(dataset.PixelData, f"<u{dataset.BitsAllocated // 8}")[:size]
    again.PixelData = values[::-1].tobytes()
    return again


@contextmanager
def unchecked():
    """Let pydicom write values that break the standard."""
    settings = pydicom.config.settings
    before = settings.writing_validation_mode
    settings.writing_validation_mode = pydicom.config.IGNORE
    try:
        yield
    finally:
        settings.writing_validation_mode = before


def save(dataset, path, **how) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    with unchecked():
        dataset.save_as(path, enforce_file_format=True, **how)


def write(slices, folder) -> None:
    """Write a file per slice; the names do not follow the positions."""
    names = np.random.default_rng(5).permutation(len(slices))
    for dataset, name in zip(slices, names, strict=True):
        save(dataset, folder / f"IM{name:04d}.dcm")
