"""Header fields of volumes that change what an image means are honoured or refused."""

from __future__ import annotations

import logging
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from pipeline.errors import InputError
from pipeline.sources import CaseReader, open_image, read_label_map

VALUES = np.zeros((6, 5, 4), np.int16)
VALUES[1:4, 2, 1] = 1
AFFINE = np.array([[-2.0, 0, 0, 7], [0, 1.5, 0, -8], [0, 0, 3, 9], [0, 0, 0, 1]])


def _save(path: Path, change=None, affine: np.ndarray = AFFINE, kind: type = nib.Nifti1Image) -> Path:
    image = kind(VALUES, affine)
    image.set_sform(affine, 1)
    image.set_qform(affine, 1)
    if change is not None:
        change(image)
    nib.save(image, path)
    return path


def _affine(path: Path) -> np.ndarray:
    _, meta = CaseReader().get_data((path,))
    np.testing.assert_array_equal(open_image(path).affine, meta["affine"])
    return np.asarray(meta["affine"])


@pytest.mark.parametrize(("unit", "in_mm"), [("mm", 1.0), ("meter", 1000.0), ("micron", 0.001), ("unknown", 1.0)])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_lengths_are_in_the_unit_that_the_header_names(kind: type, unit: str, in_mm: float, tmp_path: Path) -> None:
    path = _save(tmp_path / "a.nii", lambda image: image.header.set_xyzt_units(unit, "sec"), kind=kind)
    expected = AFFINE.copy()
    expected[:3] *= in_mm
    np.testing.assert_allclose(_affine(path), expected)
    np.testing.assert_allclose(read_label_map(path).affine, expected)


@pytest.mark.parametrize(("name", "at"), [("direction", (0, 0)), ("origin", (1, 3))])
def test_forms_of_one_space_that_disagree_are_refused(name: str, at: tuple[int, int], tmp_path: Path) -> None:
    other = AFFINE.copy()
    other[at] += 5 if name == "origin" else 4  # -2 becomes 2: left and right exchanged

    path = _save(tmp_path / "a.nii", lambda image: image.set_qform(other, 1))
    with pytest.raises(InputError, match="sform and qform put it at two places"):
        _affine(path)


def test_forms_of_two_spaces_may_differ_and_it_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    moved = AFFINE.copy()
    moved[:3, 3] += 12

    def template(image: nib.Nifti1Image) -> None:
        image.set_sform(moved, 4)  # of a template

    with caplog.at_level(logging.WARNING, "pipeline"):
        np.testing.assert_allclose(_affine(_save(tmp_path / "a.nii", template)), moved)
    assert "the sform is taken" in caplog.text
    mirrored = np.diag([-1.0, 1, 1, 1]) @ AFFINE
    with pytest.raises(InputError, match="two places"):
        _affine(_save(tmp_path / "b.nii", lambda image: image.set_sform(mirrored, 4)))


def test_rounding_is_no_difference(tmp_path: Path) -> None:
    turn = np.deg2rad(17)
    affine = AFFINE.copy()
    affine[:2, :2] = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) @ np.diag([2, 1.5])
    path = _save(tmp_path / "a.nii", affine=affine)
    np.testing.assert_allclose(_affine(path), affine, atol=1e-4)


@pytest.mark.parametrize("code", ["sform_code", "qform_code"])
def test_the_form_that_is_given_counts(code: str, tmp_path: Path) -> None:
    other = AFFINE.copy()
    other[:3, 3] += 9

    def only(image: nib.Nifti1Image) -> None:
        image.set_sform(AFFINE if code == "sform_code" else other, int(code == "sform_code"))
        image.set_qform(AFFINE if code == "qform_code" else other, int(code == "qform_code"))

    np.testing.assert_allclose(_affine(_save(tmp_path / "a.nii", only)), AFFINE, atol=1e-5)


def test_neither_form_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = _save(tmp_path / "a.nii")
    content = path.read_bytes()
    path.write_bytes(content[:252] + bytes(4) + content[256:])  # qform_code and sform_code; nibabel writes neither so
    with caplog.at_level(logging.WARNING, "pipeline"):
        _affine(path)
    assert "neither sform nor qform" in caplog.text


@pytest.mark.parametrize("name", ["a.hdr", "a.img"])
def test_analyze_stores_no_place_and_is_refused_by_either_name(name: str, tmp_path: Path) -> None:
    nib.save(nib.AnalyzeImage(VALUES, np.diag([2.0, 2, 2, 1])), tmp_path / "a.img")
    with pytest.raises(InputError, match=r"Analyze 7\.5 does not store how the image lies"):
        _affine(tmp_path / name)


def test_a_pair_is_one_image_by_either_name(tmp_path: Path) -> None:
    _save(tmp_path / "a.img", kind=nib.Nifti1Pair)
    for name in ("a.hdr", "a.img"):
        array, meta = CaseReader().get_data((tmp_path / name,))
        np.testing.assert_array_equal(array, VALUES)
        np.testing.assert_allclose(meta["affine"], AFFINE)
    (tmp_path / "a.img").unlink()
    with pytest.raises(InputError, match="cannot be read"):
        CaseReader().get_data((tmp_path / "a.hdr",))


def _nrrd(path: Path, *fields: str) -> Path:
    text = ["NRRD0005", "type: short", "dimension: 3", "sizes: 6 5 4", "encoding: raw", "endian: little", *fields]
    path.write_bytes("\n".join([*text, "", ""]).encode() + VALUES.tobytes(order="F"))
    return path


PLACE = ("space directions: (2,0,0) (0,1.5,0) (0,0,3)", "space origin: (7,-8,9)")


@pytest.mark.parametrize(
    ("space", "signs"),
    [
        ("left-posterior-superior", (-1, -1, 1)),
        ("LPS", (-1, -1, 1)),
        ("right-anterior-superior", (1, 1, 1)),
        ("left-anterior-superior", (-1, 1, 1)),
    ],
)
def test_spaces_of_nrrd(space: str, signs: tuple[int, ...], tmp_path: Path) -> None:
    affine = _affine(_nrrd(tmp_path / "a.nrrd", f"space: {space}", *PLACE))
    stated = np.array([[2.0, 0, 0, 7], [0, 1.5, 0, -8], [0, 0, 3, 9], [0, 0, 0, 1]])
    np.testing.assert_allclose(affine, np.diag([*signs, 1]) @ stated)


def test_a_nrrd_in_another_unit_or_space_is_refused(tmp_path: Path) -> None:
    units = 'space units: "um" "um" "um"'
    with pytest.raises(InputError, match="its lengths are not in mm"):
        _affine(_nrrd(tmp_path / "a.nrrd", "space: left-posterior-superior", *PLACE, units))
    with pytest.raises(InputError, match="its axes are none of the patient"):
        _affine(_nrrd(tmp_path / "b.nrrd", "space: scanner-xyz", *PLACE))


def test_a_detached_header_without_its_data_is_told(tmp_path: Path) -> None:
    for name in ("a.mhd", "a.nhdr"):
        sitk.WriteImage(sitk.GetImageFromArray(VALUES), str(tmp_path / name))
    for data in ("a.raw", "a.raw.gz"):
        (tmp_path / data).unlink(missing_ok=True)
    for name in ("a.mhd", "a.nhdr"):
        with pytest.raises(InputError, match="its data file is missing"):
            _affine(tmp_path / name)
