"""Labels out as an RT Structure Set (PS3.3 A.19)."""

from __future__ import annotations

import datetime as dt
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydicom.config import disable_value_validation
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ImplicitVRLittleEndian, RTStructureSetStorage, generate_uid
from scipy.ndimage import find_objects

import pipeline
from pipeline.dicom.elements import READ_ERRORS
from pipeline.dicom.segment import Algorithm, value_in_words
from pipeline.dicom.writing.contours import slice_contours
from pipeline.dicom.writing.derived import (
    ANATOMICAL_STRUCTURES,
    copy_patient_and_study,
    labels_on_slices,
    source_headers,
)
from pipeline.errors import InputError
from pipeline.metrics.regions import voxel_ml
from pipeline.writing import whole_file

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from pipeline.dicom.labels.grid import Bools, Floats, Labels
    from pipeline.dicom.reading.geometry import Stack
    from pipeline.dicom.reading.header import Header
    from pipeline.dicom.segment import Code, Segment

__all__ = ["write_rtstruct"]

DECIMALS_MM = 4
"""Of a coordinate; with them it stays within the 16 characters of a DS value (PS3.5 6.2)."""

_SHORT_STRING = 16  # the most characters of an SH value
_DETACHED_STUDY_MANAGEMENT = "1.2.840.10008.3.1.2.3.1"  # the retired class that C.8.8.5 has for studies


