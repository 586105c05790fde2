"""The header of one DICOM file: what its place in a volume and its stored values need."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.dicom.sop_classes import ENHANCED, PICTURES, PROJECTIONS

if TYPE_CHECKING:
    from pipeline.dicom.reading.modality_lut import ModalityLut

__all__ = ["Concatenation", "Header"]


@dataclass(frozen=True, kw_only=True)
class Concatenation:
    """That an instance is part ``number`` of ``total`` of one image cut in parts (PS3.3 C.7.6.16.2.2.4)."""

    uid: str
    number: str
    total: str


@dataclass(frozen=True, kw_only=True)
class Header:
    """The part of one instance's header, or of one frame's, that grouping, geometry and pixel reading need.

    ``patient`` holds hashes of the patient's ID and name ("" when absent): enough to tell two patients apart,
    and nothing that could be printed. ``pixel_offset`` is where the native pixel values begin in the file;
    ``None`` when they are compressed, deflated or big endian. ``problem`` is the reason why this file cannot be used.

    ``acquisition`` are the values of :data:`~pipeline.dicom.reading.image_modules.ACQUISITION_KEYWORDS` as text.
    ``placed`` says whether it tells a place in the patient, sound or not. ``frame_headers`` are the frames of an
    enhanced multi-frame image, each with the file's path and its own place; ``frame`` counts them from 0.
    """

    path: Path
    sop_class_uid: str
    sop_instance_uid: str
    series_uid: str
    transfer_syntax_uid: str
    patient: tuple[str, str] = field(repr=False)
    modality: str
    number: int | None
    description: str
    rows: int = 0
    columns: int = 0
    frames: int = 1
    frame_of_reference_uid: str = ""
    photometric: str = ""
    bits_allocated: int = 0
    bits_stored: int = 0
    signed: bool = False
    orientation: tuple[float, ...] = ()
    position: tuple[float, ...] = ()
    pixel_spacing: tuple[float, ...] = ()
    slice_extent_mm: float = 1.0
    slope: float | None = None
    intercept: float | None = None
    lut: ModalityLut | None = field(default=None, repr=False)
    localizer: bool = False
    placed: bool = False
    acquisition: tuple[str, ...] = ()
    stack_id: str = ""
    frame: int = 0
    concatenation: Concatenation | None = None
    frame_headers: tuple[Header, ...] = field(default=(), repr=False)
    pixel_offset: int | None = None
    problem: str | None = None

    @property
    def name(self) -> str:
        """The file's name, and which frame of an enhanced multi-frame image it is."""
        return (
            f"{self.path.name}, frame {self.frame + 1}" if self.enhanced and not self.frame_headers else self.path.name
        )

    @property
    def is_picture(self) -> bool:
        """Whether it is a picture and no slice: a projection, or of a kind that needs no place and has none."""
        return self.sop_class_uid in PROJECTIONS or (self.sop_class_uid in PICTURES and not self.placed)

    @property
    def enhanced(self) -> bool:
        """Whether the file is an enhanced multi-frame image, which holds a whole volume."""
        return self.sop_class_uid in ENHANCED
