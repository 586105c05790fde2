"""The most confident mistakes of a classifier as pictures, beside themselves under a Grad-CAM map."""

from __future__ import annotations

import base64
import io
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import nibabel as nib
import numpy as np
import numpy.typing as npt
from PIL import Image

from pipeline.errors import InputError, one_line
from pipeline.evaluation.classification.table import ClassificationTable
from pipeline.reports.heatmaps import overlay
from pipeline.sources import CaseReader
from pipeline.sources.paths import first_of
from pipeline.sources.viewing import viewable

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ["Decision", "DrawnCase", "MapDrawer", "choose_decisions"]

logger = logging.getLogger(__name__)

_SIDE = 280  # display pixels along the longer side
_QUALITY = 85  # of JPEG
_SEEN = 0.5
_PERCENTILES, _SAMPLES = (0.5, 99.5), 2**20
_RGB, _VOLUME, _WHITE = 3, 3, 255
_THICK = 1.5  # how much larger one spacing is than the others where slices were acquired across that axis
_PLANES = ("sagittal", "coronal", "axial")
_DISPLAY = ("L", "P", "I")  # rows and columns of a slice run to the patient's left, back and feet
_THIRDS = (("upper", "middle", "lower"), ("left", "middle", "right"))

_Floats = npt.NDArray[np.float32]


class Decision(NamedTuple):
    """A decision on a case that is worth a look.

    Attributes:
        name: the case.
        number: the class that was decided on; with several classes per case the one with the surest wrong decision.
        confidence: the probability of the decision: of the class, or 1 - that where the class was denied.
        wrong: whether it is.
    """

    name: str
    number: int
    confidence: float
    wrong: bool


class DrawnCase(NamedTuple):
    """A picture for the page.

    Attributes:
        plain: as ``data:`` address of a JPEG.
        mapped: under its map, or "" where there is no map.
        width: of both.
        height: of both.
        words: which slice of a volume it is, or "".
        strongest: where the map is strongest, or that it is empty.
    """

    plain: str
    mapped: str
    width: int
    height: int
    words: str
    strongest: str


def choose_decisions(table: ClassificationTable, *, mistakes: int = 12, unsure: int = 6) -> list[Decision]:
    """The most confident mistakes, the surest first; where there are none, the least confident right decisions.

    Args:
        table: all cases; those without a prediction or a reference are left out.
        mistakes: how many at most.
        unsure: how many at most.
    """
    wrong, right = [], []
    for name in table.judged_names():
        case = table.cases[name]
        if case.missing is not None or case.reference is None:
            continue
        decided, p = table.decision(name), case.probabilities
        confidence = np.where(decided, p, 1 - p)
        if table.right(name):
            k = int(confidence.argmin()) if table.multi_label else int(p.argmax())
            right.append(Decision(name, k, float(confidence[k]), wrong=False))
            continue
        differs = decided != case.reference if table.multi_label else decided
        k = int(np.where(differs, confidence, -1).argmax())
        wrong.append(Decision(name, k, float(confidence[k]), wrong=True))
    if wrong:
        return sorted(wrong, key=lambda one: -one.confidence)[:mistakes]
    return sorted(right, key=lambda one: one.confidence)[:unsure]


class MapDrawer:
    """Draws a case for the page, and what speaks for a class in it, see :class:`pipeline.inferers.gradcam.ClassMaps`.

    Of a volume it is the slice with the strongest value of the map, across the axis of the thickest slices, and the
    axial one where voxels are about as long as wide; in radiological convention, with square pixels.

    Args:
        network: with its weights; None draws no maps.
        preprocessing: of one case; it is inverted to bring the map to the image.
        device: of the network.
    """

    def __init__(
        self,
        *,
        network: nn.Module | None,
        preprocessing: Callable[..., Any] | None,
        device: torch.device | str = "cpu",
    ) -> None:
        from pipeline.inferers.gradcam import ClassMaps

        self.maps = None if network is None or preprocessing is None else ClassMaps(network.to(device))
        self.preprocessing = preprocessing
        self.device = device

    def __call__(self, case: Mapping[str, Any], number: int) -> DrawnCase | None:
        """Draw a case.

        Args:
            case: ``name``, ``image`` (a file or folder, or several of which the first is shown) and whatever else the
                preprocessing wants.
            number: the class whose map is drawn.

        Returns:
            None where the image cannot be shown; without a map where only that cannot be made. Both are logged.
        """
        try:
            heat, seen = self._heat(case, number)
        except Exception as error:  # noqa: BLE001 - a report without one map is better than none
            logger.warning("%s: no Grad-CAM map in the report: %s", case["name"], one_line(error))
            heat, seen = None, None
        try:
            return _drawn(case["image"], heat, seen)
        except Exception as error:  # noqa: BLE001 - likewise
            logger.warning("%s: its image is not shown in the report: %s", case["name"], one_line(error))
            return None

    def _heat(self, case: Mapping[str, Any], number: int) -> tuple[_Floats | None, _Floats | None]:
        if self.maps is None or self.preprocessing is None:
            return None, None
        from pipeline.inferers.gradcam import on_input_grid

        image = self.preprocessing(dict(case))["image"]
        return on_input_grid(self.maps(image.to(self.device), number), image, self.preprocessing)


