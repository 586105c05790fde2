"""Cases cut and packed small enough for the slice viewer of a report."""

from __future__ import annotations

import base64
import itertools
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["PackedCase", "ViewedCase", "pack_case"]

_MAX_SIDE = {True: 640, False: 160}  # display pixels along the longest side of a picture, and of a volume
_MARGIN, _MARGIN_MM = 0.25, 20.0  # around the labels: of their extent, at least
_STORED_PERCENTILES, _SHOWN_PERCENTILES = (0.1, 99.9), (1.0, 99.0)
_SAMPLES = 2**20  # voxels that percentiles are taken of
_COARSER = 1.1
_LEVEL = 6  # of zlib: 9 takes ten times as long for a percent
_BLUR_FROM = 1.25  # voxels of the image per display voxel
_PLANE = 2
_AXES = ("RL", "AP", "SI")  # letters towards the positive and the negative end of a RAS axis
_LPI = np.diag([-1.0, -1.0, -1.0, 1.0])  # display axes run to the patient's left, back and feet

_Floats = npt.NDArray[np.float64]
_Labels = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True, kw_only=True)
class ViewedCase:
    """A case for the slice viewer.

    Attributes:
        name: as in ``metrics.csv``.
        reference: label map of shape (X, Y, Z) or (X, Y).
        prediction: of the same shape, on the same grid.
        affine: 4x4, voxel indices to RAS mm; None of a picture, which has no place in space.
        image: of shape (X, Y, Z) or (X, Y), any real type; None where there is none: the outlines are then on black.
        image_affine: of the image, where it is on another grid than the labels.
        kind: why it is shown, such as ``worst``.
    """

    name: str
    reference: _Labels
    prediction: _Labels
    affine: npt.ArrayLike | None
    image: npt.NDArray[Any] | None = None
    image_affine: npt.ArrayLike | None = None
    kind: str = ""


class PackedCase(NamedTuple):
    """What the page gets.

    Attributes:
        facts: shape, voxel size, place, window and letters, for JSON.
        voxels: base64 of the zlib stream of uint8 volumes in C order (z, y, x): the image, where there is one, each
            voxel less the one before it (modulo 256), the reference and the prediction, numbered from 1 in the order
            of the labels. x runs to the patient's left, y to the back, z to the feet; of a picture x to the right and
            y down.
    """

    facts: dict[str, Any]
    voxels: str


class _Grid(NamedTuple):
    """Display voxels: their places in RAS mm (or in a picture), and how many there are."""

    affine: _Floats
    shape: tuple[int, int, int]
    voxel_mm: float


def pack_case(case: ViewedCase, labels: Sequence[int], *, max_bytes: int = 1_500_000) -> PackedCase:
    """Cut a case to its labels with a margin, bring it to isotropic voxels along the patient's axes, and compress it.

    Args:
        case: of any orientation and spacing.
        labels: the label values that were scored; others are background.
        max_bytes: how long the base64 may be; the voxels are made larger until it fits.

    Returns:
        The facts and the compressed voxels. Labels are sampled by the nearest voxel, the image linearly.
    """
    flat = _flat_axis(case)
    reference, prediction = (_numbered(_solid(m, flat), labels) for m in (case.reference, case.prediction))
    affine = _display_affine(case.affine, flat)
    image, image_affine = None, affine
    if case.image is not None:
        image = _solid(case.image, flat)
        image_affine = affine if case.image_affine is None else _display_affine(case.image_affine, flat)
    low, high = _box(reference, prediction, affine)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    used = [axis for axis in range(3) if reference.shape[axis] > 1] or [0]
    voxel_mm = max(float(spacing[used].min()), _longest(affine, low, high) / (_MAX_SIDE[flat is not None] - 1))
    while True:
        grid = _grid(affine, low, high, voxel_mm)
        packed = _packed(grid, image, image_affine, (reference, prediction), affine)
        if len(packed.voxels) <= max_bytes or max(grid.shape) == 1:
            break
        voxel_mm *= max(_COARSER, (len(packed.voxels) / max_bytes) ** (1 / len(used)))
    letters = _letters(case.affine, flat)
    measured = "mm" if case.affine is not None else "pixel"
    return PackedCase({**packed.facts, "letters": letters, "unit": measured, "flat": flat is not None}, packed.voxels)


