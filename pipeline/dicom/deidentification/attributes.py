"""Take what identifies the patient out of a data set (PS3.15 annex E, Basic Application Level Confidentiality Profile).

Which attribute gets which action says :mod:`pipeline.dicom.deidentification.profile`; the loop over the attributes and
the dummy values are those of the package dicom-anonymizer, which looks at one level of a data set: each item of a
sequence is handed to it. Private attributes are removed here, because the package decodes every value for it, and
pydicom may then quote one in a warning.
"""

from __future__ import annotations

import logging
import re
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from dicomanonymizer import simpledicomanonymizer as package
from pydicom import config
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag, Tag
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from pipeline import __version__
from pipeline.dicom.deidentification.profile import DATE_VRS, Action, action_for, is_standard_uid, known_vr
from pipeline.dicom.deidentification.pseudonyms import shifted_date
from pipeline.dicom.elements import raw_value, text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pipeline.dicom.deidentification.pseudonyms import Pseudonyms

__all__ = ["Changes", "Dates", "deidentify_dataset", "silent_pydicom"]

Dates: TypeAlias = Literal["remove", "shift"]

_EMPTIED_HERE = DATE_VRS | {"DS", "IS", "SQ"}  # the package gives some of them a value
# The package's are of the year 1, which validators refuse.
_DATE_DUMMIES = {"DA": "19000101", "DT": "19000101000000", "TM": "000000"}
_CHARACTERS = {Action.CODE: re.compile(r"[A-Z0-9_ \\\0]*"), Action.NUMBER: re.compile(r"[0-9+.eE \\\0-]*")}
_LEAST_TOKEN = 3
_PATIENT_KEYWORDS = ("PatientID", "OtherPatientIDs", "PatientName", "OtherPatientNames", "PatientBirthName")
_BASIC_PROFILE = ("113100", "Basic Application Confidentiality Profile")
_MODIFIED_DATES = ("113107", "Retain Longitudinal Temporal Information Modified Dates Option")


@dataclass
class Changes:
    """How many attributes of a data set, items of sequences included, were changed in which way.

    Attributes:
        name: what stands for the patient now.
        removed: public attributes, each with all that is in it.
        emptied: attributes with a value of no length now.
        replaced: attributes with a dummy or a pseudonym now, or without the patient's name in a text.
        uids: UIDs with another in their place.
        dates: dates that moved.
        private: private attributes that were removed.
    """

    name: str = ""
    removed: int = 0
    emptied: int = 0
    replaced: int = 0
    uids: int = 0
    dates: int = 0
    private: int = 0


def deidentify_dataset(dataset: Dataset, pseudonyms: Pseudonyms, *, dates: Dates = "remove") -> Changes:
    """Take what identifies the patient out of a data set, in place; the pixels stay as they are.

    The file meta information is made anew and the preamble zeroed.

    Args:
        dataset: as ``pydicom.dcmread`` gives it; the whole of a file.
        pseudonyms: new UIDs, names and numbers of days.
        dates: ``"remove"``: as the basic profile says. ``"shift"``: dates move by the patient's number of days into
            the past and times stay (Retain Longitudinal Temporal Information with Modified Dates Option).

    Raises:
        Exception: whatever pydicom raises on a value that it cannot decode.
    """
    name, days = pseudonyms.patient(dataset)
    level = _Level(
        pseudonyms=pseudonyms,
        name=name,
        days=days if dates == "shift" else None,
        tokens=_tokens(dataset),
        changes=Changes(name=name),
    )
    with silent_pydicom():
        level.apply(dataset)
        dataset.PatientID = dataset.PatientName = name
        _state_the_method(dataset, shifted=dates == "shift")
        _renew_file_meta(dataset)
    return level.changes


@contextmanager
def silent_pydicom() -> Iterator[None]:
    """Let pydicom neither check values nor tell of odd ones: it quotes them."""
    logger = logging.getLogger("pydicom")
    before = logger.disabled
    logger.disabled = True
    try:
        with warnings.catch_warnings(), config.disable_value_validation():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.disabled = before


