"""Surfaces read again by trimesh and ITK."""

from __future__ import annotations

import itk
import numpy as np
import pytest
import trimesh
from scipy.ndimage import gaussian_filter

from pipeline.dicom import Grid, Segment, choose, read_rtstruct, scan
from pipeline.errors import InputError
from pipeline.reports import write_surfaces
from pipeline.reports.surfaces import surface

TISSUE = ("85756007", "SCT", "Tissue")
AXIAL = np.array([[-0.9, 0, 0, 120.5], [0, -0.9, 0, -80.25], [0, 0, 3.0, -700], [0, 0, 0, 1]])
OBLIQUE = np.array(
    [[1.2, -1.2, 0.1, -40.25], [0.72, 1.28, 1.8, 7.5], [-0.54, -0.96, 2.4, 3.0], [0, 0, 0, 1]]  # sheared, too
)
LEFT_HANDED = np.diag([-1.5, 2.0, 2.5, 1.0])
AFFINES = {"axial": AXIAL, "oblique": OBLIQUE, "left-handed": LEFT_HANDED}
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
LIVER_RED = (221, 130, 101)


def segments(*names, color=None):
    return [
        Segment(value=v, name=name, category=TISSUE, property_type=TISSUE, color=color)
        for v, name in enumerate(names, start=1)
    ]


def volume_ml(mask, affine):
    return mask.sum() * abs(np.linalg.det(affine[:3, :3])) / 1000


def load(path):
    """Vertices that lie on each other become one, as STL has each triangle by itself."""
    return trimesh.load_mesh(path, process=True)


def assert_sound(mesh):
    assert mesh.is_watertight
    assert mesh.is_winding_consistent
    assert mesh.volume > 0, "the normals point outwards"


def blobs(seed=0, shape=(24, 20, 16), width=1.6):
    return gaussian_filter(np.random.default_rng(seed).normal(size=shape), width) > 0.05


def ball(radius, center, shape):
    return ((np.moveaxis(np.indices(shape), 0, -1) - center) ** 2).sum(axis=-1) <= radius**2


def thin():
    """A sheet, a tube and a spur, one voxel wide each, which a wide filter would take away."""
    mask = np.zeros((24, 20, 16), dtype=bool)
    mask[2:20, 5, 2:12] = mask[4, 10, :] = True
    mask |= ball(4, (15, 13, 8), mask.shape)
    mask[15, 13, :] = True
    return mask


def tiny(count):
    mask = np.zeros((5, 5, 5), dtype=bool)
    mask.reshape(-1)[[62, 63, 68, 37, 93][:count]] = True
    return mask


def hollow():
    return ball(8, (10, 10, 10), (21, 21, 21)) & ~ball(4, (10, 10, 10), (21, 21, 21))


MASKS = {
    "blobs": blobs(),
    "fine_blobs": blobs(1, (12, 11, 10), 0.6),
    "noise": np.random.default_rng(2).random((9, 8, 7)) < 0.3,
    "thin": thin(),
    "hollow": hollow(),
    "whole": np.ones((6, 7, 8), dtype=bool),
    "one": tiny(1),
    "two": tiny(2),
    "three": tiny(3),
    "five": tiny(5),
}


@pytest.mark.parametrize("affine", AFFINES.values(), ids=AFFINES)
@pytest.mark.parametrize("name", MASKS)
def test_closed_and_of_the_volume_of_the_voxels(name, affine, tmp_path):
    mask = MASKS[name]
    (path,) = write_surfaces(mask.astype(np.uint8), affine=affine, segments=segments("a"), path=tmp_path / "s.stl")
    assert path == tmp_path / "s.stl"
    mesh = load(path)
    assert_sound(mesh)
    assert mesh.volume / 1000 == pytest.approx(volume_ml(mask, affine), abs=0.001)
    voxels = np.argwhere(mask)
    lps = LPS @ affine
    centroid = lps[:3, :3] @ voxels.mean(axis=0) + lps[:3, 3]
    away = np.linalg.solve(affine[:3, :3], (mesh.center_mass - centroid) * (-1, -1, 1))
    assert np.abs(away).max() < 0.1
    # The smallest parts are rounded the most: as wide as high, they reach beyond their voxels' sides.
    corners = np.linalg.solve(lps[:3, :3], (mesh.vertices - lps[:3, 3]).T).T
    assert (np.abs(corners.min(axis=0) - (voxels.min(axis=0) - 0.5)) < 0.8).all()
    assert (np.abs(corners.max(axis=0) - (voxels.max(axis=0) + 0.5)) < 0.8).all()