def _packed(
    grid: _Grid, image: npt.NDArray[Any] | None, image_affine: _Floats, maps: Sequence[_Labels], affine: _Floats
) -> PackedCase:
    facts: dict[str, Any] = {
        "shape": list(grid.shape),
        "voxel": round(grid.voxel_mm, 6),
        "origin": grid.affine[:3, 3].round(4).tolist(),
        "range": None,
        "window": None,
    }
    parts = []
    if image is not None:
        values = _sampled_image(image, image_affine, grid)
        stored, shown = _windows(values)
        facts |= {"range": stored, "window": shown}
        scaled = np.rint((values - stored[0]) / (stored[1] - stored[0]) * 255).clip(0, 255).astype(np.uint8)
        in_order = scaled.transpose(2, 1, 0).ravel()
        parts.append(np.diff(in_order, prepend=np.uint8(0)))  # modulo 256; compresses better
    parts += [_sampled(m, affine, grid, order=0).transpose(2, 1, 0).ravel() for m in maps]
    compressed = zlib.compress(np.concatenate(parts).tobytes(), _LEVEL)
    return PackedCase(facts, base64.b64encode(compressed).decode("ascii"))


def _flat_axis(case: ViewedCase) -> int | None:
    """The axis along which a case is a single slice, 2 of an (X, Y) array; None of a volume."""
    if case.reference.ndim == _PLANE:
        return _PLANE
    single = [axis for axis, size in enumerate(case.reference.shape) if size == 1]
    return single[-1] if single else None


def _solid(array: npt.NDArray[Any], flat: int | None) -> npt.NDArray[Any]:
    """Of shape (X, Y, Z), a single slice along the last axis."""
    if array.ndim == _PLANE:
        return array[..., None]
    return array if flat is None else np.moveaxis(array, flat, -1)


def _display_affine(affine: npt.ArrayLike | None, flat: int | None) -> _Floats:
    """Voxel indices to RAS mm; of a single slice to the plane that the screen is."""
    if affine is None:
        return np.diag([-1.0, -1.0, -1.0, 1.0])
    given = np.asarray(affine, dtype=np.float64)
    if flat is None:
        return given
    first, second = np.linalg.norm(np.delete(given[:3, :3], flat, axis=1), axis=0)
    return np.diag([-first, -second, -1.0, 1.0])


def _letters(affine: npt.ArrayLike | None, flat: int | None) -> list[str] | None:
    """What a slice has at its left, right, top and bottom; None of a volume, for which it is always the same."""
    if flat is None or affine is None:
        return None
    columns = np.delete(np.asarray(affine, dtype=np.float64)[:3, :3], flat, axis=1)
    found = []
    for direction in columns.T:
        axis = int(np.abs(direction).argmax())
        found += list(_AXES[axis][:: -1 if direction[axis] > 0 else 1])
    return found


def _numbered(values: _Labels, labels: Sequence[int]) -> npt.NDArray[np.uint8]:
    """1 for the first label and so on; from the 255th on they share a number."""
    highest = max([int(values.max(initial=0)), *labels])
    table = np.zeros(highest + 1, dtype=np.uint8)
    table[np.array(labels, dtype=np.int64)] = np.minimum(np.arange(1, len(labels) + 1), 255)
    numbered: npt.NDArray[np.uint8] = table[np.maximum(values, 0)]
    return numbered


