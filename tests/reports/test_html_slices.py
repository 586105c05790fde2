"""Cases for the slice viewer: cut, turned and packed, compared with nibabel's orientations."""

from __future__ import annotations

import base64
import zlib
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from pipeline.errors import InputError
from pipeline.evaluation import ScoreTable
from pipeline.evaluation.folders import match_folders
from pipeline.reports.html import CaseGallery, ViewedCase, choose_cases, find_images, folder_cases
from pipeline.reports.html.volumes import pack_case


def _unpacked(packed) -> list[np.ndarray]:
    x, y, z = packed.facts["shape"]
    raw = np.frombuffer(zlib.decompress(base64.b64decode(packed.voxels)), np.uint8).reshape(-1, z, y, x)
    volumes = [volume.transpose(2, 1, 0) for volume in raw]
    if len(volumes) == 3:
        flat = np.cumsum(raw[0].ravel(), dtype=np.uint8)
        volumes[0] = flat.reshape(z, y, x).transpose(2, 1, 0)
    return volumes


AFFINES = {
    "RAS": np.diag([1.5, 1.5, 1.5, 1]),
    "LPS": np.array([[-1.5, 0, 0, 40], [0, -1.5, 0, 30], [0, 0, 1.5, -7], [0, 0, 0, 1]]),
    "PIR": np.array([[0, 0, 1.5, -20], [-1.5, 0, 0, 12], [0, -1.5, 0, 9], [0, 0, 0, 1]]),
    "left-handed": np.diag([-1.5, 1.5, 1.5, 1]),
}


@pytest.mark.parametrize("affine", AFFINES.values(), ids=AFFINES)
def test_voxels_run_to_the_left_the_back_and_the_feet_as_nibabel_has_them(affine: np.ndarray) -> None:
    generator = np.random.default_rng(1)
    image = generator.integers(0, 256, (11, 9, 7)).astype(np.int16)
    image.flat[:20], image.flat[20:40] = 0, 255  # so that no intensity is cut off
    reference = generator.integers(0, 3, image.shape).astype(np.uint8)
    prediction = generator.integers(0, 3, image.shape).astype(np.uint8)
    case = ViewedCase(name="a", image=image, reference=reference, prediction=prediction, affine=affine)
    packed = pack_case(case, [1, 2])
    for found, given in zip(_unpacked(packed), (image, reference, prediction), strict=True):
        canonical = nib.as_closest_canonical(nib.Nifti1Image(given, affine))
        np.testing.assert_array_equal(found, np.asarray(canonical.dataobj)[::-1, ::-1, ::-1])
    corner = nib.as_closest_canonical(nib.Nifti1Image(image, affine))
    last = corner.affine @ [*(np.array(corner.shape) - 1), 1]
    np.testing.assert_allclose(packed.facts["origin"], last[:3], atol=1e-3)
    assert packed.facts["window"][0] >= packed.facts["range"][0] == 0
    assert packed.facts["range"][1] == 255


def test_an_oblique_anisotropic_case_stays_where_it_is_and_so_does_an_image_on_another_grid() -> None:
    turn = np.array([[0.8, -0.6, 0], [0.48, 0.64, -0.6], [0.36, 0.48, 0.8]])
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = turn @ np.diag([0.8, 0.8, 3.0]), [-40, 25, 300]
    shape = (60, 50, 20)
    places = nib.affines.apply_affine(affine, np.moveaxis(np.indices(shape), 0, -1))
    centre = nib.affines.apply_affine(affine, [30, 24, 10])
    reference = (np.linalg.norm(places - centre, axis=-1) < 9).astype(np.uint8)
    other = np.array(
        [[-1, 0, 0, centre[0] + 30], [0, 0, 1.2, centre[1] - 30], [0, -1, 0, centre[2] + 30], [0, 0, 0, 1]]
    )
    there = nib.affines.apply_affine(other, np.moveaxis(np.indices((60, 60, 50)), 0, -1))
    image = np.exp(-(np.linalg.norm(there - centre, axis=-1) ** 2) / 40)
    case = ViewedCase(
        name="a", image=image, image_affine=other, reference=reference, prediction=reference * 0, affine=affine
    )
    packed = pack_case(case, [1])
    bright, found, empty = _unpacked(packed)
    assert not empty.any()
    origin, voxel = np.array(packed.facts["origin"]), packed.facts["voxel"]
    assert voxel == pytest.approx(0.8)
    for volume in (found, bright > 128):
        np.testing.assert_allclose(origin - np.argwhere(volume).mean(axis=0) * voxel, centre, atol=0.5)
    assert (found > 0).sum() * voxel**3 == pytest.approx(4 / 3 * np.pi * 9**3, rel=0.05)


def test_a_case_is_cut_to_its_labels_and_made_coarser_where_it_is_large() -> None:
    labels = np.zeros((200, 200, 100), np.uint8)
    labels[20:30, 100:110, 50:60] = 7
    case = ViewedCase(name="a", reference=labels, prediction=labels, affine=np.eye(4))
    facts = pack_case(case, [7]).facts
    assert facts["shape"] == [50, 50, 50]  # 10 and a margin of 20 at either end
    assert facts["range"] is None
    labels[:] = 7
    assert max(pack_case(case, [7]).facts["shape"]) == 160
    noise = np.random.default_rng(0).integers(0, 255, labels.shape)
    noisy = pack_case(ViewedCase(name="a", image=noise, reference=labels, prediction=labels, affine=np.eye(4)), [7],
                      max_bytes=100_000)  # fmt: skip
    assert 50_000 < len(noisy.voxels) <= 100_000


