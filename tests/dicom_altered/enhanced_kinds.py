"""Enhanced multi-frame images and legacy converted ones, sound and altered."""

from __future__ import annotations

import highdicom
from dicom_altered.enhanced import enhanced, write_enhanced
from dicom_altered.kind import add, same
from dicom_altered.slices import ct, ds, mr, save, stack, uid
from pydicom.uid import ExplicitVRLittleEndian, RLELossless

SHUFFLED = (3, 0, 8, 5, 1, 7, 2, 6, 4)
OBLIQUE = (0.8, 0.48, -0.36, -0.6, 0.64, -0.48)
NOT_ONE = r"(?i)not one evenly spaced volume|"


def own_rescaling(slices):
    for k, dataset in enumerate(slices):
        dataset.RescaleSlope, dataset.RescaleIntercept = f"{0.0137 * (k + 1):.10g}", f"{-3.25 * k:.10g}"


def mr_with_rescaling():
    slices = mr()
    for dataset in slices:
        dataset.RescaleSlope, dataset.RescaleIntercept = "2", "0"
    return slices


def oblique_mr():
    slices = mr()
    for dataset, turned in zip(slices, stack(orientation=OBLIQUE), strict=True):
        dataset.ImagePositionPatient = turned.ImagePositionPatient
        dataset.ImageOrientationPatient = turned.ImageOrientationPatient
    return slices


def write_rle(slices, folder):
    dataset = enhanced(slices)
    dataset.compress(RLELossless, generate_instance_uid=False)
    save(dataset, folder / "enhanced.dcm")


add("enhanced_ct", "an enhanced CT", same, write=write_enhanced())
add("enhanced_mr", "an enhanced MR", same, source=mr, write=write_enhanced())
add(
    "enhanced_mr_rescaled",
    "an enhanced MR with a rescale slope",
    same,
    source=mr_with_rescaling,
    write=write_enhanced(),
)
add("enhanced_oblique", "an oblique enhanced MR", same, source=oblique_mr, write=write_enhanced())
add("enhanced_shuffled_ct", "an enhanced CT whose frames are in no order", same, write=write_enhanced(order=SHUFFLED))
add(
    "enhanced_shuffled_mr",
    "an enhanced MR whose frames are in no order",
    same,
    source=mr,
    write=write_enhanced(order=SHUFFLED),
)
add(
    "enhanced_per_frame",
    "an enhanced CT with all groups written for each frame",
    same,
    write=write_enhanced(shared=False, order=SHUFFLED),
)
add(
    "enhanced_rescale",
    "an enhanced CT with a rescaling of its own for each frame",
    own_rescaling,
    write=write_enhanced(shared=False),
)
add("enhanced_one_frame", "an enhanced CT of one frame", lambda slices: slices[4:5], write=write_enhanced())
add("enhanced_rle", "an enhanced CT, RLE", same, write=write_rle)
add(
    "enhanced_missing_frame",
    "an enhanced CT that lacks a frame inside",
    lambda slices: slices[:4] + slices[5:],
    write=write_enhanced(),
    refuse=NOT_ONE + "missing",
)


# Several files


def concatenation(slices, folder):
    """Two instances of one concatenation (PS3.3 C.7.6.16.1)."""
    offset = 0
    for number, part in enumerate((slices[:5], slices[5:]), start=1):
        dataset = enhanced(part)
        dataset.SOPInstanceUID, dataset.InstanceNumber = uid("part", number), 1
        dataset.ConcatenationUID = uid("concatenation")
        dataset.SOPInstanceUIDOfConcatenationSource = uid("source")
        dataset.InConcatenationNumber, dataset.InConcatenationTotalNumber = number, 2
        dataset.ConcatenationFrameOffsetNumber = offset
        offset += len(part)
        save(dataset, folder / f"part{number}.dcm")


def two_images(slices, folder):
    for number, part in enumerate((slices[:5], slices[5:])):
        dataset = enhanced(part)
        dataset.SeriesInstanceUID, dataset.SOPInstanceUID = uid("series", number), uid("image", number)
        save(dataset, folder / f"image{number}.dcm")


def one_of_two(slices, folder):
    concatenation(slices, folder)
    (folder / "part2.dcm").unlink()


def slice_beside(slices, folder):
    dataset = enhanced(slices)
    save(dataset, folder / "enhanced.dcm")
    save(slices[0], folder / "slice.dcm")


add(
    "enhanced_concatenation",
    "a concatenation of two instances",
    same,
    write=concatenation,
    refuse=r"(?i)concatenat|another file in one series",
    either=True,
)
add(
    "enhanced_half_concatenation",
    "one of the two instances of a concatenation",
    same,
    write=one_of_two,
    refuse=r"(?i)concatenat|incomplete|missing",
)
add("enhanced_two_series", "two enhanced images of different series", same, write=two_images, refuse=r"2 image series")
add(
    "enhanced_and_slice",
    "an enhanced image and a single slice in one series",
    same,
    write=slice_beside,
    refuse=r"(?i)multi-?frame|2 image series",
)


# Legacy converted


def legacy(name):
    def write(slices, folder):
        kind = getattr(highdicom.legacy, name)
        image = kind(slices, uid("legacy series"), 9, uid("legacy"), 1, transfer_syntax_uid=ExplicitVRLittleEndian)
        folder.mkdir(parents=True, exist_ok=True)
        image.save_as(folder / "legacy.dcm")

    return write


def pet():
    slices = ct()
    for k, dataset in enumerate(slices):
        dataset.SOPClassUID, dataset.Modality = "1.2.840.10008.5.1.4.1.1.128", "PT"
        dataset.Units, dataset.CountsSource, dataset.SeriesType = "BQML", "EMISSION", ["WHOLE BODY", "IMAGE"]
        dataset.DecayCorrection, dataset.CollimatorType = "START", "NONE"
        dataset.RescaleSlope, dataset.RescaleIntercept = ds([0.00123457 * (k + 1)])[0], "0"
        dataset.NumberOfSlices, dataset.ImageIndex = len(slices), k + 1
        dataset.PatientName, dataset.PatientID = slices[0].PatientName, slices[0].PatientID
    return slices


add("legacy_ct", "a legacy converted enhanced CT", same, write=legacy("LegacyConvertedEnhancedCTImage"))
add("legacy_mr", "a legacy converted enhanced MR", same, source=mr, write=legacy("LegacyConvertedEnhancedMRImage"))
add(
    "legacy_pet",
    "a legacy converted enhanced PET with a slope per slice",
    same,
    source=pet,
    write=legacy("LegacyConvertedEnhancedPETImage"),
)