def _box(reference: _Labels, prediction: _Labels, affine: _Floats) -> tuple[_Floats, _Floats]:
    """The first and last voxel of the part that is shown, along each axis."""
    either = (reference != 0) | (prediction != 0)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    low, high = np.zeros(3), np.array(either.shape, dtype=np.float64) - 1
    filled = [np.flatnonzero(either.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    if not filled[0].size:
        return low, high
    first, last = (np.array([places[end] for places in filled], dtype=np.float64) for end in (0, -1))
    extent = (last - first + 1) * spacing
    margin = np.ceil(np.maximum(extent.max() * _MARGIN, _MARGIN_MM) / spacing)
    return np.maximum(first - margin, low), np.minimum(last + margin, high)


def _corners(affine: _Floats, low: _Floats, high: _Floats) -> _Floats:
    ends = itertools.product(*zip(low, high, strict=True), (1.0,))
    corners: _Floats = (_LPI @ affine @ np.array(list(ends)).T)[:3]
    return corners


def _longest(affine: _Floats, low: _Floats, high: _Floats) -> float:
    return float(np.ptp(_corners(affine, low, high), axis=1).max())


def _grid(affine: _Floats, low: _Floats, high: _Floats, voxel_mm: float) -> _Grid:
    """Display voxels over a box; those of an isotropic volume along the patient's axes are its own."""
    corners = _corners(affine, low, high)
    start, length = corners.min(axis=1), np.ptp(corners, axis=1)
    x, y, z = (int(n) for n in np.floor(length / voxel_mm + 1e-3) + 1)
    placed = np.diag([voxel_mm, voxel_mm, voxel_mm, 1.0])
    placed[:3, 3] = start
    return _Grid(_LPI @ placed, (x, y, z), voxel_mm)


def _sampled(
    array: npt.NDArray[Any], affine: _Floats, grid: _Grid, *, order: int, outside: float = 0.0
) -> npt.NDArray[Any]:
    from scipy.ndimage import affine_transform

    matrix = np.linalg.inv(affine) @ grid.affine
    out: npt.NDArray[Any] = affine_transform(
        array,
        matrix[:3, :3],
        matrix[:3, 3],
        output_shape=grid.shape,
        order=order,
        mode="grid-constant",
        cval=outside,
    )
    return out


def _sampled_image(image: npt.NDArray[Any], affine: _Floats, grid: _Grid) -> npt.NDArray[np.float32]:
    """Linearly, blurred before where display voxels are larger than the image's; only the part that is shown."""
    from scipy.ndimage import gaussian_filter

    matrix = np.linalg.inv(affine) @ grid.affine
    ends = np.array(list(itertools.product(*[(0, n - 1) for n in grid.shape], (1,)))).T
    places = (matrix @ ends)[:3]
    first = np.clip(np.floor(places.min(axis=1)) - 2, 0, np.array(image.shape) - 1).astype(int)
    last = np.clip(np.ceil(places.max(axis=1)) + 3, first + 1, image.shape).astype(int)
    part = image[tuple(slice(a, b) for a, b in zip(first, last, strict=True))].astype(np.float32)
    part = np.nan_to_num(part)
    darkest = float(part.min())
    ratio = grid.voxel_mm / np.linalg.norm(affine[:3, :3], axis=0)
    if (ratio > _BLUR_FROM).any():
        part = gaussian_filter(part, np.where(ratio > _BLUR_FROM, ratio / 3, 0))
    moved = affine.copy()
    moved[:3, 3] += affine[:3, :3] @ first
    return _sampled(part, moved, grid, order=1, outside=darkest).astype(np.float32)


def _windows(values: npt.NDArray[np.float32]) -> tuple[list[float], list[float]]:
    """Between which intensities voxels are stored, and shown at first."""
    some = values.ravel()[:: max(1, values.size // _SAMPLES)]
    low, high, first, last = np.percentile(some, [*_STORED_PERCENTILES, *_SHOWN_PERCENTILES]).tolist()
    if not high > low:
        low, high = float(values.min()), float(values.max())
    if not high > low:
        high = low + 1
    if not last > first:
        first, last = low, high
    return [low, high], [first, last]
