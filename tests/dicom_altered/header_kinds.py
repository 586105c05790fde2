"""Alterations of what a header says that is neither geometry nor pixels, and of names and values of text."""

from __future__ import annotations

import numpy as np
from dicom_altered.kind import add, kind, set_all
from dicom_altered.slices import ds, mr, other_instance, save, set_raw, stack, uid
from pydicom.uid import CTImageStorage

PATIENT = r"(?i)two patients|different patients"


def named(slices, folder, *, form="{:03d}.dcm", reverse=False):
    for number, dataset in enumerate(reversed(slices) if reverse else slices):
        save(dataset, folder / form.format(number))


def by_uid(slices, folder):
    for dataset in slices:
        save(dataset, folder / dataset.SOPInstanceUID)


def with_copy(slices, folder, *, same):
    named(slices, folder)
    save(slices[4] if same else other_instance(slices[4]), folder / "copy.dcm")


def without_class(slices, folder):
    for number, dataset in enumerate(slices):
        del dataset.SOPClassUID
        dataset.file_meta.MediaStorageSOPClassUID = CTImageStorage
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.save_as(folder / f"{number}.dcm", enforce_file_format=True)


@kind("nothing is altered: a sound CT")
def sound_ct(slices):
    pass


@kind("nothing is altered: a sound MR without any rescaling", source=mr)
def sound_mr(slices):
    pass


@kind("file names in the reverse order of the positions", write=lambda s, folder: named(s, folder, reverse=True))
def names_reversed(slices):
    pass


@kind("file names without a suffix", write=lambda s, folder: named(s, folder, form="I{:03d}"))
def names_without_suffix(slices):
    pass


@kind("file names that end in .IMA", write=lambda s, folder: named(s, folder, form="{:03d}.IMA"))
def names_ima(slices):
    pass


@kind("file names that are UIDs, whose last part looks like a suffix", write=by_uid)
def names_uid(slices):
    pass


@kind("InstanceNumber runs against the positions")
def instance_number_reversed(slices):
    for number, dataset in enumerate(reversed(slices), start=1):
        dataset.InstanceNumber = number


@kind("InstanceNumber in no order")
def instance_number_random(slices):
    for number, dataset in zip((4, 9, 1, 7, 3, 8, 2, 6, 5), slices, strict=True):
        dataset.InstanceNumber = number


add("instance_number_equal", "InstanceNumber is 1 in all slices", set_all("InstanceNumber", 1))
add("instance_number_missing", "no InstanceNumber", set_all("InstanceNumber", None))
add("slice_thickness_wrong", "SliceThickness 7.5 mm where the step is 3 mm", set_all("SliceThickness", "7.5"))
add("slice_thickness_missing", "no SliceThickness", set_all("SliceThickness", None))
add("spacing_between_wrong", "SpacingBetweenSlices 5 mm where the step is 3 mm", set_all("SpacingBetweenSlices", "5"))
add("spacing_between_zero", "SpacingBetweenSlices 0", set_all("SpacingBetweenSlices", "0"))
add(
    "spacing_between_negative",
    "SpacingBetweenSlices -3 mm, as some MR scanners write",
    set_all("SpacingBetweenSlices", "-3"),
)


@kind("SliceLocation runs against the positions")
def slice_location_wrong(slices):
    for number, dataset in enumerate(reversed(slices)):
        dataset.SliceLocation = f"{number * 7.25:g}"


add("frame_of_reference_missing", "no FrameOfReferenceUID in any slice", set_all("FrameOfReferenceUID", None))
add("patient_position_feet_first", "PatientPosition FFS: the positions count", set_all("PatientPosition", "FFS"))
add("imager_pixel_spacing", "ImagerPixelSpacing beside PixelSpacing", set_all("ImagerPixelSpacing", ["1.1", "1.2"]))


@kind("two frames of reference in one series", refuse=r"(?i)frames? of reference")
def two_frames_of_reference(slices):
    for dataset in slices[5:]:
        dataset.FrameOfReferenceUID = uid("another frame")


@kind("two patients in one folder", refuse=PATIENT)
def two_patients(slices):
    others = stack(seed=3)
    for dataset in others:
        dataset.PatientID, dataset.PatientName = "CANARYID9999", "Canaryname^Other"
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = uid("study 2"), uid("series 2")
    return slices + others


@kind("slices of two patients under one SeriesInstanceUID", refuse=PATIENT)
def two_patients_one_series(slices):
    for dataset in slices[4:]:
        dataset.PatientID, dataset.PatientName = "CANARYID9999", "Canaryname^Other"


