"""Files of triangles: STL, OBJ and GLB."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import pipeline
from pipeline.space import swap_lps_ras
from pipeline.writing import whole_file

__all__ = ["WRITERS", "Mesh", "write_glb", "write_obj", "write_stl"]

Floats = npt.NDArray[np.float64]

_NOTE = f"medbundle {pipeline.__version__}. SPACE=LPS"

_STL_TRIANGLE = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attributes", "<u2")])
_STL_HEADER_BYTES = 80

# glTF 2.0, sections 3.6.2, 3.7.2 and 4.
_GLB_MAGIC, _GLB_VERSION, _JSON_CHUNK, _BINARY_CHUNK = b"glTF", 2, b"JSON", b"BIN\0"
_FLOAT, _UNSIGNED_INT = 5126, 5125
_VERTICES, _INDICES = 34962, 34963
_M_PER_MM = 1e-3
_LARGEST_COLOR = 255
_GAMMA = 2.4  # of sRGB (IEC 61966-2-1), above its linear part


@dataclass(frozen=True, eq=False)
class Mesh:
    """A closed surface.

    Attributes:
        name: as it was given.
        file_name: the name with letters, digits, points and dashes alone.
        color: sRGB.
        points: (n, 3), RAS mm.
        faces: (m, 3), indices into the points, anticlockwise from outside.
    """

    name: str
    file_name: str
    color: tuple[int, int, int]
    points: Floats
    faces: npt.NDArray[np.int64]


def write_stl(meshes: Sequence[Mesh], path: Path, apart: bool) -> list[Path]:
    """Write binary STL, LPS mm: a file for each mesh if they stand ``apart``, else one file."""
    written = []
    for mesh in meshes:
        target = path.with_name(f"{path.stem}_{mesh.file_name}{path.suffix}") if apart else path
        triangles = np.zeros(len(mesh.faces), dtype=_STL_TRIANGLE)
        triangles["corners"] = (swap_lps_ras(mesh.points))[mesh.faces]
        triangles["normal"] = _unit(_face_normals(triangles["corners"].astype(np.float64)))
        with whole_file(target) as temporary, temporary.open("wb") as file:
            file.write(_NOTE.encode("ascii").ljust(_STL_HEADER_BYTES))
            file.write(np.array(len(triangles), dtype="<u4").tobytes())
            file.write(triangles.tobytes())
        written.append(target)
    return written


def write_obj(meshes: Sequence[Mesh], path: Path, _apart: bool) -> list[Path]:
    """Write OBJ, LPS mm, with a group per mesh and its colour in an MTL file beside it, which is there first."""
    materials = path.with_suffix(".mtl")
    first = 1
    with ExitStack() as stack:
        objects, colors = (
            stack.enter_context(stack.enter_context(whole_file(file)).open("w", encoding="utf-8", newline="\n"))
            for file in (path, materials)
        )
        objects.write(f"# {_NOTE}\nmtllib {materials.name}\n")
        for mesh in meshes:
            shade = " ".join(f"{value / _LARGEST_COLOR:.6f}" for value in mesh.color)
            colors.write(f"newmtl {mesh.file_name}\nKd {shade}\nKa 0 0 0\nKs 0 0 0\nd 1\nillum 1\n")
            objects.write(f"g {mesh.file_name}\nusemtl {mesh.file_name}\n")
            np.savetxt(objects, swap_lps_ras(mesh.points), fmt="v %.5f %.5f %.5f")
            np.savetxt(objects, mesh.faces + first, fmt="f %d %d %d")
            first += len(mesh.points)
    return [path, materials]


def write_glb(meshes: Sequence[Mesh], path: Path, _apart: bool) -> list[Path]:
    """Write binary glTF 2.0: metres, x to the patient's left, y to the head, z to the front; a node per mesh."""
    document: dict[str, Any] = {
        "asset": {"version": "2.0", "generator": f"medbundle {pipeline.__version__}"},
        "scene": 0,
        "scenes": [{"nodes": list(range(len(meshes)))}],
        "nodes": [{"name": mesh.name, "mesh": number} for number, mesh in enumerate(meshes)],
        "meshes": [],
        "materials": [_material(mesh) for mesh in meshes],
        "accessors": [],
        "bufferViews": [],
    }
    binary = bytearray()
    for number, mesh in enumerate(meshes):
        points = mesh.points[:, [0, 2, 1]] * (-_M_PER_MM, _M_PER_MM, _M_PER_MM)
        position = points.astype("<f4")
        extent = {"min": position.min(axis=0).tolist(), "max": position.max(axis=0).tolist()}
        primitive = {
            "attributes": {
                "POSITION": _add(document, binary, position, "VEC3", extent=extent),
                "NORMAL": _add(document, binary, _normals(points, mesh.faces).astype("<f4"), "VEC3"),
            },
            "indices": _add(document, binary, mesh.faces.astype("<u4").ravel(), "SCALAR"),
            "material": number,
        }
        document["meshes"].append({"name": mesh.name, "primitives": [primitive]})
    document["buffers"] = [{"byteLength": len(binary)}]
    text = json.dumps(document, separators=(",", ":")).encode()
    chunks = ((_JSON_CHUNK, text + b" " * (-len(text) % 4)), (_BINARY_CHUNK, bytes(binary)))
    size = 12 + sum(8 + len(content) for _, content in chunks)
    with whole_file(path) as temporary, temporary.open("wb") as file:
        file.write(_GLB_MAGIC + np.array([_GLB_VERSION, size], dtype="<u4").tobytes())
        for kind, content in chunks:
            file.write(np.array(len(content), dtype="<u4").tobytes() + kind + content)
    return [path]


