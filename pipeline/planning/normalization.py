"""The intensity normalisations that a plan may choose."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipeline.planning.sections import Count, Positive
from pipeline.sources.label_table import Section

__all__ = [
    "NORMALIZATIONS",
    "PHOTOGRAPHS",
    "Clahe",
    "CtWindow",
    "Fixed",
    "ImageNet",
    "Normalization",
    "Percentile",
    "Unit",
    "ZScore",
]

# DICOM modalities of photographs (PS3.3 C.7.3.1.1.1): endoscopy, external camera, ophthalmic, dermoscopy, microscopy.
PHOTOGRAPHS = ("ES", "XC", "OP", "DMS", "GM", "SM")


class CtWindow(Section):
    """A window in Hounsfield units mapped to 0..1 and clipped (DICOM PS3.3 C.11.2.1.3.2, LINEAR_EXACT).

    Attributes:
        kind: ``ct_window``.
        center_hu: the value that becomes 0.5, in Hounsfield units.
        width_hu: the width of the window, in Hounsfield units, above 0.
    """

    kind: Literal["ct_window"]
    center_hu: float
    width_hu: Positive


class Percentile(Section):
    """Clip at two percentiles of the image and map them to 0..1.

    Attributes:
        kind: ``percentile``.
        lower: what becomes 0, in per cent, 0 to 100; below ``upper``. By default the few voxels that stand out are cut.
        upper: what becomes 1, in per cent, 0 to 100.
    """

    kind: Literal["percentile"]
    lower: Annotated[float, Field(ge=0, le=100)] = 0.5
    upper: Annotated[float, Field(ge=0, le=100)] = 99.5

    @model_validator(mode="after")
    def _ordered(self) -> Percentile:
        if self.lower >= self.upper:
            raise ValueError("lower must be below upper")
        return self


class ZScore(Section):
    """Zero mean and unit deviation per image and channel.

    Attributes:
        kind: ``zscore``.
        region: ``image`` takes every voxel, ``foreground`` the voxels that are not 0 (which stay 0).
        clip_percentiles: percentiles of the image to clip at before, 0 to 100; None does not clip.
    """

    kind: Literal["zscore"]
    region: Literal["image", "foreground"] = "image"
    clip_percentiles: tuple[float, float] | None = None


class Fixed(Section):
    """Subtract a fixed mean and divide by a fixed deviation, after an optional clip to given values.

    Attributes:
        kind: ``fixed``.
        mean: what becomes 0, in the image's unit, Hounsfield units for CT.
        deviation: the distance from it that becomes 1, in the same unit, above 0.
        clip: the lowest and the highest value that is kept, in the same unit; None does not clip.
    """

    kind: Literal["fixed"]
    mean: float
    deviation: Positive
    clip: tuple[float, float] | None = None


class Unit(Section):
    """The range of a picture's sample type, 0 to 255 or 0 to 65535, mapped to 0..1.

    Attributes:
        kind: ``unit``.
    """

    kind: Literal["unit"]


class Clahe(Section):
    """Contrast-limited adaptive histogram equalisation (Zuiderveld 1994) to 0..1.

    Attributes:
        kind: ``clahe``.
        clip_limit: the largest share of a tile's pixels that one grey level may take, above 0 to 1; 0.01 as in
            scikit-image.
        tiles: tiles per axis, 1 or more; 8 as in scikit-image.
    """

    kind: Literal["clahe"]
    clip_limit: Annotated[float, Field(gt=0, le=1)] = 0.01
    tiles: Count = 8


class ImageNet(Section):
    """``unit``, then mean and deviation of ImageNet's red, green and blue, as published weights expect.

    Attributes:
        kind: ``imagenet``.
        reason: why the statistics of photographs are right; needed where the modality is another.
    """

    kind: Literal["imagenet"]
    reason: str | None = None


NORMALIZATIONS = {
    "ct_window": CtWindow,
    "percentile": Percentile,
    "zscore": ZScore,
    "fixed": Fixed,
    "unit": Unit,
    "clahe": Clahe,
    "imagenet": ImageNet,
}
Normalization = Annotated[CtWindow | Percentile | ZScore | Fixed | Unit | Clahe | ImageNet, Field(discriminator="kind")]
