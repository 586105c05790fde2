from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import highdicom
import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import AsDiscreted, Compose, Invertd, LoadImaged, Orientationd, Spacingd
from PIL import Image

from pipeline.data.phantoms import make_phantom, write_phantom_dicom
from pipeline.errors import InputError
from pipeline.sources import CaseReader
from pipeline.transforms import SaveSegmentationd

SHAPE = (24, 20, 16)
SEGMENTS = [
    {
        "value": value,
        "name": name,
        "category": ["123037004", "SCT", "Anatomical Structure"],
        "property_type": ["64033007", "SCT", "Kidney"],
        "color": [230, 159, 0],
    }
    for value, name in ((1, "one"), (2, "two"))
]
# Two boxes in RAS mm by their centres and half widths, which every affine below covers.
BOXES = {1: (np.array([3.0, -4.0, 5.0]), 6.0), 2: (np.array([-9.0, 6.0, -6.0]), 5.0)}


def _centred(matrix: np.ndarray) -> np.ndarray:
    """An affine whose middle voxel lies at the world's origin."""
    affine = np.eye(4)
    affine[:3, :3] = matrix
    affine[:3, 3] = -matrix @ ((np.array(SHAPE) - 1) / 2)
    return affine.astype(np.float32).astype(float)


def _turn() -> np.ndarray:
    a, b = np.radians([20, -15])
    about_z = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    return about_z @ about_x


AFFINES = {
    "plain": _centred(np.diag([1.5, 1.5, 1.5])),
    "anisotropic": _centred(np.diag([1.25, 1.5, 2.5])),
    "flipped": _centred(np.array([[0, 0, -2.0], [-1.5, 0, 0], [0, 1.75, 0]])),
    "oblique": _centred(_turn() @ np.diag([-1.5, 1.5, 2.0])),
}


def _save(data: Mapping[str, Any], folder: Path) -> None:
    SaveSegmentationd(["pred"], output_dir=folder, segments=SEGMENTS, algorithm="test", version="1.0.0")(data)


def _predict(path: Path, spacing_mm: tuple[float, ...] = (1.5, 1.5, 1.5)) -> dict[str, Any]:
    """What inference does, with a network that knows the boxes: logits on the network's grid, brought back."""
    preprocessing = Compose(
        [
            LoadImaged("image", reader=CaseReader(), ensure_channel_first=True),
            Orientationd("image", axcodes="RAS", labels=(("L", "R"), ("P", "A"), ("I", "S"))),
            Spacingd("image", pixdim=spacing_mm, mode="bilinear"),
        ]
    )
    data = preprocessing({"image": str(path), "name": "case"})
    image = data["image"]
    places = _places(np.asarray(image.affine), tuple(image.shape[1:]))
    logits = torch.stack([torch.full(image.shape[1:], 0.5), *(_inside(places, label) for label in BOXES)])
    data["pred"] = MetaTensor(logits, affine=image.affine, meta=image.meta)
    data["pred"].applied_operations = image.applied_operations
    back = Compose(
        [
            Invertd("pred", transform=preprocessing, orig_keys="image", nearest_interp=False, to_tensor=True),
            AsDiscreted("pred", argmax=True),
        ]
    )
    return back(data)


