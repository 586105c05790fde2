"""The frames of an enhanced multi-frame image, from its functional groups (PS3.3 C.7.6.16), and concatenations."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pydicom.dataset import Dataset

from pipeline.dicom.elements import first_item, plain_text, text
from pipeline.dicom.reading.header import Concatenation
from pipeline.dicom.reading.image_modules import ACQUISITION_KEYWORDS, image_plane
from pipeline.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.dicom.reading.header import Header

__all__ = ["CONCATENATION_KEYWORDS", "concatenation", "frame_headers"]

CONCATENATION_KEYWORDS = ("ConcatenationUID", "InConcatenationNumber", "InConcatenationTotalNumber")

# Where a frame's own value of an acquisition keyword is: the functional groups (PS3.3 C.8.13.5, C.8.15.3), one in
# the other, and the keyword.
_ACQUISITION_GROUPS: dict[str, tuple[tuple[str, ...], str]] = {
    "EchoTime": (("MREchoSequence",), "EffectiveEchoTime"),
    "DiffusionBValue": (("MRDiffusionSequence",), "DiffusionBValue"),
    "TemporalPositionIdentifier": (("FrameContentSequence",), "TemporalPositionIndex"),
    "DiffusionGradientOrientation": (
        ("MRDiffusionSequence", "DiffusionGradientDirectionSequence"),
        "DiffusionGradientOrientation",
    ),
    "InversionTime": (("MRModifierSequence",), "InversionTimes"),
    "TriggerTime": (("CardiacSynchronizationSequence",), "NominalCardiacTriggerDelayTime"),
    "ConvolutionKernel": (("CTReconstructionSequence",), "ConvolutionKernel"),
    "AcquisitionNumber": (("FrameContentSequence",), "FrameAcquisitionNumber"),
    "AcquisitionTime": (("FrameContentSequence",), "FrameAcquisitionDateTime"),
}
_FRAME_TYPES = ("MRImageFrameTypeSequence", "CTImageFrameTypeSequence", "PETFrameTypeSequence")
# A legacy converted image keeps here what its single frames had and no functional group takes (PS3.3 C.7.6.25).
_UNASSIGNED = ("UnassignedPerFrameConvertedAttributesSequence", "UnassignedSharedConvertedAttributesSequence")
_NOTHING = Dataset()


def concatenation(dataset: Dataset, path: Path) -> Concatenation | None:
    """Return which part of a concatenation an instance is; ``None`` where it is whole by itself."""
    uid, number, total = (plain_text(dataset, keyword) for keyword in CONCATENATION_KEYWORDS)
    if uid and not number:
        raise InputError("a part of a concatenation without InConcatenationNumber", where=path.name)
    return Concatenation(uid=uid, number=number, total=total) if uid else None


def frame_headers(dataset: Dataset, header: Header) -> tuple[Header, ...]:
    """Return a header for each frame, in the order of the file.

    Args:
        dataset: the enhanced image without its pixels.
        header: the file's own header.

    Raises:
        InputError: the functional groups do not tell the place of each frame.
    """
    shared = first_item(dataset, "SharedFunctionalGroupsSequence") or _NOTHING
    groups = dataset.get("PerFrameFunctionalGroupsSequence") or []
    if len(groups) != header.frames:
        raise InputError(
            "the frames are not described one by one (PerFrameFunctionalGroupsSequence)",
            where=header.path.name,
            expected=f"{header.frames} items",
            got=len(groups),
        )
    frame_bytes = header.rows * header.columns * header.bits_allocated // 8
    return tuple(
        replace(
            header,
            frames=1,
            frame=index,
            pixel_offset=None if header.pixel_offset is None else header.pixel_offset + index * frame_bytes,
            **_frame_fields(own, shared, f"{header.path.name}, frame {index + 1}"),
        )
        for index, own in enumerate(groups)
    )


def _frame_fields(own: Dataset, shared: Dataset, where: str) -> dict[str, Any]:
    def group(keyword: str) -> Dataset:
        # A functional group is per frame or shared, never both (PS3.3 C.7.6.16.1.1).
        return first_item(own, keyword) or first_item(shared, keyword) or _NOTHING

    plane = image_plane(
        position=group("PlanePositionSequence"),
        orientation=group("PlaneOrientationSequence"),
        measures=group("PixelMeasuresSequence"),
        transformation=group("PixelValueTransformationSequence"),
        where=where,
    )
    types = [text(item, "FrameType") for item in map(group, _FRAME_TYPES)]
    frame_type = next(filter(None, types), "")
    values = {keyword: _acquired(own, shared, keyword) for keyword in ACQUISITION_KEYWORDS}
    values["ImageType"] = frame_type or values["ImageType"]
    return {
        **plane,
        "acquisition": tuple(values.values()),
        "stack_id": text(group("FrameContentSequence"), "StackID"),
        "localizer": "LOCALIZER" in frame_type.upper().split("\\"),
    }


def _acquired(own: Dataset, shared: Dataset, keyword: str) -> str:
    sequences, name = _ACQUISITION_GROUPS.get(keyword, ((), ""))
    for top in (own, shared):
        item: Dataset | None = top if sequences else None
        for sequence in sequences:
            item = None if item is None else first_item(item, sequence)
        value = "" if item is None else plain_text(item, name)
        if value:
            return value
    for top, sequence in zip((own, shared), _UNASSIGNED, strict=True):
        item = first_item(top, sequence)
        value = "" if item is None else plain_text(item, keyword)
        if value:
            return value
    return ""
