"""Enhanced multi-frame images (PS3.3 A.38 and A.36) made from single slices by pydicom alone."""

from __future__ import annotations

import copy

from dicom_altered.slices import save, uid
from pydicom.dataset import Dataset
from pydicom.uid import EnhancedCTImageStorage, EnhancedMRImageStorage

PER_FRAME = (
    "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness", "RescaleSlope",
    "RescaleIntercept", "RescaleType", "PixelData", "InstanceNumber", "EchoTime",
)  # fmt: skip


def group(**values):
    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return [item]


def measures(dataset):
    return group(PixelSpacing=dataset.PixelSpacing, SliceThickness=dataset.SliceThickness)


def transformation(dataset):
    return group(
        RescaleSlope=dataset.get("RescaleSlope", "1"),
        RescaleIntercept=dataset.get("RescaleIntercept", "0"),
        RescaleType=dataset.get("RescaleType", "US"),
    )


def enhanced(slices, *, shared=True):
    """One multi-frame image of the slices in their order.

    Where ``shared`` is false, spacing, orientation and rescaling are written for each frame.
    """
    dataset = copy.deepcopy(slices[0])
    for keyword in PER_FRAME:
        if keyword in dataset:
            delattr(dataset, keyword)
    is_mr = dataset.Modality == "MR"
    dataset.SOPClassUID = EnhancedMRImageStorage if is_mr else EnhancedCTImageStorage
    dataset.SOPInstanceUID, dataset.InstanceNumber = uid("enhanced", slices[0].SOPInstanceUID), 1
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    dataset.NumberOfFrames = len(slices)
    dataset.DimensionOrganizationSequence = group(DimensionOrganizationUID=uid("dimensions"))
    dataset.DimensionIndexSequence = [
        group(
            DimensionOrganizationUID=uid("dimensions"),
            DimensionIndexPointer=pointer,
            FunctionalGroupPointer=0x00209111,
        )[0]
        for pointer in (0x00209056, 0x00209057)  # Stack ID, In-Stack Position Number
    ]
    dataset.SharedFunctionalGroupsSequence = [_functional(slices[0])] if shared else [Dataset()]
    dataset.PerFrameFunctionalGroupsSequence = [
        _frame(one, number, shared=shared) for number, one in enumerate(slices, start=1)
    ]
    dataset.PixelData = b"".join(one.PixelData for one in slices)
    return dataset


def _functional(dataset):
    groups = Dataset()
    groups.PixelMeasuresSequence = measures(dataset)
    groups.PlaneOrientationSequence = group(ImageOrientationPatient=dataset.ImageOrientationPatient)
    groups.PixelValueTransformationSequence = transformation(dataset)
    return groups


def _frame(dataset, number, *, shared):
    groups = Dataset() if shared else _functional(dataset)
    groups.FrameContentSequence = group(
        StackID="1", InStackPositionNumber=number, DimensionIndexValues=[1, number], FrameAcquisitionNumber=1
    )
    groups.PlanePositionSequence = group(ImagePositionPatient=dataset.ImagePositionPatient)
    return groups


def frame(dataset, number):
    return dataset.PerFrameFunctionalGroupsSequence[number]


def write_enhanced(change=None, *, shared=True, order=None):
    """The ``write`` that makes one enhanced image, reorders its frames and lets ``change`` alter it."""

    def write(slices, folder):
        ordered = list(slices) if order is None else [slices[k] for k in order]
        dataset = enhanced(ordered, shared=shared)
        if change is not None:
            change(dataset)
        save(dataset, folder / "enhanced.dcm")

    return write