@pytest.mark.parametrize("seed", range(12))
def test_closed_whatever_the_labels(seed):
    rng = np.random.default_rng(seed)
    shape = (9, 10, 8)
    mask = rng.random(shape) < rng.uniform(0.05, 0.9)
    points, faces = surface(mask)
    mesh = trimesh.Trimesh(points, faces, process=False)
    assert_sound(mesh)
    assert mesh.volume == pytest.approx(mask.sum())


@pytest.mark.parametrize("radius", [3.3, 6.0, 11.4])
def test_a_ball(radius):
    center = np.array([13.2, 12.9, 13.4])
    mask = ball(radius, center, (27, 27, 27))
    points, faces = surface(mask)
    distance = np.linalg.norm(points - center, axis=1)
    assert np.abs(distance - radius).max() < 0.6
    mesh = trimesh.Trimesh(points, faces, process=False)
    outwards = (mesh.triangles_center - center) / np.linalg.norm(mesh.triangles_center - center, axis=1, keepdims=True)
    cosines = (mesh.face_normals * outwards).sum(axis=1)
    assert np.degrees(np.arccos(np.median(cosines))) < 10, "smooth, where voxels' sides are up to 55 degrees off"
    assert np.linalg.norm(mesh.center_mass - np.argwhere(mask).mean(axis=0)) < 0.1


def test_no_part_vanishes():
    mask = ball(8, (10, 10, 10), (30, 21, 21))
    mask[25, 10, 10] = mask[20, 18, 18] = mask[1, 1, 1] = True
    points, faces = surface(mask)
    parts = trimesh.Trimesh(points, faces, process=False).split()
    assert sorted(round(part.volume, 6) for part in parts) == [1, 1, 1, mask.sum() - 3]


def points_by_itk(path):
    reader = itk.MeshFileReader[itk.Mesh.D3].New(FileName=str(path), MeshIO=itk.OBJMeshIO.New())  # it has none for STL
    reader.Update()
    mesh = reader.GetOutput()
    assert mesh.GetNumberOfCells() > 1000
    return np.array([tuple(mesh.GetPoint(index)) for index in range(mesh.GetNumberOfPoints())])


@pytest.mark.parametrize(("suffix", "read"), [(".stl", lambda path: load(path).vertices), (".obj", points_by_itk)])
def test_points_in_lps(suffix, read, tmp_path):
    mask = blobs()
    labels = mask.astype(np.uint8)
    path, *_ = write_surfaces(labels, affine=OBLIQUE, segments=segments("a"), path=tmp_path / f"s{suffix}")
    assert b"SPACE=LPS" in path.read_bytes()[:80]
    lps = LPS @ OBLIQUE
    voxels = np.linalg.solve(lps[:3, :3], (np.asarray(read(path)) - lps[:3, 3]).T).T
    inside = np.argwhere(mask)
    assert np.abs(voxels.min(axis=0) - inside.min(axis=0) + 0.5).max() < 0.8
    assert np.abs(voxels.max(axis=0) - inside.max(axis=0) - 0.5).max() < 0.8


def two_labels():
    labels = np.zeros((30, 24, 20), dtype=np.uint8)
    labels[ball(6, (9, 10, 9), labels.shape)] = 1
    labels[ball(5, (21, 12, 10), labels.shape)] = 2
    return labels


def test_a_file_per_label(tmp_path):
    labels = two_labels()
    named = segments("Left kidney/x", "Läsion", "none")
    files = write_surfaces(labels, affine=AXIAL, segments=named, path=tmp_path / "out.stl")
    assert files == [tmp_path / "out_Left_kidney_x.stl", tmp_path / "out_Läsion.stl"]
    assert sorted(tmp_path.iterdir()) == sorted(files)
    for value, file in enumerate(files, start=1):
        assert load(file).volume / 1000 == pytest.approx(volume_ml(labels == value, AXIAL), abs=0.001)


def test_names_that_would_be_one_file(tmp_path):
    labels = two_labels()
    files = write_surfaces(labels, affine=AXIAL, segments=segments("a b", "A_b"), path=tmp_path / "s.stl")
    assert [file.name for file in files] == ["s_a_b_1.stl", "s_A_b_2.stl"]
    files = write_surfaces(labels, affine=AXIAL, segments=segments("../..", "*"), path=tmp_path / "t.stl")
    assert files == [tmp_path / "t_label_1.stl", tmp_path / "t_label_2.stl"]


