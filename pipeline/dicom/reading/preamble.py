"""Whether bytes begin a DICOM file (PS3.10 section 7.1)."""

from __future__ import annotations

__all__ = ["PREAMBLE_BYTES", "begins_bare", "begins_dicom", "promises_dicom"]

PREAMBLE_BYTES = 132
_PREFIX = b"DICM"
_SUFFIXES = (".dcm", ".dicom", ".ima")
# The first elements that a file without preamble begins with: group length, SOP class, image type, character set.
_FIRST_GROUPS, _FIRST_ELEMENTS = (
    (b"\x02\x00", b"\x08\x00"),
    (b"\0\0", b"\x01\0", b"\x02\0", b"\5\0", b"\x08\0", b"\x16\0"),
)
_LONGEST_FIRST_VALUE = 256  # of implicit VR, whose length stands where explicit VR has two letters


def begins_dicom(head: bytes) -> bool:
    """Whether the first :data:`PREAMBLE_BYTES` bytes of a file are those of DICOM, with or without preamble."""
    return head[128:132] == _PREFIX or begins_bare(head)


def begins_bare(head: bytes) -> bool:
    """Whether they begin with a data element of group 0002 or 0008, as files of old archives without preamble do."""
    if head[128:132] == _PREFIX or head[:2] not in _FIRST_GROUPS or head[2:4] not in _FIRST_ELEMENTS:
        return False
    explicit = head[4:6].isalpha() and head[4:6].isupper()
    return explicit or 0 < int.from_bytes(head[4:8], "little") <= _LONGEST_FIRST_VALUE


def promises_dicom(name: str) -> bool:
    """Whether a file's name says that it is DICOM."""
    return name.lower().endswith(_SUFFIXES)
