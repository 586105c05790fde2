"""What a new object repeats of its source: as far as it conforms (PS3.2), or not at all.

A new object must conform where its source does not. A value that its value representation does not allow (PS3.5 section
6.2), or that is none of its defined terms, is cut where it is but too long, and else left out: empty where the module
demands the attribute (type 2), absent where it does not (type 3).
"""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
import warnings
from typing import TYPE_CHECKING, Any

from pydicom.config import RAISE
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.tag import Tag
from pydicom.valuerep import validate_value

from pipeline.dicom.elements import READ_ERRORS

if TYPE_CHECKING:
    from pathlib import Path

    from pydicom.dataset import Dataset

__all__ = ["COPIED", "MAY_BE_EMPTY", "STUDY", "decode", "mend"]

# Of type 2 (PS3.3 C.7.1.1 and C.7.2.1): an object without a value has them empty.
MAY_BE_EMPTY = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID",
                "AccessionNumber", "ReferringPhysicianName")  # fmt: skip
# Of the Patient, Clinical Trial Subject, General Study, Patient Study and Clinical Trial Study Modules.
COPIED = ("IssuerOfPatientID", "PatientBirthTime", "EthnicGroup", "PatientSpeciesDescription",
          "PatientSpeciesCodeSequence", "PatientIdentityRemoved", "DeidentificationMethod",
          "DeidentificationMethodCodeSequence", "ClinicalTrialSponsorName", "ClinicalTrialProtocolID",
          "ClinicalTrialProtocolName", "ClinicalTrialSiteID", "ClinicalTrialSiteName", "ClinicalTrialSubjectID",
          "ClinicalTrialSubjectReadingID", "ClinicalTrialTimePointID", "ClinicalTrialTimePointDescription",
          "StudyInstanceUID", "StudyDescription", "PatientAge", "PatientSize", "PatientWeight")  # fmt: skip
STUDY = "StudyInstanceUID"
# What highdicom, which makes segmentations, reads of a source beside these.
_READ_BESIDE = ("PositionReferenceIndicator", "Laterality", "BodyPartExamined", "PatientPosition")

_LONGEST = {"SH": 16, "LO": 64}  # characters (PS3.5 section 6.2)
_TERMS = {"PatientSex": {"M", "F", "O", ""}, "PatientIdentityRemoved": {"YES", "NO"}, "Laterality": {"L", "R", ""}}
_LIMITED_TO_DAYS = "DA"

_log = logging.getLogger(__name__)
_told: set[tuple[Path, str]] = set()


def decode(dataset: Dataset) -> None:
    """Decode the texts of a dataset, also where its SpecificCharacterSet is none that there is."""
    try:
        dataset.decode()
    except READ_ERRORS:
        dataset.pop("SpecificCharacterSet", None)
        with contextlib.suppress(*READ_ERRORS):
            dataset.decode()


def mend(dataset: Dataset, path: Path, *, tell: bool) -> None:
    """Bring what is repeated of a source to what the standard allows.

    Args:
        dataset: of the source; it is changed.
        path: of its file.
        tell: whether to name the elements that are left out in one line of the log. Their values are not told.
    """
    left_out = []
    for keyword in MAY_BE_EMPTY:
        if keyword not in dataset:
            setattr(dataset, keyword, "")
    for keyword in (*MAY_BE_EMPTY, *COPIED, *_READ_BESIDE):
        if keyword not in dataset or keyword == STUDY:  # of type 1: as it is, or nothing can be made
            continue
        _shorten(dataset, keyword)
        if not _conforms(dataset, keyword):
            left_out.append(f"{keyword} {Tag(tag_for_keyword(keyword) or 0)}")
            del dataset[keyword]
            if keyword in MAY_BE_EMPTY:
                setattr(dataset, keyword, "")
    words = ", ".join(left_out)
    if left_out and tell and (path, words) not in _told:
        _told.add((path, words))  # a mask is announced and written
        _log.warning("%s: %s cannot be repeated: left out of what is written", path, words)


def _shorten(dataset: Dataset, keyword: str) -> None:
    with contextlib.suppress(*READ_ERRORS):
        element = dataset[keyword]
        longest = _LONGEST.get(element.VR)
        if longest is not None and isinstance(element.value, str) and len(element.value) > longest:
            element.value = element.value[:longest].rstrip()


def _conforms(dataset: Dataset, keyword: str) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it would quote the value
            element = dataset[keyword]
            if element.VR == "SQ":
                return True
            values = element.value if isinstance(element.value, list | tuple) else [element.value]
            if dictionary_VR(element.tag) != element.VR:
                return False
            return all(_is_allowed(keyword, element.VR, value) for value in values)
    except READ_ERRORS:
        return False


def _is_allowed(keyword: str, vr: str, value: Any) -> bool:
    text = "" if value is None else str(value)
    if keyword in _TERMS and text not in _TERMS[keyword]:
        return False
    if vr == _LIMITED_TO_DAYS and text:
        dt.datetime.strptime(text.replace(".", ""), "%Y%m%d")
    validate_value(vr, text, RAISE)
    return True
