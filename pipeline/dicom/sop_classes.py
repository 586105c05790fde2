"""The SOP classes (PS3.4 B.5) that are told apart, by what their instances show."""

from __future__ import annotations

from pydicom import uid

__all__ = [
    "ENHANCED",
    "INTENSITIES",
    "LABELS",
    "PICTURES",
    "PROJECTIONS",
    "RESULTS",
    "SEGMENTATIONS",
    "kind_name",
    "with_article",
]

_LABEL_MAP_SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.7"

SEGMENTATIONS = {str(uid.SegmentationStorage), _LABEL_MAP_SEGMENTATION}

LABELS = {uid.RTStructureSetStorage, *SEGMENTATIONS}
"""They outline what another instance shows."""

RESULTS = {*SEGMENTATIONS, uid.RTDoseStorage}
"""They hold pixels, but are results about an image and not an image to segment."""

ENHANCED = {
    uid.EnhancedCTImageStorage,
    uid.LegacyConvertedEnhancedCTImageStorage,
    uid.EnhancedMRImageStorage,
    uid.LegacyConvertedEnhancedMRImageStorage,
    uid.LegacyConvertedEnhancedPETImageStorage,
    uid.EnhancedPETImageStorage,
}
"""Their instances have many frames, each with a place of its own."""

PROJECTIONS = {
    uid.ComputedRadiographyImageStorage,
    uid.DigitalXRayImageStorageForPresentation,
    uid.DigitalXRayImageStorageForProcessing,
    uid.DigitalMammographyXRayImageStorageForPresentation,
    uid.DigitalMammographyXRayImageStorageForProcessing,
    uid.DigitalIntraOralXRayImageStorageForPresentation,
    uid.DigitalIntraOralXRayImageStorageForProcessing,
}
"""They show a whole depth of the patient, wherever they say that they lie."""

PICTURES = {
    uid.XRayAngiographicImageStorage,
    uid.XRayRadiofluoroscopicImageStorage,
    uid.UltrasoundImageStorage,
    uid.UltrasoundMultiFrameImageStorage,
    "1.2.840.10008.5.1.4.1.1.6",  # Ultrasound Image, retired
    uid.SecondaryCaptureImageStorage,
    uid.MultiFrameSingleBitSecondaryCaptureImageStorage,
    uid.MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
    uid.MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
    uid.MultiFrameTrueColorSecondaryCaptureImageStorage,
    uid.VLEndoscopicImageStorage,
    uid.VLMicroscopicImageStorage,
    uid.VLPhotographicImageStorage,
    uid.OphthalmicPhotography8BitImageStorage,
    uid.OphthalmicPhotography16BitImageStorage,
}
"""Their images need no place in the patient, and are pictures where they have none."""

INTENSITIES = {
    uid.XRayAngiographicImageStorage,
    uid.XRayRadiofluoroscopicImageStorage,
    uid.EnhancedXAImageStorage,
    uid.EnhancedXRFImageStorage,
}
"""Their Modality LUT leads to X-ray intensities, and is not for display."""

_DICOMDIR = uid.MediaStorageDirectoryStorage
_VOWELS = ("A", "E", "I", "O", "U", "MR ", "RT ", "X-")  # as they are spoken


def kind_name(sop_class_uid: str) -> str:
    """What an instance is, in the standard's words: ``RT Dose``, ``CT Image``; a DICOMDIR is one."""
    if sop_class_uid == _DICOMDIR:
        return "DICOMDIR"
    name = uid.UID(sop_class_uid).name
    return "DICOM object of an unknown kind" if name == sop_class_uid else name.removesuffix(" Storage")


def with_article(kind: str) -> str:
    """A kind as a part of a sentence: ``an RT Dose``."""
    return f"{'an' if kind.startswith(_VOWELS) else 'a'} {kind}"
