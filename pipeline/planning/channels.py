"""The images of a case, and how each is told from the others."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, field_validator

from pipeline.planning.normalization import CtWindow, Fixed, Percentile, ZScore
from pipeline.sources.label_table import Section

__all__ = ["Channel", "Channels"]


class Channel(Section):
    """One image of a case; in a plan its name alone will do.

    Files are told by nnU-Net's numbers at the end of their names (``_0000`` for the first channel), or by ``files``,
    or by the channel's name as a word of the file's name. DICOM series of one study are told by ``modality``,
    ``description`` and ``body_part``, of which all that are given must hold; without any, by the channel's name as
    the modality or as a word of the description.

    Attributes:
        name: what the channel shows.
        files: a pattern of the file's name, such as ``*_t1.*``, or a word of it, in any case of letters.
        modality: DICOM's code (CT, MR, PT ...).
        description: a regular expression that is searched for in SeriesDescription, in any case of letters.
        body_part: DICOM's BodyPartExamined, in any case of letters.
        normalization: instead of the plan's ``preprocessing.normalization``, for this channel alone.
        optional: whether a case may lack it; it is 0 then, after the normalisation. The network must have been
            trained for that by ``training.augmentation.channel_dropout``.
    """

    name: Annotated[str, Field(min_length=1)]
    files: Annotated[str, Field(min_length=1)] | None = None
    modality: str | None = None
    description: str | None = None
    body_part: str | None = None
    normalization: CtWindow | Percentile | ZScore | Fixed | None = Field(default=None, discriminator="kind")
    optional: bool = False

    @field_validator("description")
    @classmethod
    def _is_pattern(cls, description: str | None) -> str | None:
        try:
            re.compile(description or "")
        except re.error as error:
            raise ValueError(f"must be a regular expression: {error}") from None
        return description

    @property
    def rule(self) -> dict[str, Any]:
        """What is given, as :func:`pipeline.data.find_inputs` takes it."""
        return self.model_dump(exclude_defaults=True, exclude={"normalization"})


def _named(entry: Any) -> Any:
    return {"name": entry} if isinstance(entry, str) else entry


Channels = Annotated[tuple[Annotated[Channel, BeforeValidator(_named)], ...], Field(min_length=1)]