def _add(
    document: dict[str, Any],
    binary: bytearray,
    array: npt.NDArray[Any],
    kind: str,
    *,
    extent: Mapping[str, Any] | None = None,
) -> int:
    """Append an array of 4-byte numbers to the buffer and return the index of its accessor."""
    target = _INDICES if kind == "SCALAR" else _VERTICES
    view = {"buffer": 0, "byteOffset": len(binary), "byteLength": array.nbytes, "target": target}
    document["bufferViews"].append(view)
    number = _FLOAT if array.dtype.kind == "f" else _UNSIGNED_INT
    accessor = {"bufferView": len(document["bufferViews"]) - 1, "componentType": number, "count": len(array)}
    document["accessors"].append({**accessor, "type": kind, **(extent or {})})
    binary += array.tobytes()
    return len(document["accessors"]) - 1


def _material(mesh: Mesh) -> dict[str, Any]:
    factors = [_linear(value / _LARGEST_COLOR) for value in mesh.color]
    surface = {"baseColorFactor": [*factors, 1.0], "metallicFactor": 0.0, "roughnessFactor": 0.7}
    return {"name": mesh.name, "pbrMetallicRoughness": surface}


def _linear(value: float) -> float:
    """Return the light of an sRGB value: glTF's factors are linear."""
    return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** _GAMMA  # noqa: PLR2004


def _face_normals(corners: Floats) -> Floats:
    """Return the normals (m, 3) of triangles (m, corner, 3), twice their area long."""
    normals: Floats = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return normals


def _normals(points: Floats, faces: npt.NDArray[np.int64]) -> Floats:
    """Return a unit normal for each point: the mean of its faces, by area."""
    of_faces = np.repeat(_face_normals(points[faces]), 3, axis=0)
    sums = [np.bincount(faces.ravel(), weights=of_faces[:, axis], minlength=len(points)) for axis in range(3)]
    return _unit(np.stack(sums, axis=1))


def _unit(vectors: Floats) -> Floats:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    units: Floats = np.divide(vectors, lengths, out=np.tile([0.0, 0.0, 1.0], (len(vectors), 1)), where=lengths > 0)
    return units


WRITERS: Mapping[str, Callable[[Sequence[Mesh], Path, bool], list[Path]]] = {
    ".stl": write_stl,
    ".obj": write_obj,
    ".glb": write_glb,
}
"""What writes each format."""
