"""Things that lie beside a sound series, or in folders below it."""

from __future__ import annotations

import copy

import pydicom
from dicom_altered.kind import add, same
from dicom_altered.slices import ct, save, set_pixels, uid
from pydicom import uid as classes
from pydicom.dataset import Dataset


def beside(name, sop_class, modality, **values):
    """The ``after`` that puts a DICOM object of another kind beside the series."""

    def after(folder):
        dataset = copy.deepcopy(ct()[0])
        for keyword in (
            "PixelData",
            "Rows",
            "Columns",
            "BitsAllocated",
            "BitsStored",
            "HighBit",
            "PixelRepresentation",
            "SamplesPerPixel",
            "PhotometricInterpretation",
            "PixelSpacing",
            "ImagePositionPatient",
            "ImageOrientationPatient",
            "RescaleSlope",
            "RescaleIntercept",
        ):
            delattr(dataset, keyword)
        dataset.SOPClassUID, dataset.SOPInstanceUID, dataset.Modality = sop_class, uid(name), modality
        dataset.SeriesInstanceUID, dataset.SeriesNumber = uid("series of", name), 99
        for keyword, value in values.items():
            setattr(dataset, keyword, value)
        if sop_class == classes.SegmentationStorage:
            _add_segment(dataset)
        if sop_class == classes.RTDoseStorage:
            _add_dose(dataset)
        save(dataset, folder / name)

    return after


def _add_segment(dataset):
    segment = Dataset()
    segment.SegmentNumber, segment.SegmentLabel, segment.SegmentAlgorithmType = 1, "Kidney", "MANUAL"
    dataset.SegmentSequence, dataset.SegmentationType = [segment], "BINARY"
    dataset.Rows, dataset.Columns, dataset.NumberOfFrames = 20, 24, 1
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 1
    dataset.HighBit = dataset.PixelRepresentation = 0
    dataset.PixelData = bytes(60)


def _add_dose(dataset):
    dataset.Rows, dataset.Columns, dataset.NumberOfFrames = 4, 4, 3
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.PixelSpacing = ["5", "5"]
    dataset.ImagePositionPatient, dataset.ImageOrientationPatient = ["0", "0", "0"], ["1", "0", "0", "0", "1", "0"]
    dataset.GridFrameOffsetVector, dataset.DoseGridScaling = ["0", "5", "10"], "0.001"
    set_pixels(dataset, list(range(48)))


def other_files(folder):
    (folder / "notes.txt").write_text("a note")
    (folder / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0" + bytes(600))
    (folder / "preview.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(200))
    (folder / "series.json").write_text("{}")


def hidden_copies(folder):
    """What macOS leaves beside each file on a foreign disk."""
    for path in list(folder.iterdir()):
        path.with_name(f"._{path.name}").write_bytes(b"\x00\x05\x16\x07" + bytes(300))


def directory(folder):
    """A DICOMDIR (PS3.3 F)."""
    dataset = Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = classes.ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = classes.MediaStorageDirectoryStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = uid("directory")
    dataset.FileSetID = "DISC"
    dataset.OffsetOfTheFirstDirectoryRecordOfTheRootDirectoryEntity = 0
    dataset.OffsetOfTheLastDirectoryRecordOfTheRootDirectoryEntity = 0
    dataset.FileSetConsistencyFlag = 0
    dataset.DirectoryRecordSequence = []
    dataset.save_as(folder / "DICOMDIR", enforce_file_format=True)


def nested(slices, folder):
    for number, dataset in enumerate(slices):
        save(dataset, folder / f"DISC{number % 2}" / f"S{number % 3}" / f"I{number}.dcm")


BESIDE = {
    "other_files_beside": ("text, a picture, JSON and a Thumbs.db beside the slices", other_files),
    "hidden_files_beside": ("hidden files of macOS beside the slices", hidden_copies),
    "dicomdir_beside": ("a DICOMDIR beside the slices", directory),
    "report_beside": (
        "a structured report (SR) beside the slices",
        beside("report.dcm", classes.BasicTextSRStorage, "SR", ContentSequence=[]),
    ),
    "rtstruct_beside": (
        "an RTSTRUCT beside the slices",
        beside("contours.dcm", classes.RTStructureSetStorage, "RTSTRUCT", StructureSetLabel="A"),
    ),
    "seg_beside": ("a segmentation (SEG) beside the slices", beside("seg.dcm", classes.SegmentationStorage, "SEG")),
    "dose_beside": ("an RT Dose beside the slices", beside("dose.dcm", classes.RTDoseStorage, "RTDOSE")),
    "presentation_beside": (
        "a presentation state (PR) beside the slices",
        beside("state.dcm", classes.GrayscaleSoftcopyPresentationStateStorage, "PR"),
    ),
}
for _name, (_text, _after) in BESIDE.items():
    add(_name, _text, same, after=_after)
add("nested_folders", "the slices in nested folders", same, write=nested)
add(
    "no_image",
    "a folder with a report alone",
    lambda slices: [],
    write=lambda slices, folder: None,
    after=BESIDE["report_beside"][1],
    refuse=r"(?i)no DICOM image",
)
add(
    "empty_folder",
    "an empty folder",
    lambda slices: [],
    write=lambda slices, folder: None,
    refuse=r"(?i)no DICOM image|holds no|empty",
)
add(
    "text_named_dcm",
    "a text file whose name ends in .dcm beside the slices",
    same,
    after=lambda folder: (folder / "zz.dcm").write_text("no image"),
    refuse=r"(?i)not DICOM",
    either=True,
)