def test_groups_and_colours_of_obj(tmp_path):
    labels = two_labels()
    named = segments("Left kidney", "Lesion", color=LIVER_RED)
    files = write_surfaces(labels, affine=OBLIQUE, segments=named, path=tmp_path / "s.obj")
    assert files == [tmp_path / "s.obj", tmp_path / "s.mtl"]
    scene = trimesh.load_scene(files[0], split_object=False, group_material=False)
    volumes = sorted(volume_ml(labels == value, OBLIQUE) for value in (1, 2))
    meshes = [mesh.copy() for mesh in scene.geometry.values()]
    for mesh in meshes:
        mesh.merge_vertices(merge_tex=True, merge_norm=True)
        assert_sound(mesh)
        np.testing.assert_array_equal(np.round(mesh.visual.material.diffuse[:3]), LIVER_RED)
    assert sorted(mesh.volume / 1000 for mesh in meshes) == pytest.approx(volumes, abs=0.001)
    text = files[0].read_text()
    assert [line for line in text.splitlines() if line.startswith(("g ", "mtllib"))] == [
        "mtllib s.mtl", "g Left_kidney", "g Lesion",
    ]  # fmt: skip


@pytest.mark.parametrize("affine", AFFINES.values(), ids=AFFINES)
def test_glb_in_metres_with_the_head_up(affine, tmp_path):
    labels = two_labels()
    named = segments("Left kidney", "Läsion", color=LIVER_RED)
    (path,) = write_surfaces(labels, affine=affine, segments=named, path=tmp_path / "s.glb")
    scene = trimesh.load_scene(path)
    assert set(scene.graph.nodes_geometry) == {"Left kidney", "Läsion"}
    for value, segment in enumerate(named, start=1):
        transform, name = scene.graph[segment.name]
        mesh = scene.geometry[name].copy()
        assert (
            np.degrees(np.arccos((mesh.vertex_normals * mesh.face_normals[mesh.vertex_faces[:, 0]]).sum(-1))).max() < 90
        )
        mesh.merge_vertices(merge_tex=True, merge_norm=True)
        mesh.apply_transform(transform)
        assert_sound(mesh)
        assert mesh.volume * 1e6 == pytest.approx(volume_ml(labels == value, affine), abs=0.001)
        right, front, up = affine[:3, :3] @ np.argwhere(labels == value).mean(axis=0) + affine[:3, 3]
        np.testing.assert_allclose(mesh.center_mass * 1000, (-right, up, front), atol=0.1)
        light = (np.array(LIVER_RED) / 255 + 0.055) / 1.055
        np.testing.assert_allclose(mesh.visual.material.baseColorFactor[:3] / 255, light**2.4, atol=0.005)


def test_a_label_without_voxels(tmp_path):
    labels = np.zeros((5, 5, 5), dtype=np.uint8)
    for suffix in (".stl", ".obj", ".glb"):
        assert write_surfaces(labels, affine=AXIAL, segments=segments("a", "b"), path=tmp_path / f"s{suffix}") == []
    assert list(tmp_path.iterdir()) == []


def test_refusals(tmp_path):
    labels = two_labels()
    with pytest.raises(InputError, match=r"no such format .*expected \.stl or \.obj or \.glb, got \.ply"):
        write_surfaces(labels, affine=AXIAL, segments=segments("a", "b"), path=tmp_path / "s.ply")
    for suffix in (".stl", ".obj", ".glb"):
        path = tmp_path / f"s{suffix}"
        path.mkdir()
        with pytest.raises(InputError, match="cannot be written"):
            write_surfaces(labels, affine=AXIAL, segments=segments("a"), path=path)
        # The colours come before the OBJ that names them.
        assert {file.name for file in tmp_path.iterdir() if file.is_file()} <= {"s.mtl"}
        path.rmdir()


def test_a_real_tumour(shared_data, tmp_path):
    folder = shared_data / "STS_Sarcoma" / "STS_002" / "MR_T1"
    grid = Grid.of_series(choose(scan(folder / "image")))
    labels = read_rtstruct(folder / "rtstruct" / "RS.dcm", names={1: ["gtv_mass_MR_T1"]}, grid=grid)
    (path,) = write_surfaces(labels, affine=grid.affine, segments=segments("GTV"), path=tmp_path / "s.stl")
    mesh = load(path)
    assert_sound(mesh)
    assert mesh.volume / 1000 == pytest.approx(volume_ml(labels == 1, grid.affine), abs=0.01)