def test_pictures_and_single_slices_keep_their_own_axes() -> None:
    image = np.zeros((30, 20), np.uint8)
    image[25, 3] = 200
    labels = np.zeros((30, 20), np.uint8)
    labels[24:27, 2:5] = 1
    picture = pack_case(ViewedCase(name="a", image=image, reference=labels, prediction=labels, affine=None), [1])
    assert picture.facts["letters"] is None
    assert picture.facts["flat"]
    bright, reference, _ = _unpacked(picture)
    assert np.argwhere(bright == bright.max()).tolist() == [[int(np.argwhere(reference)[:, 0].mean()), 3, 0]]
    coronal = np.array([[-1.0, 0, 0, 0], [0, 0, 4, 0], [0, -1.0, 0, 0], [0, 0, 0, 1.0]])
    flat = pack_case(ViewedCase(name="a", image=image, reference=labels, prediction=labels, affine=coronal), [1])
    assert flat.facts["letters"] == ["R", "L", "S", "I"]
    np.testing.assert_array_equal(_unpacked(flat)[0], bright)
    solid = ViewedCase(name="a", image=image[:, None], reference=labels[:, None], prediction=labels[:, None],
                       affine=coronal[:, [0, 2, 1, 3]])  # fmt: skip
    assert pack_case(solid, [1]).facts["letters"] == ["R", "L", "S", "I"]
    np.testing.assert_array_equal(_unpacked(pack_case(solid, [1]))[0], bright)


def test_a_gallery_gives_label_maps_back_and_reads_the_image(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    gallery, affine = CaseGallery(), AFFINES["PIR"]
    maps = {name: generator.integers(0, 3, (2, 9, 8, 7)).astype(np.uint8) for name in "abc"}
    maps["b"][:, :3], maps["c"][:] = 0, 0
    for name, (prediction, reference) in maps.items():
        gallery.add(name, prediction, reference, affine=affine)
    image = generator.normal(size=(9, 8, 7)).astype(np.float32)
    nib.save(nib.Nifti1Image(image, affine), tmp_path / "a_0000.nii.gz")
    (tmp_path / "b.nii.gz").write_bytes(b"no image")
    images = find_images(tmp_path)
    assert set(images) == {"a", "b"}
    cases = list(gallery.cases({"c": "median", "a": "worst", "b": "worst", "d": "worst"}, images))
    assert [(case.name, case.kind) for case in cases] == [("c", "median"), ("a", "worst"), ("b", "worst")]
    for case in cases:
        np.testing.assert_array_equal(case.prediction, maps[case.name][0])
        np.testing.assert_array_equal(case.reference, maps[case.name][1])
    np.testing.assert_array_equal(cases[1].image, image)
    np.testing.assert_allclose(cases[1].image_affine, affine)
    assert cases[0].image is None
    assert cases[2].image is None
    with pytest.raises(InputError, match="no such folder"):
        find_images(tmp_path / "absent")


def test_the_worst_and_the_median_are_chosen() -> None:
    table = ScoreTable({1: "a"})
    reference = np.ones((10, 10), np.uint8)
    for n in range(9):
        prediction = reference.copy()
        prediction[: 8 - n] = 0
        table.add(f"c{n}", prediction, reference, spacing_mm=(1, 1))
    table.add_missing({"lost": "no file"})
    chosen = choose_cases(table.measures(), without=["lost"], worst=2, median=3)
    assert chosen == {"c0": "worst", "c1": "worst", "c3": "median", "c4": "median", "c5": "median"}
    few = choose_cases(table.measures(), worst=20)
    assert set(few.values()) == {"worst"}
    assert len(few) == 10


def test_folders_are_read_again_and_brought_to_one_grid(tmp_path: Path) -> None:
    labels = np.zeros((12, 10, 8), np.uint8)
    labels[3:7, 2:6, 1:5] = 1
    turned = nib.as_closest_canonical(nib.Nifti1Image(labels, AFFINES["PIR"]))
    for name in ("predictions", "references"):
        (tmp_path / name).mkdir()
    nib.save(nib.Nifti1Image(labels, AFFINES["PIR"]), tmp_path / "references" / "a.nii.gz")
    nib.save(nib.Nifti1Image(np.asarray(turned.dataobj), turned.affine), tmp_path / "predictions" / "a.nii.gz")
    found = match_folders(tmp_path / "predictions", tmp_path / "references")
    (case,) = folder_cases(found, {"a": "worst", "absent": "worst"})
    np.testing.assert_array_equal(case.prediction, labels)
    np.testing.assert_array_equal(case.reference, labels)
    (tmp_path / "predictions" / "a.nii.gz").write_bytes(b"")
    assert list(folder_cases(found, {"a": "worst"})) == []


def test_odd_images_and_labels_are_packed_too() -> None:
    labels = np.zeros((5, 6, 7), np.int16)
    for image in (np.full(labels.shape, np.nan), np.ones(labels.shape, bool), np.full(labels.shape, -7, np.int32)):
        case = ViewedCase(name="a", image=image, reference=labels, prediction=labels - 1, affine=np.eye(4))
        packed = pack_case(case, [1])
        low, high = packed.facts["range"]
        assert low < high
        assert [volume.shape for volume in _unpacked(packed)] == [labels.shape] * 3
        assert not any(volume.any() for volume in _unpacked(packed)[1:])