def write_rtstruct(
    labels: Labels,
    *,
    affine: Floats,
    source_files: Sequence[str | os.PathLike[str]],
    segments: Sequence[Segment],
    path: str | os.PathLike[str],
    series: str | None = None,
    algorithm: Algorithm | None = None,
    series_description: str = "Structures",
    series_number: int = 1001,
) -> Path:
    """Write labels as an RTSTRUCT: closed planar contours on each slice of their source images.

    Filling the contours at the centres of the source's pixels by exclusive or, as :func:`pipeline.dicom.read_rtstruct`
    does, gives the labels again, voxel by voxel; and their area x the distance of the slices is the volume of those
    voxels (see :func:`pipeline.dicom.writing.contours.slice_contours`). Holes are CLOSED_PLANAR contours of their own
    within the outer ones and run the other way about, which even-odd and winding rules both take for holes. A reader
    that takes the union of contours fills them; no keyholes are cut, which such readers would need (C.8.8.6.3).

    Every segment is described, empty or not; the ROI numbers are the label values. The ROIs have not been approved.
    The file appears whole or not at all.

    Args:
        labels: uint8, as :class:`pipeline.dicom.DicomSeriesReader` gives the image, or turned or cut out of its grid.
        affine: 4x4, voxel (i, j, k) to RAS mm; it must put each voxel on a voxel of the source images, see
            :func:`pipeline.dicom.writing.placement.place`. For tilted slices it is sheared.
        source_files: the files of the source series, in any order.
        segments: what each label value means.
        path: the file to write; an older one is replaced.
        series: which series or volume of ``source_files``, where they hold several, as :func:`pipeline.dicom.choose`
            takes it.
        algorithm: who made the segments; medbundle itself when absent.
        series_description: of the new series.
        series_number: of the new series.

    Returns:
        The path of the file.

    Raises:
        InputError: the voxels are not those of the source images, a label is not described, the source images have no
            frame of reference, or the file cannot be written.
    """
    stack, placed = labels_on_slices(labels, affine=affine, source_files=source_files, segments=segments, series=series)
    path, algorithm = Path(path), algorithm or Algorithm()
    # The source's own oddities, such as a value that is too long, are copied and not ours to warn about, and a warning
    # may quote the value.
    with disable_value_validation(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            dataset = _structure_set(stack, algorithm)
        except InputError:
            raise
        except READ_ERRORS as error:
            raise InputError(
                "no structure set can refer to the source images: their headers lack what it must repeat",
                where=stack.headers[0].series_uid,
                got=type(error).__name__,
            ) from None
        dataset.SeriesDescription, dataset.SeriesNumber = series_description, series_number
        _add_rois(dataset, placed, stack, segments, ml=voxel_ml(affine))
        with whole_file(path) as temporary:
            dataset.save_as(temporary, enforce_file_format=True)
    return path


def _structure_set(stack: Stack, algorithm: Algorithm) -> Dataset:
    """Return the structure set without ROIs: patient, study, series, equipment and what it refers to."""
    frame = next((header.frame_of_reference_uid for header in stack.headers if header.frame_of_reference_uid), "")
    if not frame:
        raise InputError(
            "the source images have no FrameOfReferenceUID, so that nothing can be placed on them",
            where=stack.headers[0].name,
        )
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    # An explicit VR would hold no more than 65534 bytes of a contour.
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    dataset.SpecificCharacterSet = "ISO_IR 192"
    source = source_headers(stack, first_only=True)[0]
    copy_patient_and_study(source, dataset)
    now = dt.datetime.now()
    date, time = now.strftime("%Y%m%d"), now.strftime("%H%M%S")
    dataset.SOPClassUID, dataset.SOPInstanceUID = RTStructureSetStorage, generate_uid(prefix=None)
    dataset.InstanceCreationDate = dataset.StructureSetDate = dataset.SeriesDate = date
    dataset.InstanceCreationTime = dataset.StructureSetTime = dataset.SeriesTime = time
    dataset.InstanceNumber = 1
    dataset.Modality, dataset.SeriesInstanceUID = "RTSTRUCT", generate_uid(prefix=None)
    dataset.OperatorsName = ""
    dataset.Manufacturer, dataset.ManufacturerModelName = "medbundle", algorithm.name
    dataset.SoftwareVersions = pipeline.__version__
    dataset.FrameOfReferenceUID = frame
    dataset.PositionReferenceIndicator = source.get("PositionReferenceIndicator", "")
    dataset.StructureSetLabel = algorithm.name[:_SHORT_STRING]
    dataset.ApprovalStatus = "UNAPPROVED"
    dataset.StructureSetDescription = f"{algorithm.name} {algorithm.version}"
    dataset.ReferencedFrameOfReferenceSequence = [_referenced(stack, frame, str(source.StudyInstanceUID))]
    return dataset


def _referenced(stack: Stack, frame: str, study_uid: str) -> Dataset:
    """Return the frame of reference with the study, the series and the images in it."""
    files: dict[str, list[Header]] = {}
    for header in stack.headers:
        files.setdefault(header.sop_instance_uid, []).append(header)
    series = Dataset()
    series.SeriesInstanceUID = stack.headers[0].series_uid
    series.ContourImageSequence = [_image(*headers) for headers in files.values()]
    study = Dataset()
    study.ReferencedSOPClassUID, study.ReferencedSOPInstanceUID = _DETACHED_STUDY_MANAGEMENT, study_uid
    study.RTReferencedSeriesSequence = [series]
    item = Dataset()
    item.FrameOfReferenceUID = frame
    item.RTReferencedStudySequence = [study]
    return item


def _image(*headers: Header) -> Dataset:
    """Return a reference to a file, and to frames of it where it has several."""
    item = Dataset()
    item.ReferencedSOPClassUID = headers[0].sop_class_uid
    item.ReferencedSOPInstanceUID = headers[0].sop_instance_uid
    if headers[0].enhanced:
        item.ReferencedFrameNumber = [header.frame + 1 for header in headers]
    return item


def _add_rois(dataset: Dataset, labels: Labels, stack: Stack, segments: Sequence[Segment], *, ml: float) -> None:
    """Describe each segment, its contours and what it is."""
    dataset.StructureSetROISequence, dataset.ROIContourSequence = [], []
    dataset.RTROIObservationsSequence = []
    boxes = find_objects(labels, max_label=max(segment.value for segment in segments))
    for number, segment in enumerate(segments, start=1):
        box = boxes[segment.value - 1]
        slices = range(0) if box is None else range(box[2].start, box[2].stop)
        voxels = 0 if box is None else int(np.count_nonzero(labels[box] == segment.value))
        roi = Dataset()
        roi.ROINumber, roi.ROIName = segment.value, segment.name
        roi.ROIDescription = value_in_words(segment.value)  # the numbers of ROIs are anything elsewhere
        roi.ReferencedFrameOfReferenceUID = dataset.FrameOfReferenceUID
        roi.ROIVolume = f"{voxels * ml:.9g}"  # cm3
        roi.ROIGenerationAlgorithm = "AUTOMATIC"
        roi.ROIGenerationDescription = dataset.StructureSetDescription
        dataset.StructureSetROISequence.append(roi)
        contours = Dataset()
        contours.ReferencedROINumber = segment.value
        if segment.color is not None:
            contours.ROIDisplayColor = list(segment.color)
        items = [item for k in slices for item in _contours(labels[:, :, k] == segment.value, stack.headers[k])]
        for index, item in enumerate(items, start=1):
            item.ContourNumber = index
        if items:
            contours.ContourSequence = items
        dataset.ROIContourSequence.append(contours)
        dataset.RTROIObservationsSequence.append(_observation(number, segment))


def _contours(mask: Bools, header: Header) -> list[Dataset]:
    """Return the contours of a mask (column, row) on a slice."""
    between_rows, between_columns = header.pixel_spacing
    row, column = np.array(header.orientation[:3]), np.array(header.orientation[3:])
    steps = np.stack([row * between_columns, column * between_rows])
    items = []
    for contour in slice_contours(mask):
        points = np.array(header.position) + contour @ steps
        item = Dataset()
        item.ContourImageSequence = [_image(header)]
        item.ContourGeometricType = "CLOSED_PLANAR"
        item.NumberOfContourPoints = len(points)
        # As text: pydicom would make an object of each of a million numbers.
        text = "\\".join(f"{value:.{DECIMALS_MM}f}" for value in (np.round(points, DECIMALS_MM) + 0.0).ravel())
        item.add(DataElement("ContourData", "DS", text, already_converted=True))
        items.append(item)
    return items


def _observation(number: int, segment: Segment) -> Dataset:
    item = Dataset()
    item.ObservationNumber, item.ReferencedROINumber = number, segment.value
    item.ROIObservationLabel = segment.name[:_SHORT_STRING]
    code = _code(segment.property_type)
    if segment.modifier is not None:
        code.SegmentedPropertyTypeModifierCodeSequence = [_code(segment.modifier)]
    item.RTROIIdentificationCodeSequence = [code]
    item.RTROIInterpretedType = "ORGAN" if segment.category[0] in ANATOMICAL_STRUCTURES else ""
    item.ROIInterpreter = ""
    return item


def _code(code: Code) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code
    return item
