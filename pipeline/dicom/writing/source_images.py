"""The headers of source images as highdicom takes them, and references back to the frames that they are from.

An object that is made from images repeats their patient and study and refers to each of them. highdicom takes either
single-frame images or all frames of one multi-frame image; a volume may be some frames of one, or of several.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import numpy as np
from highdicom.enum import SpecificCharacterSetValues
from pydicom.dataset import Dataset
from pydicom.valuerep import format_number_as_ds

from pipeline.dicom.elements import first_item
from pipeline.dicom.writing.derived import source_headers
from pipeline.errors import InputError

if TYPE_CHECKING:
    from pipeline.dicom.reading.geometry import Stack

__all__ = ["refer_to_frames", "source_images"]


def source_images(stack: Stack, *, utf8: bool = False) -> list[Dataset]:
    """Return headers whose slices are those of a stack, in its order: one per file, or one multi-frame image.

    What the images must have in common is that of the first: the reader has judged that they differ by rounding alone.

    Args:
        stack: the slices.
        utf8: whether what is made of the images has texts that their character set may lack.

    Raises:
        InputError: the images have no FrameOfReferenceUID.
    """
    enhanced = stack.headers[0].enhanced
    images = [_multi_frame(stack)] if enhanced else source_headers(stack)
    frame_of_reference = next(filter(None, (header.frame_of_reference_uid for header in stack.headers)), None)
    if frame_of_reference is None:
        raise InputError(
            "the source images have no FrameOfReferenceUID, so that nothing can be placed on them",
            where=stack.headers[0].name,
        )
    for image, header in zip(images, stack.headers, strict=False):
        image.FrameOfReferenceUID = frame_of_reference
        if header.sop_class_uid and "SOPClassUID" not in image:  # the file's meta information has it, too
            image.SOPClassUID = header.sop_class_uid
        if not enhanced:
            image.ImageOrientationPatient = images[0].ImageOrientationPatient
            _set_spacing(image, stack)
    _set_characters(images[0], utf8=utf8)
    return images


def refer_to_frames(derived: Dataset, stack: Stack) -> None:
    """Let the frames of an object made from :func:`source_images` refer to the frames of the files.

    Args:
        derived: a multi-frame object whose frames refer to the slices of the stack by their number in it.
        stack: the slices of enhanced multi-frame images; of single-frame images there is nothing to do.
    """
    if not stack.headers[0].enhanced:
        return
    # highdicom lets all segments of one plane share one item.
    items = {
        id(source): source
        for groups in derived.PerFrameFunctionalGroupsSequence
        for image in groups.DerivationImageSequence
        for source in image.SourceImageSequence
    }
    for source in items.values():
        header = stack.headers[source.ReferencedFrameNumber - 1]
        source.ReferencedFrameNumber = header.frame + 1
        source.ReferencedSOPInstanceUID = header.sop_instance_uid
    instances = {header.sop_instance_uid: header.sop_class_uid for header in stack.headers}
    references = []
    for instance, sop_class in instances.items():
        reference = Dataset()
        reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = sop_class, instance
        references.append(reference)
    derived.SourceImageSequence = references
    derived.ReferencedSeriesSequence[0].ReferencedInstanceSequence = copy.deepcopy(references)


def _set_characters(image: Dataset, *, utf8: bool) -> None:
    """Have texts, which are decoded, written in UTF-8 where it must be, or highdicom does not know how they were."""
    stated = image.get("SpecificCharacterSet")
    values = [stated] if isinstance(stated, str) or stated is None else list(stated)
    known = {one.value for one in SpecificCharacterSetValues} | {None}
    if utf8 or not known.issuperset(values):
        image.SpecificCharacterSet = "ISO_IR 192"


def _set_spacing(measures: Dataset, stack: Stack) -> None:
    """Write the spacing that the positions tell: what a scanner notes beside them may be another."""
    first, last = stack.headers[0], stack.headers[-1]
    spacing_mm = first.slice_extent_mm
    measures.pop("SpacingBetweenSlices", None)
    if first is not last:
        normal = np.cross(first.orientation[:3], first.orientation[3:])
        along = np.subtract(last.position, first.position) @ normal / np.linalg.norm(normal)
        spacing_mm = abs(float(along)) / (len(stack.headers) - 1)
        measures.SpacingBetweenSlices = format_number_as_ds(spacing_mm)
    if not measures.get("SliceThickness"):  # which a segmentation must have (PS3.3 C.7.6.16.2.1)
        measures.SliceThickness = format_number_as_ds(float(spacing_mm))


def _multi_frame(stack: Stack) -> Dataset:
    """Return the first file's header as if its frames were the slices of the stack."""
    files = dict(zip(dict.fromkeys(header.path for header in stack.headers), source_headers(stack), strict=True))
    shared = Dataset()
    groups = []
    for header in stack.headers:
        dataset = files[header.path]
        own = dataset.PerFrameFunctionalGroupsSequence[header.frame]
        common = first_item(dataset, "SharedFunctionalGroupsSequence") or Dataset()
        frame = Dataset()
        frame.PlanePositionSequence = own.get("PlanePositionSequence") or common.PlanePositionSequence
        groups.append(frame)
        if header is stack.headers[0]:
            for keyword in ("PlaneOrientationSequence", "PixelMeasuresSequence"):
                setattr(shared, keyword, copy.deepcopy(own.get(keyword) or common[keyword].value))
    _set_spacing(shared.PixelMeasuresSequence[0], stack)
    image = files[stack.headers[0].path]
    image.NumberOfFrames = len(groups)
    image.SharedFunctionalGroupsSequence, image.PerFrameFunctionalGroupsSequence = [shared], groups
    return image
