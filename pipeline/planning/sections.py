"""What every section of a plan has in common."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Color", "Count", "Engine", "Fraction", "Positive", "Section"]

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
_Byte = Annotated[int, Field(ge=0, le=255)]
Color = tuple[_Byte, _Byte, _Byte]
Engine = Literal["auto", "float32", "bfloat16", "float32-channels-last", "bfloat16-channels-last", "openvino"]


class Section(BaseModel):
    """A part of a plan: unknown fields are refused, and nothing is changed later."""

    model_config = ConfigDict(extra="forbid", frozen=True)