def _places(affine: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """RAS mm of each voxel, shape (X, Y, Z, 3)."""
    return np.stack(np.indices(shape), axis=-1) @ affine[:3, :3].T + affine[:3, 3]


def _inside(places: np.ndarray, label: int) -> torch.Tensor:
    centre, half = BOXES[label]
    return torch.as_tensor((np.abs(places - centre) <= half).all(axis=-1)).float()


def _write_nifti(path: Path, affine: np.ndarray, *, qform: int = 1, sform: int = 2) -> None:
    image = nib.Nifti1Image(np.random.default_rng(0).normal(size=SHAPE).astype(np.float32), affine)
    image.set_qform(affine, code=qform)
    image.set_sform(affine, code=sform)
    image.header.set_xyzt_units("mm", "sec")
    nib.save(image, path)


def _geometry(header: nib.Nifti1Header) -> dict[str, Any]:
    fields = ["dim", "qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y"]
    fields += ["qoffset_z", "srow_x", "srow_y", "srow_z", "pixdim", "xyzt_units"]
    return {field: header[field].tolist() for field in fields}


@pytest.mark.parametrize(
    "codes", [(1, 2), (1, 1), (1, 0), (0, 4), (0, 0)], ids=lambda codes: "qform {} sform {}".format(*codes)
)
@pytest.mark.parametrize("kind", AFFINES)
def test_a_mask_has_the_geometry_of_its_input_bit_by_bit(tmp_path: Path, kind: str, codes: tuple[int, int]) -> None:
    _write_nifti(tmp_path / "in.nii.gz", AFFINES[kind], qform=codes[0], sform=codes[1])
    _save(_predict(tmp_path / "in.nii.gz"), tmp_path / "out")
    source, mask = nib.load(tmp_path / "in.nii.gz"), nib.load(tmp_path / "out" / "case.nii.gz")
    assert mask.shape == source.shape
    assert np.array_equal(mask.affine, source.affine)
    assert mask.get_data_dtype() == np.uint8
    assert mask.dataobj.slope == 1
    assert _geometry(mask.header) == _geometry(source.header)


@pytest.mark.parametrize("kind", AFFINES)
def test_a_label_lies_at_its_place_in_the_world(tmp_path: Path, kind: str) -> None:
    affine = AFFINES[kind]
    _write_nifti(tmp_path / "in.nii.gz", affine)
    _save(_predict(tmp_path / "in.nii.gz"), tmp_path / "out")
    mask = np.asarray(nib.load(tmp_path / "out" / "case.nii.gz").dataobj)
    places = _places(affine, SHAPE)
    for label, (centre, half) in BOXES.items():
        depth = half - np.abs(places - centre).max(axis=-1)  # mm inside of the box's surface
        # Two interpolations, each over at most a voxel, may move a surface by the larger voxel's diagonal.
        margin = max(np.linalg.norm(affine[:3, :3].sum(axis=1)), 1.5 * np.sqrt(3))
        assert (depth > margin).any()
        assert (mask[depth > margin] == label).all()
        assert not (mask[depth < -margin] == label).any()
        voxel = np.linalg.solve(affine, [*centre, 1])[:3].round().astype(int)
        assert mask[tuple(voxel)] == label


def test_a_trailing_axis_of_one_and_64_bit_headers_are_no_obstacle(tmp_path: Path) -> None:
    voxels = np.zeros((*SHAPE, 1), np.float32)
    affine = _centred(_turn()) + 1e-9  # more digits than float32 holds
    affine[3] = [0, 0, 0, 1]
    nib.save(nib.Nifti2Image(voxels, affine), tmp_path / "in.nii")
    _save(_predict(tmp_path / "in.nii"), tmp_path / "out")
    mask = nib.load(tmp_path / "out" / "case.nii.gz")
    assert mask.shape == voxels.shape
    assert np.array_equal(mask.affine, nib.load(tmp_path / "in.nii").affine)


def test_a_dicom_series_gives_a_segmentation_object_of_equal_voxels(tmp_path: Path) -> None:
    phantom = make_phantom(1, shape=SHAPE, spacing_mm=(1.5, 1.75, 2.5))
    folder = write_phantom_dicom(phantom, tmp_path / "series")
    _save(_predict(folder), tmp_path / "out")
    mask = nib.load(tmp_path / "out" / "case.nii.gz")
    np.testing.assert_allclose(mask.affine, phantom.affine, atol=1e-6)  # DICOM's decimal strings
    labels = np.asarray(mask.dataobj)
    assert set(np.unique(labels)) == {0, 1, 2}
    volume = highdicom.seg.segread(tmp_path / "out" / "case.dcm").get_volume(combine_segments=True)
    np.testing.assert_array_equal(volume.array.transpose(2, 1, 0), labels)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["case.dcm", "case.nii.gz"]


def test_a_picture_gives_a_mask_of_its_size_and_an_overlay(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((5, 8), np.uint8)).save(tmp_path / "in.png")
    data = LoadImaged("image", reader=CaseReader(), ensure_channel_first=True)({"image": tmp_path / "in.png"})
    labels = np.random.default_rng(0).integers(0, 3, (8, 5))
    _save({**data, "pred": torch.as_tensor(labels)[None], "name": "case"}, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["case.png", "case_overlay.png"]
    mask = Image.open(tmp_path / "out" / "case.png")
    np.testing.assert_array_equal(np.asarray(mask), labels.T)
    assert mask.getpalette()[3:6] == SEGMENTS[0]["color"]


@pytest.mark.parametrize(("source", "name"), [("case.png", "case"), ("case_overlay.png", "case")])
def test_a_picture_is_never_overwritten_by_its_mask(tmp_path: Path, source: str, name: str) -> None:
    Image.fromarray(np.zeros((5, 8), np.uint8)).save(tmp_path / source)
    before = (tmp_path / source).read_bytes()
    data = LoadImaged("image", reader=CaseReader(), ensure_channel_first=True)({"image": tmp_path / source})
    with pytest.raises(InputError, match=rf"{source}: the mask would replace an input"):
        _save({**data, "pred": torch.zeros(1, 8, 5), "name": name}, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [source]
    assert (tmp_path / source).read_bytes() == before


@pytest.mark.parametrize("noted", [(6, 4), (6, 4, 1)], ids=str)
def test_an_axis_that_the_reader_dropped_is_put_back(tmp_path: Path, noted: tuple[int, ...]) -> None:
    nib.save(nib.Nifti1Image(np.zeros((6, 4, 1), np.float32), AFFINES["oblique"]), tmp_path / "in.nii.gz")
    meta = {"filename_or_obj": str(tmp_path / "in.nii.gz"), "spatial_shape": np.array(noted), "dropped_axis": 2}
    image = MetaTensor(torch.zeros(1, 6, 4), meta={**meta, "original_affine": AFFINES["oblique"]})
    labels = torch.as_tensor(np.random.default_rng(0).integers(0, 3, (6, 4)))
    _save({"image": image, "pred": labels[None], "name": "case"}, tmp_path / "out")
    mask = nib.load(tmp_path / "out" / "case.nii.gz")
    assert np.array_equal(mask.affine, nib.load(tmp_path / "in.nii.gz").affine)
    np.testing.assert_array_equal(np.asarray(mask.dataobj), labels[..., None])
    with pytest.raises(InputError, match=r"not on the input's grid \(expected \(6, 4, 1\), got \(6, 3, 1\)\)"):
        _save({"image": image, "pred": labels[None, :, 1:], "name": "case"}, tmp_path / "out")


def test_a_slice_without_its_axis_gives_a_segmentation_object(tmp_path: Path) -> None:
    folder = write_phantom_dicom(make_phantom(1, shape=SHAPE), tmp_path / "series")
    for path in sorted(folder.iterdir())[1:]:
        path.unlink()
    image = LoadImaged("image", reader=CaseReader(), ensure_channel_first=True)({"image": str(folder)})["image"]
    meta = {**image.meta, "dropped_axis": 2, "spatial_shape": np.array(SHAPE[:2])}
    labels = np.random.default_rng(0).integers(0, 3, SHAPE[:2])
    data = {"image": MetaTensor(image[..., 0], meta=meta), "pred": torch.as_tensor(labels)[None], "name": "case"}
    _save(data, tmp_path / "out")
    volume = highdicom.seg.segread(tmp_path / "out" / "case.dcm").get_volume(combine_segments=True)
    np.testing.assert_array_equal(volume.array.transpose(2, 1, 0), labels[..., None])


def test_only_final_names_are_left_and_an_older_mask_is_replaced(tmp_path: Path) -> None:
    _write_nifti(tmp_path / "in.nii.gz", AFFINES["plain"])
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "case.nii.gz").write_bytes(b"older")
    data = _predict(tmp_path / "in.nii.gz")
    _save(data, tmp_path / "out")
    _save(data, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["case.nii.gz"]
    assert nib.load(tmp_path / "out" / "case.nii.gz").shape == SHAPE


def test_texts_of_the_header_are_not_passed_on(tmp_path: Path) -> None:
    _write_nifti(tmp_path / "plain.nii", AFFINES["oblique"])
    source = nib.load(tmp_path / "plain.nii")
    for field in ("descrip", "db_name", "aux_file", "intent_name"):
        source.header[field] = b"Jane Roe"
    source.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"Jane Roe"))
    nib.save(source, tmp_path / "in.nii")
    assert (tmp_path / "in.nii").read_bytes().count(b"Jane Roe") == 5
    data = _predict(tmp_path / "in.nii")
    _save(data, tmp_path / "out")
    assert b"Jane Roe" not in nib.load(tmp_path / "out" / "case.nii.gz").to_bytes()


def test_labels_on_another_grid_are_refused(tmp_path: Path) -> None:
    _write_nifti(tmp_path / "in.nii.gz", AFFINES["plain"])
    data = _predict(tmp_path / "in.nii.gz")
    data["pred"] = data["pred"][:, :-1]
    with pytest.raises(InputError, match=r"in\.nii\.gz: mask is not on the input's grid .*\(24, 20, 16\), got \(23"):
        _save(data, tmp_path / "out")
    assert not (tmp_path / "out" / "case.nii.gz").exists()


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    _write_nifti(tmp_path / "in.nii.gz", AFFINES["plain"])
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"file.out: cannot make the output folder \(got Not a directory\)"):
        _save(_predict(tmp_path / "in.nii.gz"), tmp_path / "file" / "out")