class _Level:
    """Rules for the attributes of a data set, and for those of each item below it."""

    def __init__(
        self,
        *,
        pseudonyms: Pseudonyms,
        name: str,
        days: int | None,
        tokens: re.Pattern[bytes] | None,
        changes: Changes,
    ) -> None:
        self.pseudonyms = pseudonyms
        self.name = name
        self.days = days
        self.tokens = tokens
        self.changes = changes
        self._functions: dict[Action, Callable[[Dataset, Any], None]] = {
            Action.REMOVE: self._remove,
            Action.EMPTY: self._empty,
            Action.DUMMY: self._dummy,
            Action.UID: self._new_uid,
            Action.PSEUDONYM: self._pseudonym,
            Action.DATE: self._shift,
            Action.TEXT: self._clean_text,
            Action.CODE: self._clean_text,
            Action.NUMBER: self._empty,
        }

    def apply(self, item: Dataset) -> None:
        """Change an item in place, and those below it."""
        rules = {}
        for tag in list(item.keys()):
            if tag.is_private:
                del item[tag]
                self.changes.private += 1
                continue
            action = action_for(tag, _stored_vr(item, tag), shift=self.days is not None)
            if action is not Action.KEEP and not _is_legal(item, tag, action):
                rules[(tag.group, tag.element)] = self._functions[action]
        package.anonymize_dataset(item, delete_private_tags=False, base_rules_gen=lambda: rules)
        for tag in list(item.keys()):
            if _stored_vr(item, tag) == "SQ":
                for below in item[tag].value or ():
                    self.apply(below)

    def _remove(self, item: Dataset, tag: Any) -> None:
        del item[Tag(tag)]
        self.changes.removed += Tag(tag).element != 0

    def _empty(self, item: Dataset, tag: Any) -> None:
        vr = known_vr(Tag(tag)) or _stored_vr(item, Tag(tag))
        if not _holds_value(item, Tag(tag)):
            return
        item[tag] = DataElement(tag, vr, Sequence() if vr == "SQ" else "")
        if vr not in _EMPTIED_HERE:
            package.empty(item, tag)
        self.changes.emptied += 1

    def _dummy(self, item: Dataset, tag: Any) -> None:
        vr = known_vr(Tag(tag)) or _stored_vr(item, Tag(tag))
        if not _holds_value(item, Tag(tag)):
            return
        item[tag] = DataElement(tag, vr, _DATE_DUMMIES.get(vr))
        if vr not in _DATE_DUMMIES:
            package.replace(item, tag)
        self.changes.replaced += 1

    def _pseudonym(self, item: Dataset, tag: Any) -> None:
        item[tag] = DataElement(tag, known_vr(Tag(tag)), self.name)
        self.changes.replaced += 1

    def _new_uid(self, item: Dataset, tag: Any) -> None:
        old = [uid.strip(" \0") for uid in _ascii(item, Tag(tag)).split("\\")]
        kept = [not uid or is_standard_uid(uid, Tag(tag)) for uid in old]
        if all(kept):
            return
        new = [uid if keep else self.pseudonyms.uid(uid) for uid, keep in zip(old, kept, strict=True)]
        item[tag] = DataElement(tag, "UI", new)
        self.changes.uids += kept.count(False)

    def _shift(self, item: Dataset, tag: Any) -> None:
        vr = known_vr(Tag(tag)) or _stored_vr(item, Tag(tag))
        if vr == "TM":
            return
        old = _ascii(item, Tag(tag)).strip(" \0")
        if old:
            item[tag] = DataElement(tag, vr, [shifted_date(one, self.days or 0) for one in old.split("\\")])
            self.changes.dates += 1

    def _clean_text(self, item: Dataset, tag: Any) -> None:
        """Take the patient's own name, ID and date of birth out of a text that stays."""
        element = item.get_item(Tag(tag))
        if self.tokens is None or element is None or not element.value:
            return
        raw = element.value if isinstance(element.value, bytes) else "\\".join(_values(element)).encode()
        cleaned, count = self.tokens.subn(self.name.encode(), raw)
        if count and isinstance(element, RawDataElement):
            cleaned = cleaned.rstrip(b" \0")
            cleaned += b" " * (len(cleaned) % 2)
            item[tag] = element._replace(value=cleaned, length=len(cleaned))
        elif count:
            item[tag] = DataElement(tag, element.VR, cleaned.decode())
        self.changes.replaced += bool(count)