@kind("two series in one folder and none named", refuse=r"2 image series")
def two_series(slices):
    others = stack(seed=4)
    for dataset in others:
        dataset.SeriesInstanceUID, dataset.SeriesNumber = uid("series 2"), 2
    return slices + others


@kind("no SeriesInstanceUID in any slice", refuse=r"SeriesInstanceUID", either=True)
def series_uid_missing(slices):
    for dataset in slices:
        del dataset.SeriesInstanceUID


@kind("one SOPInstanceUID at two positions", refuse=r"(?i)SOPInstanceUID", either=True)
def instance_uid_twice(slices):
    slices[6].SOPInstanceUID = slices[2].SOPInstanceUID


@kind("one slice twice, identical in all (a copy)", write=lambda s, folder: with_copy(s, folder, same=True))
def duplicate_copy(slices):
    pass


@kind("one slice twice with another SOPInstanceUID", write=lambda s, folder: with_copy(s, folder, same=False))
def duplicate_identical_pixels(slices):
    pass


@kind("DS values longer than 16 characters")
def long_numbers(slices):
    for dataset in slices:
        for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
            values = [float(value) for value in getattr(dataset, keyword)]
            set_raw(dataset, keyword, "\\".join(f"{value + 0.0:.22f}" for value in values))


@kind("numbers with blanks, plus signs and exponents")
def padded_numbers(slices):
    for dataset in slices:
        set_raw(dataset, "PixelSpacing", " 2.5E0 \\ +2.00 ")
        set_raw(dataset, "RescaleIntercept", "-1.024e+03 ")


@kind("private tags")
def private_tags(slices):
    for dataset in slices:
        block = dataset.private_block(0x0029, "SOMEBODY", create=True)
        block.add_new(0x10, "OB", bytes(range(256)))
        block.add_new(0x11, "LO", "private text")
        block.add_new(0x12, "FD", np.pi)


@kind("a description and a name with umlauts in Latin-1")
def umlauts(slices):
    for dataset in slices:
        dataset.SpecificCharacterSet = "ISO_IR 100"
        dataset.SeriesDescription, dataset.PatientName = "Schädel nativ Größe", "Canaryname^Zöe"


@kind("a name in Japanese (ISO 2022 IR 87)")
def japanese(slices):
    for dataset in slices:
        dataset.SpecificCharacterSet = ["", "ISO 2022 IR 87"]
        dataset.PatientName = "Canaryname^Zebedee=山田^太郎"


@kind("a SpecificCharacterSet that does not exist")
def unknown_character_set(slices):
    for dataset in slices:
        set_raw(dataset, "SpecificCharacterSet", "ISO_IR 999", "CS")
        set_raw(dataset, "SeriesDescription", "Schädel", "LO")


@kind("a window (VOI LUT), which says how to show the values")
def window(slices):
    for dataset in slices:
        dataset.WindowCenter, dataset.WindowWidth = ds([40, 60]), ds([400, 80])


@kind("a real world value mapping beside the rescaling")
def world_values(slices):
    from pydicom.dataset import Dataset

    for dataset in slices:
        mapping, units = Dataset(), Dataset()
        units.CodeValue, units.CodingSchemeDesignator, units.CodeMeaning = "1", "UCUM", "no units"
        mapping.RealWorldValueFirstValueMapped, mapping.RealWorldValueLastValueMapped = 0, 4095
        mapping.RealWorldValueIntercept, mapping.RealWorldValueSlope = 5.0, 2.0
        mapping.LUTLabel, mapping.LUTExplanation = "A", "A"
        mapping.MeasurementUnitsCodeSequence = [units]
        dataset.RealWorldValueMappingSequence = [mapping]


@kind("no SOPClassUID but in the file meta information", write=without_class)
def sop_class_missing(slices):
    pass


@kind("no FrameOfReferenceUID in one slice")
def frame_of_reference_missing_in_one(slices):
    del slices[4].FrameOfReferenceUID


@kind("UIDs padded with blanks in some slices and with zeros in others")
def padded_uids(slices):
    for k, dataset in enumerate(slices):
        for keyword in ("SeriesInstanceUID", "FrameOfReferenceUID", "StudyInstanceUID"):
            set_raw(dataset, keyword, str(getattr(dataset, keyword)) + ("  ", "\0\0", "")[k % 3], "UI")


@kind("a name and an ID that some slices write with other capitals and blanks")
def patient_written_differently(slices):
    for dataset in slices[::2]:
        dataset.PatientName, dataset.PatientID = "CANARYNAME^ZEBEDEE", "CANARYID4711  "


@kind("a description of its own for each slice")
def description_per_slice(slices):
    for k, dataset in enumerate(slices):
        dataset.SeriesDescription = f"Slice {k}"
