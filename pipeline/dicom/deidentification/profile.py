"""Which action the Basic Application Level Confidentiality Profile has for an attribute (PS3.15 table E.1-1).

The table is that of the package dicom-anonymizer (edition 2026c). Its choice between actions, where the table leaves
one ("X/Z/D"), is kept: what is present stays present, emptied or with a dummy. These are other, by rules of our own:

- a date, time or sequence to remove is removed, and one to empty is emptied; the package writes dates of the year 1 and
  empties what is in the sequence. A sequence to replace by a dummy is removed, which no IOD that is copied forbids;
- ReferencedImageSequence and SourceImageSequence stay with new UIDs, as the table allows ("U*");
- every UID that the standard does not define is replaced, and not only those in the table;
- a person's name, date, time or address (UR) that the table leaves out is emptied or removed;
- the whole of a curve or overlay group (50xx, 60xx) is removed, and an attribute that no dictionary knows;
- a number (DS, IS) that is none is emptied;
- ROIName stays, because contours without it are of no use; the table empties it. The patient's own name, ID and date
  of birth are taken out of it, as out of every text that stays and of a CS with characters that it must not have.
"""

from __future__ import annotations

import re
from enum import Enum
from functools import lru_cache
from typing import TYPE_CHECKING

from dicomanonymizer import simpledicomanonymizer as package
from pydicom.datadict import dictionary_has_tag, dictionary_VR, keyword_for_tag, tag_for_keyword
from pydicom.tag import BaseTag, Tag
from pydicom.uid import UID

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["DATE_VRS", "TEXT_VRS", "Action", "action_for", "is_standard_uid", "known_vr"]

DATE_VRS = frozenset({"DA", "DT", "TM"})
TEXT_VRS = frozenset({"LO", "LT", "SH", "ST", "UC", "UT"})


class Action(Enum):
    """What is done to an attribute, with the letter of table E.1-1."""

    REMOVE = "X"
    EMPTY = "Z"
    DUMMY = "D"
    UID = "U"
    PSEUDONYM = "patient"
    DATE = "date"
    TEXT = "text"
    CODE = "code"
    NUMBER = "number"
    KEEP = "K"


_LETTERS: dict[Callable[..., None], Action] = {
    package.delete: Action.REMOVE,
    package.empty: Action.EMPTY,
    package.delete_or_empty: Action.EMPTY,
    package.replace: Action.DUMMY,
    package.empty_or_replace: Action.DUMMY,
    package.delete_or_replace: Action.DUMMY,
    package.delete_or_empty_or_replace: Action.DUMMY,
    package.replace_UID: Action.UID,
    package.delete_or_empty_or_replace_UID: Action.KEEP,
}
_TABLE = {
    Tag(tag): _LETTERS[function]
    for tag, function in package.initialize_actions("dicomfields_2026c").items()
    if len(tag) == 2  # noqa: PLR2004 - the others are of the repeating groups
}
_OWN = {
    "PatientID": Action.PSEUDONYM,
    "PatientName": Action.PSEUDONYM,
    "ReferencedStudySequence": Action.REMOVE,
    "ROIName": Action.TEXT,
}
_TABLE.update({Tag(str(keyword)): action for keyword, action in _OWN.items()})

# The profile for longitudinal information has the dates of the study, not those of the patient's life.
_NEVER_SHIFTED = {tag_for_keyword(keyword) for keyword in ("PatientBirthDate", "PatientBirthTime", "LastMenstrualDate")}
_CODE_KEYWORDS = {"CodeMeaning", "CodeValue", "CodingSchemeDesignator", "CodingSchemeVersion", "LongCodeValue"}
_CLASS_KEYWORDS = re.compile("SOPClass|TransferSyntaxUID|CodingSchemeUID|ContextUID|MappingResourceUID")
_FIRST_GROUP = 0x0008  # those before are of messages, of the file meta information and of a DICOMDIR
_REPEATING = re.compile("50|60")
_UID_FORM = re.compile(r"[0-9]+(\.[0-9]+)+")


def known_vr(tag: BaseTag) -> str:
    """Return the VR of PS3.6; "" for an attribute that pydicom's dictionary does not know."""
    return dictionary_VR(tag) if dictionary_has_tag(tag) else ""


def is_standard_uid(value: str, tag: BaseTag) -> bool:
    """Whether a UID stands in PS3.6, or names a class of objects or a code system, which are of no patient."""
    is_class = _CLASS_KEYWORDS.search(keyword_for_tag(tag)) and _UID_FORM.fullmatch(value)
    return UID(value).name != value or bool(is_class)


@lru_cache(maxsize=4096)
def action_for(tag: BaseTag, stored_vr: str, *, shift: bool) -> Action:
    """Return the action for an attribute.

    Args:
        tag: of a public attribute.
        stored_vr: the VR that the file gives it; the dictionary's counts too.
        shift: whether dates move and times stay (Retain Longitudinal Temporal Information with Modified Dates), or
            are treated as the basic profile does.
    """
    expected = known_vr(tag)
    vrs = {expected, stored_vr}
    listed = _TABLE.get(tag)
    if tag.group < _FIRST_GROUP or tag.element == 0 or _repeats(tag) or (not expected and listed is None):
        return Action.REMOVE
    if "SQ" in vrs:
        return _for_sequence(listed, readable=stored_vr == "SQ")
    if listed is Action.REMOVE and "UI" in vrs:
        return listed
    if "UI" in vrs:
        return Action.UID
    if shift and vrs & DATE_VRS and tag not in _NEVER_SHIFTED:
        return Action.DATE
    return listed or _unlisted(tag, expected, vrs)


def _for_sequence(listed: Action | None, *, readable: bool) -> Action:
    if not readable:  # its items cannot be looked into
        return Action.REMOVE
    return {None: Action.KEEP, Action.KEEP: Action.KEEP, Action.EMPTY: Action.EMPTY}.get(listed, Action.REMOVE)


def _unlisted(tag: BaseTag, expected: str, vrs: set[str]) -> Action:
    if "PN" in vrs:
        return Action.EMPTY
    if vrs & DATE_VRS or ("UR" in vrs and keyword_for_tag(tag) not in {"CodingSchemeURL", "URNCodeValue"}):
        return Action.REMOVE
    if vrs & TEXT_VRS and keyword_for_tag(tag) not in _CODE_KEYWORDS:
        return Action.TEXT
    return Action.NUMBER if expected in {"DS", "IS"} else Action.CODE if expected == "CS" else Action.KEEP


def _repeats(tag: BaseTag) -> bool:
    """Whether it is of a curve or an overlay (PS3.5 section 7.6)."""
    return bool(_REPEATING.fullmatch(f"{tag.group >> 8:02x}"))
