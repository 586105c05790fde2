"""Labels as closed surfaces, for 3D viewers and printers."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.ndimage import find_objects, gaussian_filter
from scipy.ndimage import label as components
from scipy.optimize import brentq
from skimage.measure import marching_cubes

from pipeline.dicom import Segment
from pipeline.errors import InputError
from pipeline.reports.mesh_files import WRITERS, Mesh
from pipeline.transforms.picture_masks import label_colors

__all__ = ["surface", "write_surfaces"]

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
Surface = tuple[Floats, Indices]

SMOOTHING_VOXEL = 0.5
"""Width of the Gaussian before the surface is found; a wider one would wash away lines of single voxels."""

PASSES = (10, 3, 0)
"""Passes of smoothing over the surface, each a step inwards and a larger one outwards: the most that leave enough of a
part, since a line of single voxels would shrink away."""

_IN, _OUT = 0.5, -0.53
_PAD = 3  # voxels; the Gaussian is 0 beyond two
_LOWEST, _HIGHEST = 0.02, 0.95  # the levels to search between, the latter as a part of the largest value
_LEVEL_TOLERANCE = 1e-3
_SCALED_AWAY = 0.03  # the largest difference in volume that scaling may take away
_TOUCHING = np.ones((3, 3, 3), dtype=bool)

_log = logging.getLogger(__name__)


def write_surfaces(
    labels: npt.NDArray[np.uint8],
    *,
    affine: npt.NDArray[np.float64],
    segments: Sequence[Segment],
    path: str | os.PathLike[str],
) -> list[Path]:
    """Write the closed surface of each label, which holds exactly the volume of its voxels (see :func:`surface`).

    The suffix of ``path`` is the format:

    - ``.stl``, binary: points in LPS mm, which the header says as 3D Slicer does (``SPACE=LPS``). The format holds one
      surface and no colour: for several segments there is a file for each, ``NAME_segment.stl``.
    - ``.obj``: points in LPS mm (``SPACE=LPS`` in a comment), a group per label, and its colours in ``NAME.mtl``.
    - ``.glb`` (glTF 2.0): a node per label with its name and colour. As glTF demands, points are in metres, +Y is up
      (the patient's head) and +Z the front (anterior), so that +X is the patient's left.

    Each file appears whole or not at all; older ones are replaced.

    Args:
        labels: uint8, axes (i, j, k).
        affine: 4x4, voxel (i, j, k) to RAS mm; it may be oblique, sheared or left-handed.
        segments: what each label value means. One without a colour gets one of Okabe and Ito's.
        path: the file to write.

    Returns:
        The files written. A label without voxels has no surface; where none has voxels, nothing is written.

    Raises:
        InputError: the format is none of these, or a file cannot be written.
    """
    path = Path(path)
    write = WRITERS.get(path.suffix.lower())
    if write is None:
        raise InputError("no such format of surfaces", where=path, expected=" or ".join(WRITERS), got=path.suffix)
    affine = np.asarray(affine, dtype=np.float64)
    boxes = find_objects(labels, max_label=max((segment.value for segment in segments), default=0))
    colors, names = label_colors(segments), _file_names(segments)
    meshes = []
    for segment in segments:
        box = boxes[segment.value - 1]
        if box is None:
            _log.info("%s: label '%s' is empty and has no surface", path, segment.name)
            continue
        origin = [part.start for part in box]
        points, faces = surface(labels[box] == segment.value)
        points = (points + origin) @ affine[:3, :3].T + affine[:3, 3]
        if np.linalg.det(affine[:3, :3]) < 0:  # a mirror turns the faces inside out
            faces = faces[:, ::-1]
        meshes.append(Mesh(segment.name, names[segment.value], colors[segment.value], points, faces))
    return write(meshes, path, len(segments) > 1) if meshes else []


def surface(mask: Bools) -> Surface:
    """Return a smooth closed surface that holds as much as a mask.

    Each part (26-connected) is found by itself, so that none vanishes: the mask is smoothed a little, its surface is
    taken by marching cubes (Lewiner et al. 2003) and smoothed without shrinking (Taubin, SIGGRAPH 1995), at the level
    at which the volume is that of the voxels. What is left of a difference, in volume or centre of gravity, is taken
    away by scaling and shifting the part. All of it commutes with an affine, so that voxels of any shape will do.

    Args:
        mask: axes (i, j, k), with at least one voxel.

    Returns:
        Points (n, 3) in voxels and faces (m, 3) as indices into them, anticlockwise from outside. The volume within is
        the number of voxels.
    """
    points, faces, total = [], [], 0
    for part, origin in _parts(mask):
        own, triangles = _part_surface(part)
        points.append(own + origin)
        faces.append(triangles + total)
        total += len(own)
    return np.concatenate(points), np.concatenate(faces)


def _parts(mask: Bools) -> Iterator[tuple[Bools, Indices]]:
    """Give the connected parts of a mask, each cut out, and where it begins."""
    numbered, _ = components(mask, structure=_TOUCHING)
    for number, box in enumerate(find_objects(numbered), start=1):
        yield numbered[box] == number, np.array([part.start for part in box], dtype=np.int64)


def _part_surface(mask: Bools) -> Surface:
    voxels = int(np.count_nonzero(mask))
    field = gaussian_filter(np.pad(mask, _PAD).astype(np.float32), SMOOTHING_VOXEL)
    for passes in PASSES:
        points, faces = _at_level(field, _level(field, voxels, passes), passes)
        if abs(_volume(points, faces) / voxels - 1) < _SCALED_AWAY:
            break
    middle = points.mean(axis=0)
    points = (points - middle) * np.cbrt(voxels / _volume(points, faces))
    return points - _centroid(points, faces) + np.argwhere(mask).mean(axis=0), faces


def _level(field: npt.NDArray[np.float32], voxels: int, passes: int) -> float:
    """Return the level at which the surface holds a number of voxels, or the nearest to it."""

    def excess(level: float) -> float:
        return _volume(*_at_level(field, level, passes)) / voxels - 1

    low, high = _LOWEST, _HIGHEST * float(field.max())
    if excess(low) < 0:
        return low
    return high if excess(high) > 0 else float(brentq(excess, low, high, xtol=_LEVEL_TOLERANCE))


def _at_level(field: npt.NDArray[np.float32], level: float, passes: int) -> Surface:
    points, faces, _, _ = marching_cubes(field, level, gradient_direction="ascent")
    return _smoothed(points.astype(np.float64), faces, passes), faces.astype(np.int64)


def _smoothed(points: Floats, faces: Indices, passes: int) -> Floats:
    """Move each point towards the mean of its neighbours and back."""
    if not passes:
        return points
    start, end = faces[:, [0, 1, 2]].ravel(), faces[:, [1, 2, 0]].ravel()  # on a closed surface both ways of each edge
    size = (len(points), len(points))
    mean = sparse.csr_array((np.ones(len(start)), (start, end)), shape=size)
    mean = sparse.diags_array(1 / np.maximum(mean.sum(axis=1), 1)) @ mean
    for _ in range(passes):
        for step in (_IN, _OUT):
            points = points + step * (mean @ points - points)
    return points


def _volume(points: Floats, faces: Indices) -> float:
    """Return the volume within a closed surface, by the divergence theorem."""
    return float(_tetrahedra(points - points[0], faces).sum())


def _centroid(points: Floats, faces: Indices) -> Floats:
    """Return the centre of gravity of what is within a closed surface (3,)."""
    near = points - points[0]
    volumes = _tetrahedra(near, faces)
    centroid: Floats = points[0] + volumes @ near[faces].sum(axis=1) / (4 * volumes.sum())
    return centroid


def _tetrahedra(points: Floats, faces: Indices) -> Floats:
    """Return the signed volumes (m,) between the faces and the origin."""
    one, two, three = (points[faces[:, corner]] for corner in range(3))
    volumes: Floats = np.einsum("ij,ij->i", one, np.cross(two, three)) / 6
    return volumes


def _file_names(segments: Sequence[Segment]) -> dict[int, str]:
    """Return for each label value its name as a part of a file's name; equal ones get their value."""
    plain = {segment.value: re.sub(r"[^\w.-]+", "_", segment.name).strip("._") for segment in segments}
    taken = [name.casefold() for name in plain.values()]
    return {
        value: name if name and taken.count(name.casefold()) == 1 else f"{name or 'label'}_{value}"
        for value, name in plain.items()
    }
