"""Measurements of labels as a structured report (PS3.16 TID 1500)."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import highdicom
from highdicom import sr
from highdicom.sr.coding import CodedConcept
from pydicom.config import disable_value_validation
from pydicom.sr.coding import Code
from pydicom.uid import generate_uid

import pipeline
from pipeline.dicom.elements import READ_ERRORS, text
from pipeline.dicom.segment import Algorithm
from pipeline.dicom.writing.derived import ANATOMICAL_STRUCTURES, labels_on_slices, source_headers
from pipeline.dicom.writing.quantities import quantity
from pipeline.dicom.writing.report_regions import Outlines, Segments, values_on_slices
from pipeline.errors import InputError
from pipeline.metrics.regions import measure_regions, voxel_ml
from pipeline.writing import whole_file

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence
    from typing import Any

    from pydicom.dataset import Dataset

    from pipeline.dicom.labels.grid import Floats, Labels
    from pipeline.dicom.segment import Segment
    from pipeline.metrics.regions import Region

__all__ = ["write_measurement_report"]

SERIES_NUMBER = 1002

_LATERALITIES = {"7771000", "24028007", "51440002", "66459002"}  # PS3.16 CID 244
_PROCEDURES = {
    "CT": ("77477000", "SCT", "Computed tomography"),
    "MR": ("113091000", "SCT", "Magnetic resonance imaging"),
    "PT": ("82918005", "SCT", "Positron emission tomography"),
}
_ANY_PROCEDURE = ("363679005", "SCT", "Imaging procedure")

_VOLUME = Code("118565006", "SCT", "Volume")
_DIAMETER = Code("81827009", "SCT", "Diameter")
_LONG_AXIS = Code("103339001", "SCT", "Long axis")
_MEAN = Code("373098007", "SCT", "Mean")
_STANDARD_DEVIATION = Code("386136009", "SCT", "Standard Deviation")
_MAXIMUM = Code("56851009", "SCT", "Maximum")
_ML, _MM = Code("ml", "UCUM", "milliliter"), Code("mm", "UCUM", "millimeter")
_TITLE = Code("126000", "DCM", "Imaging Measurement Report")
_DEVICE = Code("121007", "DCM", "Device")


def write_measurement_report(
    labels: Labels,
    *,
    affine: Floats,
    source_files: Sequence[str | os.PathLike[str]],
    segments: Sequence[Segment],
    path: str | os.PathLike[str],
    series: str | None = None,
    algorithm: Algorithm | None = None,
    segmentation: str | os.PathLike[str] | None = None,
) -> Path:
    """Write a TID 1500 measurement report (Comprehensive 3D SR) with a volumetric group (TID 1411) per label.

    A group has the volume in ml; the mean and the standard deviation of the source images' values in HU (CT), without
    unit (MR) or in what PET images say, and neither for other modalities; the largest diameter between any two voxels;
    and the long axis, which is the largest diameter within a slice. They are those of
    :func:`pipeline.metrics.regions.measure_regions`. A label without voxels has no group; where no label has any, since
    a report needs a group, each has one without a region that says that its volume is 0.

    The region is the segment of a segmentation where that is given, else its outline on the source images. The file
    appears whole or not at all.

    Args:
        labels: uint8, as :class:`pipeline.dicom.DicomSeriesReader` gives the image, or turned or cut out of its grid.
        affine: 4x4, voxel (i, j, k) to RAS mm; see :func:`pipeline.dicom.writing.placement.place`.
        source_files: the files of the source series, in any order.
        segments: what each label value means.
        path: the file to write; an older one is replaced.
        series: which series or volume of ``source_files``, where they hold several, as :func:`pipeline.dicom.choose`
            takes it.
        algorithm: who made the segments; medbundle itself when absent.
        segmentation: the DICOM SEG of the same labels, as :func:`pipeline.dicom.write_segmentation` writes it.

    Returns:
        The path of the file.

    Raises:
        InputError: the voxels are not those of the source images, a label is not described, the segmentation is none
            or has no segment of a label's name, or the file cannot be written.
    """
    stack, placed = labels_on_slices(labels, affine=affine, source_files=source_files, segments=segments, series=series)
    path, algorithm = Path(path), algorithm or Algorithm()
    # highdicom's warning about a patient's name of one part would print that name, as others may.
    with disable_value_validation(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        headers = source_headers(stack)
        outlines = Outlines(stack) if segmentation is None else Segments(Path(segmentation), stack)
        kind = quantity(headers[0])
        regions = measure_regions(
            placed,
            affine=stack.ras_affine,
            values=[segment.value for segment in segments],
            image=None if kind is None else values_on_slices(stack),
        )
        groups = []
        for segment in segments:
            region = regions[segment.value]
            if region.voxels:
                measured = [*_sizes(region, voxel_ml(affine)), *_intensities(region, kind)]
                roi = outlines.region(placed == segment.value, segment)
                groups.append(_group(segment, measured, roi, algorithm))
        groups = groups or [_empty_group(segment, algorithm) for segment in segments]
        report = _report([*headers, *outlines.evidence], groups, algorithm)
        with whole_file(path) as temporary:
            report.save_as(temporary)
    return path


def _sizes(region: Region, ml: float) -> list[sr.Measurement]:
    """Return the volume and the diameters; ``ml`` is the volume of a voxel."""
    return [
        sr.Measurement(_VOLUME, region.voxels * ml, _ML),
        sr.Measurement(_DIAMETER, region.largest_diameter_mm, _MM, derivation=_MAXIMUM),
        sr.Measurement(_LONG_AXIS, region.long_axis_mm, _MM),
    ]


def _intensities(region: Region, kind: tuple[Code, Code] | None) -> list[sr.Measurement]:
    if kind is None or region.mean is None or region.standard_deviation is None:
        return []
    name, unit = kind
    return [
        sr.Measurement(name, region.mean, unit, derivation=_MEAN),
        sr.Measurement(name, region.standard_deviation, unit, derivation=_STANDARD_DEVIATION),
    ]


def _group(
    segment: Segment, measurements: Sequence[sr.Measurement], region: dict[str, Any], algorithm: Algorithm
) -> sr.VolumetricROIMeasurementsAndQualitativeEvaluations:
    return sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        measurements=measurements, **region, **_finding(segment, algorithm)
    )


def _empty_group(segment: Segment, algorithm: Algorithm) -> sr.MeasurementsAndQualitativeEvaluations:
    """Return a group without a region (TID 1501), of volume 0."""
    return sr.MeasurementsAndQualitativeEvaluations(
        measurements=[sr.Measurement(_VOLUME, 0.0, _ML)], **_finding(segment, algorithm)
    )


def _finding(segment: Segment, algorithm: Algorithm) -> dict[str, Any]:
    """Return what a group says about a segment: what was found, where and by whom."""
    sites = None
    if segment.category[0] in ANATOMICAL_STRUCTURES:
        modifier = None if segment.modifier is None else CodedConcept(*segment.modifier)
        lateral = modifier is not None and modifier.value in _LATERALITIES
        sites = [
            sr.FindingSite(
                CodedConcept(*segment.property_type),
                laterality=modifier if lateral else None,
                topographical_modifier=None if lateral else modifier,
            )
        ]
    return {
        "tracking_identifier": sr.TrackingIdentifier(uid=highdicom.UID(), identifier=segment.name),
        "finding_category": CodedConcept(*segment.category),
        "finding_type": CodedConcept(*segment.property_type),
        "finding_sites": sites,
        "algorithm_id": sr.AlgorithmIdentification(
            name=algorithm.name, version=algorithm.version, family=CodedConcept(*algorithm.family)
        ),
    }


def _report(
    evidence: Sequence[Dataset],
    groups: Sequence[Any],
    algorithm: Algorithm,
) -> sr.Comprehensive3DSR:
    device = sr.DeviceObserverIdentifyingAttributes(
        uid=generate_uid(prefix=None, entropy_srcs=["medbundle", algorithm.name, algorithm.version]),
        name=algorithm.name,
        manufacturer_name="medbundle",
        model_name=algorithm.name,
    )
    context = sr.ObserverContext(observer_type=_DEVICE, observer_identifying_attributes=device)
    content = sr.MeasurementReport(
        observation_context=sr.ObservationContext(observer_device_context=context),
        procedure_reported=CodedConcept(*_PROCEDURES.get(text(evidence[0], "Modality"), _ANY_PROCEDURE)),
        imaging_measurements=groups,
        title=_TITLE,
    )
    name, evidence[0].PatientName = evidence[0].PatientName, ""  # highdicom warns of a name that it doubts
    # The source's character set may not have the letters of a segment's name, nor be one that highdicom knows.
    evidence[0].SpecificCharacterSet = "ISO_IR 192"
    try:
        report = sr.Comprehensive3DSR(
            evidence=evidence,
            content=content,
            series_instance_uid=highdicom.UID(),
            series_number=SERIES_NUMBER,
            sop_instance_uid=highdicom.UID(),
            instance_number=1,
            manufacturer="medbundle",
            is_complete=True,
            manufacturer_model_name=algorithm.name,
            software_versions=pipeline.__version__,
            device_serial_number="none",
            series_description="Measurements",
        )
    except READ_ERRORS as error:
        raise InputError(
            "no report can refer to the source images: their headers lack what it must repeat",
            where=evidence[0].get("SeriesInstanceUID"),
            got=type(error).__name__,
        ) from None
    report.SpecificCharacterSet = "ISO_IR 192"
    report.PatientName = name
    return report
