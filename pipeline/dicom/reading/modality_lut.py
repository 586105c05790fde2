"""The look-up table from stored values to values with a meaning (PS3.3 C.11.1.1.1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import RawDataElement

from pipeline.dicom.elements import first_item
from pipeline.errors import InputError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

__all__ = ["ModalityLut", "read_modality_lut"]

Array: TypeAlias = "np.ndarray[tuple[int, ...], np.dtype[Any]]"

_MOST_ENTRIES = 65536  # written as 0 in a descriptor, whose numbers have 16 bits


@dataclass(frozen=True, eq=False)
class ModalityLut:
    """A Modality LUT: stored value ``first`` becomes ``entries[0]``, the next one ``entries[1]``, and so on."""

    first: int
    entries: Array

    def __call__(self, stored: Array) -> Array:
        """Return the entries for stored values of any shape; those beyond the table get its first or last entry."""
        index = np.clip(stored.astype(np.int64) - self.first, 0, len(self.entries) - 1)
        return self.entries[index]


def read_modality_lut(dataset: Dataset, *, signed: bool, where: str) -> ModalityLut | None:
    """Read the table of ModalityLUTSequence; ``None`` where there is none.

    LUTDescriptor is US or SS, and LUTData is OW or US: entries of 8 bits lie two in a word, or one in each.

    Args:
        dataset: the image.
        signed: whether the stored values, and with them the first value mapped, are signed.
        where: the file's name.

    Raises:
        InputError: the table is shorter than it says, or says nonsense.
    """
    item = first_item(dataset, "ModalityLUTSequence")
    if item is None:
        return None
    count, first, bits = (*_words(item, "LUTDescriptor").tolist(), 0, 0, 0)[:3]
    count = count or _MOST_ENTRIES
    if signed and first >= 1 << 15:
        first -= 1 << 16
    words = _words(item, "LUTData")
    if not 8 <= bits <= 16 or len(words) < (count + 1) // 2:  # noqa: PLR2004 - PS3.3 C.11.1.1
        raise InputError(
            "the look-up table of the values (ModalityLUTSequence) cannot be used",
            where=where,
            expected=f"{count} entries of 8 to 16 bits",
            got=f"{len(words)} of {bits} bits",
        )
    if len(words) < count:
        if bits > 8:  # noqa: PLR2004
            raise InputError(
                "the look-up table of the values (ModalityLUTSequence) is too short",
                where=where,
                expected=f"{count} entries",
                got=len(words),
            )
        words = words.astype("<u2").view(np.uint8)
    return ModalityLut(first, words[:count].copy())


def _words(item: Dataset, keyword: str) -> Array:
    """Return a value of 16-bit words, whatever its VR."""
    tag = tag_for_keyword(keyword)
    element = None if tag is None else item.get_item(tag)
    if element is None or element.value is None:
        return np.zeros(0, dtype=np.uint16)
    value = element.value
    if isinstance(value, bytes):
        little = (
            element.is_little_endian if isinstance(element, RawDataElement) else item.original_encoding[1] is not False
        )
        return np.frombuffer(value, dtype="<u2" if little else ">u2", count=len(value) // 2).astype(np.uint16)
    return np.atleast_1d(np.asarray(value, dtype=np.int64)).astype(np.uint16)