def _drawn(path: Any, heat: _Floats | None, seen: _Floats | None) -> DrawnCase:
    paths = first_of(path)
    words = ""
    volume = _volume(paths)
    if volume is None:
        pixels = viewable(paths[0])
        heat, seen = _each(np.transpose, heat, seen)
        height, width = pixels.shape[:2]
    else:
        pixels, heat, seen, words, (height, width) = _slice(*volume, heat, seen)
    if heat is not None and heat.shape != pixels.shape[:2]:
        raise InputError("picture and map differ in size", expected=pixels.shape[:2], got=heat.shape)
    scale = _SIDE / max(height, width)
    if volume is None and scale > 1:
        scale = int(scale)  # pixels stay squares of one size
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    shown = np.zeros(pixels.shape[:2], np.float32) if heat is None else np.ascontiguousarray(heat)
    visible = None if seen is None else np.ascontiguousarray(seen > _SEEN)
    plain, mapped = overlay(pixels, shown, size=size, seen=visible)
    strongest = "" if heat is None else _strongest(shown)
    return DrawnCase(_jpeg(plain), "" if heat is None else _jpeg(mapped), *size, words, strongest)


def _volume(paths: Sequence[Path]) -> tuple[npt.NDArray[Any], npt.NDArray[np.float64]] | None:
    """A volume's first channel, (X, Y, Z), and its affine; None of a picture or a single slice."""
    reader = CaseReader(dimensions=2, untilt=True)
    array, meta = reader.get_data(reader.read(paths))
    if len(np.asarray(meta["spatial_shape"]).ravel()) != _VOLUME:
        return None
    while array.ndim > _VOLUME:
        array = array[..., 0]
    return array, np.asarray(meta["affine"], dtype=np.float64)


def _slice(
    array: npt.NDArray[Any], affine: npt.NDArray[np.float64], heat: _Floats | None, seen: _Floats | None
) -> tuple[npt.NDArray[np.uint8], _Floats | None, _Floats | None, str, tuple[float, float]]:
    """The slice of the strongest value: pixels (height, width, 3), map, what was seen, words, and its size in mm."""
    if heat is not None and heat.shape != array.shape:
        raise InputError("volume and map differ in size", expected=array.shape, got=heat.shape)
    turn = nib.orientations.ornt_transform(
        nib.orientations.io_orientation(affine), nib.orientations.axcodes2ornt(_DISPLAY)
    )
    shown = np.asarray(nib.orientations.apply_orientation(array, turn))
    heat, seen = _each(lambda one: nib.orientations.apply_orientation(one, turn), heat, seen)
    spacing = np.empty(_VOLUME)
    spacing[turn[:, 0].astype(int)] = np.linalg.norm(affine[:_VOLUME, :_VOLUME], axis=0)
    across = int(spacing.argmax()) if spacing.max() > _THICK * np.median(spacing) else 2
    weights = np.zeros(1) if heat is None else np.moveaxis(heat, across, 0).reshape(heat.shape[across], -1).max(axis=1)
    place = int(weights.argmax()) if weights.any() else shown.shape[across] // 2
    flat = shown.take(place, axis=across).T
    heat, seen = _each(lambda one: one.take(place, axis=across).T, heat, seen)
    rows, columns = [axis for axis in range(_VOLUME) if axis != across][::-1]
    extent = (flat.shape[0] * spacing[rows], flat.shape[1] * spacing[columns])
    words = f"{_PLANES[across]} slice {place + 1} of {shown.shape[across]}"
    return _windowed(flat, shown), heat, seen, words, extent


def _each(change: Callable[[_Floats], _Floats], *given: _Floats | None) -> list[_Floats | None]:
    """Change each that there is."""
    return [None if one is None else change(one) for one in given]


def _windowed(flat: npt.NDArray[Any], volume: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """A slice in grey, (height, width, 3), between percentiles of the whole volume."""
    some = np.nan_to_num(volume.ravel()[:: max(1, volume.size // _SAMPLES)].astype(np.float64))
    low, high = np.percentile(some, _PERCENTILES)
    if not high > low:
        low, high = float(some.min()), max(float(some.max()), float(some.min()) + 1)
    scaled = ((np.nan_to_num(flat.astype(np.float64)) - low) / (high - low)).clip(0, 1)
    return np.repeat((scaled * _WHITE).round().astype(np.uint8)[..., np.newaxis], _RGB, axis=-1)


def _strongest(heat: _Floats) -> str:
    if not heat.any():
        return "nothing speaks for it"
    places = np.unravel_index(int(heat.argmax()), heat.shape)
    thirds = [
        names[min(int(3 * place / size), 2)] for names, place, size in zip(_THIRDS, places, heat.shape, strict=True)
    ]
    return f"strongest in the {'middle' if thirds == ['middle', 'middle'] else ' '.join(thirds)}"


def _jpeg(picture: Image.Image) -> str:
    data = io.BytesIO()
    picture.save(data, format="JPEG", quality=_QUALITY, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(data.getvalue()).decode('ascii')}"
