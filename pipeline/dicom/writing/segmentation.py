"""Labels out as a DICOM Segmentation object (PS3.3 A.51)."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import highdicom
import numpy as np
from highdicom.color import CIELabColor
from highdicom.seg import Segmentation, SegmentDescription
from highdicom.sr.coding import CodedConcept
from pydicom.config import disable_value_validation
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, RLELossless

import pipeline
from pipeline.dicom.elements import READ_ERRORS
from pipeline.dicom.segment import Algorithm, Segment, value_in_words
from pipeline.dicom.writing.derived import labels_on_slices
from pipeline.dicom.writing.source_images import refer_to_frames, source_images
from pipeline.errors import InputError
from pipeline.writing import whole_file

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from pipeline.dicom.reading.geometry import Stack

__all__ = ["write_segmentation"]

Labels: TypeAlias = "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]"
Affine: TypeAlias = "np.ndarray[tuple[int, ...], np.dtype[np.float64]]"

SegmentationType: TypeAlias = Literal["binary", "labelmap"]
Compression: TypeAlias = Literal["none", "deflated", "rle"]

# The first one is the default. No compression of frames that readers know takes single bits.
_NATIVE = {"none": ExplicitVRLittleEndian, "deflated": DeflatedExplicitVRLittleEndian}
_COMPRESSIONS: dict[str, dict[str, UID]] = {"binary": _NATIVE, "labelmap": {"rle": RLELossless, **_NATIVE}}


def write_segmentation(
    labels: Labels,
    *,
    affine: Affine,
    source_files: Sequence[str | os.PathLike[str]],
    segments: Sequence[Segment],
    path: str | os.PathLike[str],
    series: str | None = None,
    segmentation_type: SegmentationType = "binary",
    compression: Compression | None = None,
    algorithm: Algorithm | None = None,
    series_description: str = "Segmentation",
    series_number: int = 1000,
) -> Path:
    """Write labels as a DICOM SEG on the frames of their source images.

    Every segment is described and every frame is written, empty or not. A binary segmentation has a frame per segment
    and slice, numbers the segments in their order, and tells their label values in their descriptions, see
    :func:`pipeline.dicom.segment.value_in_words`; a label map segmentation (Sup 243) has a frame per slice, and its
    segment numbers are the label values. The file appears whole or not at all.

    Args:
        labels: uint8, as :class:`pipeline.dicom.DicomSeriesReader` gives the image, or turned or cut out of its grid.
        affine: 4x4, voxel (i, j, k) to RAS mm; it must put each voxel on a voxel of the source images, see
            :func:`pipeline.dicom.writing.placement.place`. For tilted slices it is sheared.
        source_files: the files of the source series, in any order.
        segments: what each label value means.
        path: the file to write; an older one is replaced.
        series: which series or volume of ``source_files``, where they hold several: ``meta["dicom_series"]`` of the
            reader, or as :func:`pipeline.dicom.choose` takes it.
        segmentation_type: "binary", or "labelmap", which takes less space for many segments but is new (2024).
        compression: "none", "deflated" (PS3.5 A.5) or, of a label map, "rle" (PS3.5 A.4.2), all without loss; by
            default "none" for a binary segmentation and "rle" for a label map.
        algorithm: who made the segments; medbundle itself when absent.
        series_description: of the new series.
        series_number: of the new series.

    Returns:
        The path of the file.

    Raises:
        InputError: the voxels are not those of the source images, a label is not described, or the file cannot be
            written.
    """
    syntax = _transfer_syntax(segmentation_type, compression)
    stack, placed = labels_on_slices(labels, affine=affine, source_files=source_files, segments=segments, series=series)
    numbers = _segment_numbers(segments, keep=segmentation_type == "labelmap")
    # The source's own oddities, such as a value that is too long, are copied and not ours to warn about; and
    # highdicom's warning about a patient's name of one part would print that name.
    with disable_value_validation(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The string .* is unlikely to represent|Unknown encoding")
        segmentation = _segmentation(
            stack,
            # highdicom takes each plane of an array to lie on the source image of the same index, so that the
            # frames get the very positions of the source.
            numbers[placed.transpose(2, 1, 0)],
            descriptions=_descriptions(segments, numbers, algorithm or Algorithm(), segmentation_type),
            segmentation_type=segmentation_type.upper(),
            transfer_syntax_uid=syntax if syntax.is_encapsulated else ExplicitVRLittleEndian,
            manufacturer_model_name=(algorithm or Algorithm()).name,
            series_description=series_description,
            series_number=series_number,
        )
        segmentation.file_meta.TransferSyntaxUID = syntax  # pydicom deflates on writing; highdicom does not know it
        path = Path(path)
        with whole_file(path) as temporary:
            segmentation.save_as(temporary)
    return path


def _transfer_syntax(segmentation_type: str, compression: str | None) -> UID:
    known = _COMPRESSIONS.get(segmentation_type)
    if known is None:
        raise InputError(
            "unknown type of segmentation", expected=" or ".join(_COMPRESSIONS), got=repr(segmentation_type)
        )
    compression = next(iter(known)) if compression is None else compression
    if compression not in known:
        raise InputError(
            f"no such compression of a {segmentation_type} segmentation",
            expected=" or ".join(known),
            got=repr(compression),
        )
    return known[compression]


def _segment_numbers(segments: Sequence[Segment], *, keep: bool) -> Labels:
    """Return a table from label value to segment number: the value, or 1, 2, 3, ... without a gap (C.8.20.2)."""
    values = [segment.value for segment in segments]
    table = np.zeros(256, dtype=np.uint8)
    table[values] = values if keep else np.arange(1, len(values) + 1)
    return table


def _descriptions(
    segments: Sequence[Segment], numbers: Labels, algorithm: Algorithm, segmentation_type: str
) -> list[SegmentDescription]:
    """Describe the segments, in the order of their numbers."""
    identification = highdicom.AlgorithmIdentificationSequence(
        name=algorithm.name, family=CodedConcept(*algorithm.family), version=algorithm.version
    )
    numbered = sorted(((int(numbers[segment.value]), segment) for segment in segments), key=lambda pair: pair[0])
    described = [_description(number, segment, identification) for number, segment in numbered]
    if segmentation_type == "binary":
        for description, (_, segment) in zip(described, numbered, strict=True):
            description.SegmentDescription = value_in_words(segment.value)
    return described


def _description(
    number: int, segment: Segment, identification: highdicom.AlgorithmIdentificationSequence
) -> SegmentDescription:
    property_type = CodedConcept(*segment.property_type)
    if segment.modifier is not None:  # PS3.3 C.8.20.2; highdicom has no argument for it
        property_type.SegmentedPropertyTypeModifierCodeSequence = [CodedConcept(*segment.modifier)]
    return SegmentDescription(
        segment_number=number,
        segment_label=segment.name,
        segmented_property_category=CodedConcept(*segment.category),
        segmented_property_type=property_type,
        algorithm_type="AUTOMATIC",
        algorithm_identification=identification,
        display_color=None if segment.color is None else CIELabColor.from_rgb(*segment.color),
    )


def _segmentation(
    stack: Stack, pixels: Labels, *, descriptions: Sequence[SegmentDescription], **options: Any
) -> Segmentation:
    try:
        texts = [str(description) for description in descriptions] + [str(option) for option in options.values()]
        sources = source_images(stack, utf8=not "".join(texts).isascii())
        segmentation = Segmentation(
            source_images=sources,
            pixel_array=pixels,
            segment_descriptions=descriptions,
            series_instance_uid=highdicom.UID(),
            sop_instance_uid=highdicom.UID(),
            instance_number=1,
            manufacturer="medbundle",
            software_versions=pipeline.__version__,
            device_serial_number="none",
            omit_empty_frames=False,
            content_label="SEGMENTATION",
            **options,
        )
        refer_to_frames(segmentation, stack)
    except InputError:
        raise
    except READ_ERRORS as error:
        raise InputError(
            "no segmentation object can refer to the source images: their headers lack what it must repeat",
            where=stack.headers[0].series_uid,
            got=type(error).__name__,
        ) from None
    return segmentation