@pytest.mark.parametrize("suffix", [".nii.gz", ".dcm"])
def test_a_file_that_cannot_be_written_is_refused_and_leaves_nothing(tmp_path: Path, suffix: str) -> None:
    folder = write_phantom_dicom(make_phantom(1, shape=SHAPE), tmp_path / "series")
    blocked = tmp_path / "out" / f"case{suffix}"
    blocked.mkdir(parents=True)  # a folder stands where the file should be: not even root can replace it
    with pytest.raises(InputError, match=rf"case{suffix}: cannot be written") as caught:
        _save(_predict(folder), tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not [path.name for path in (tmp_path / "out").iterdir() if path.name.startswith(".")]


def test_an_input_is_never_overwritten_by_its_mask(tmp_path: Path) -> None:
    _write_nifti(tmp_path / "case.nii.gz", AFFINES["plain"])
    before = (tmp_path / "case.nii.gz").read_bytes()
    with pytest.raises(InputError, match=r"case\.nii\.gz: the mask would replace an input"):
        _save(_predict(tmp_path / "case.nii.gz"), tmp_path)
    assert (tmp_path / "case.nii.gz").read_bytes() == before
    folder = write_phantom_dicom(make_phantom(1, shape=SHAPE), tmp_path / "series")
    (folder / "0003.dcm").rename(folder / "case.dcm")
    before = (folder / "case.dcm").read_bytes()
    with pytest.raises(InputError, match=r"case\.dcm: the mask would replace an input"):
        _save(_predict(folder), folder)
    assert (folder / "case.dcm").read_bytes() == before