def _stored_vr(item: Dataset, tag: BaseTag) -> str:
    """Return the VR that the file gives an attribute; the dictionary's where it gives none."""
    element = item.get_item(tag)
    stored = "" if element is None or element.VR in (None, "UN") else str(element.VR)
    return stored or known_vr(tag)


def _is_legal(item: Dataset, tag: BaseTag, action: Action) -> bool:
    """Whether a value that stays has the characters of its VR (PS3.5 table 6.2-1), and so is no free text."""
    return action in _CHARACTERS and _CHARACTERS[action].fullmatch(_ascii(item, tag)) is not None


def _holds_value(item: Dataset, tag: BaseTag) -> bool:
    element = item.get_item(tag)
    return element is not None and element.value not in (None, "", b"")


def _ascii(item: Dataset, tag: BaseTag) -> str:
    """Return a value as it is stored, several values joined by backslashes."""
    element = item.get_item(tag)
    if element is None or not element.value:
        return ""
    return element.value.decode("latin-1") if isinstance(element.value, bytes) else "\\".join(_values(element))


def _values(element: Any) -> list[str]:
    return [str(element.value)] if element.VM <= 1 else [str(value) for value in element.value]


def _tokens(dataset: Dataset) -> re.Pattern[bytes] | None:
    """Return a pattern for the patient's IDs, the parts of the names, and the date of birth, as bytes of the file."""
    found = {raw_value(dataset, "PatientBirthDate").strip(b" \0")}
    for keyword in _PATIENT_KEYWORDS:
        raw = raw_value(dataset, keyword)
        found |= {part.strip(b" \0") for part in raw.split(b"\\")}
        found |= set(re.split(rb"[\s\\^=,\0]+", raw))
    telling = [word for word in found if len(word) >= _LEAST_TOKEN + word.isdigit()]
    words = sorted(map(re.escape, telling), key=len, reverse=True)
    if not words:
        return None
    return re.compile(rb"(?<![0-9A-Za-z])(?:" + b"|".join(words) + rb")(?![0-9A-Za-z])", re.IGNORECASE)


def _state_the_method(dataset: Dataset, *, shifted: bool) -> None:
    """Say what was done (PS3.3 C.7.1.1, C.12.1)."""
    dataset.PatientIdentityRemoved = "YES"
    dataset.LongitudinalTemporalInformationModified = "MODIFIED" if shifted else "REMOVED"
    dataset.DeidentificationMethod = [
        "PS3.15 Basic Application Level Confidentiality Profile, 2026c",
        "ROIName kept without the patient's name and ID",
        f"medbundle {__version__}, dicom-anonymizer {version('dicom-anonymizer')}",
    ]
    dataset.DeidentificationMethodCodeSequence = Sequence()
    for value, meaning in (_BASIC_PROFILE, _MODIFIED_DATES)[: 1 + shifted]:
        code = Dataset()
        code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, "DCM", meaning
        dataset.DeidentificationMethodCodeSequence.append(code)


def _renew_file_meta(dataset: Dataset) -> None:
    """Keep nothing of the old file meta information but the transfer syntax (PS3.10 section 7.1)."""
    syntax = text(getattr(dataset, "file_meta", Dataset()), "TransferSyntaxUID")
    if not syntax:
        implicit, little = dataset.original_encoding
        explicit = ExplicitVRLittleEndian if little is not False else ExplicitVRBigEndian
        syntax = ImplicitVRLittleEndian if implicit is not False else explicit
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = UID(syntax)
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta = meta
    dataset.preamble = bytes(128)
