"""What the values of an image are, and their unit, as codes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydicom.sr.coding import Code

from pipeline.dicom.elements import first_item, text

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

__all__ = ["quantity"]

_HOUNSFIELD = (Code("112031", "DCM", "Attenuation Coefficient"), Code("[hnsf'U]", "UCUM", "Hounsfield unit"))
_SIGNAL = (Code("110852", "DCM", "MR signal intensity"), Code("1", "UCUM", "no units"))
_ACTIVITY = Code("110821", "DCM", "Nuclear Medicine Tomographic Activity")
_SUV = Code("126400", "DCM", "Standardized Uptake Value")

# By the Units of a PET image (PS3.3 C.8.9.1.1.3).
_PET = {
    "BQML": (_ACTIVITY, Code("Bq/ml", "UCUM", "Becquerels/milliliter")),
    "CNTS": (_ACTIVITY, Code("{counts}", "UCUM", "Counts")),
    "CPS": (_ACTIVITY, Code("{counts}/s", "UCUM", "Counts per second")),
    "PROPCNTS": (_ACTIVITY, Code("{propcounts}", "UCUM", "Proportional to counts")),
    "PROPCPS": (_ACTIVITY, Code("{propcounts}/s", "UCUM", "Proportional to counts per second")),
    "CM2ML": (_SUV, Code("cm2/ml{SUVbsa}", "UCUM", "Standardized Uptake Value body surface area")),
}
# And where they are GML, by its SUVType (C.8.9.1.1.4); without one, by body weight.
_BODY_WEIGHT = Code("g/ml{SUVbw}", "UCUM", "Standardized Uptake Value body weight")
_GML = {
    "": _BODY_WEIGHT,
    "BW": _BODY_WEIGHT,
    "BSA": Code("cm2/ml{SUVbsa}", "UCUM", "Standardized Uptake Value body surface area"),
    "IBW": Code("g/ml{SUVibw}", "UCUM", "Standardized Uptake Value ideal body weight"),
    "LBM": Code("g/ml{SUVlbm}", "UCUM", "Standardized Uptake Value lean body mass (James)"),
}


def quantity(source: Dataset) -> tuple[Code, Code] | None:
    """Return what the values of an image are (PS3.16 CID 7180), and their unit (CID 7181); None where neither is known.

    They are Hounsfield units in CT whose RescaleType says so or nothing, signal intensity without a unit in MR, and in
    PET what its Units say.
    """
    modality = text(source, "Modality")
    if modality == "CT":
        return _HOUNSFIELD if _rescale_type(source) in {"", "HU"} else None
    if modality == "MR":
        return _SIGNAL
    units = text(source, "Units")
    if modality == "PT" and units == "GML":
        unit = _GML.get(text(source, "SUVType"))
        return None if unit is None else (_SUV, unit)
    return _PET.get(units) if modality == "PT" else None


def _rescale_type(source: Dataset) -> str:
    """Return the RescaleType of an image, or of the first frame of a multi-frame one."""
    groups = [first_item(source, f"{kind}FunctionalGroupsSequence") for kind in ("Shared", "PerFrame")]
    transformations = [first_item(group, "PixelValueTransformationSequence") for group in groups if group is not None]
    stated = [text(one, "RescaleType") for one in (source, *transformations) if one is not None]
    return next(filter(None, stated), "")
