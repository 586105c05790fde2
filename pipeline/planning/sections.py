"""What every section of a plan has in common."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

__all__ = ["Count", "Engine", "Fraction", "Positive"]

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Engine = Literal["auto", "float32", "bfloat16", "float32-channels-last", "bfloat16-channels-last", "openvino"]
