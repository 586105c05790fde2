from __future__ import annotations

from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from pipeline.errors import InputError
from pipeline.transforms import CheckImaged, CheckLabeld

SPACING = np.diag([1.0, 2.0, 3.0, 1.0])


def _image(voxels: Any, *, name: str = "image.nii.gz", affine: np.ndarray = SPACING) -> MetaTensor:
    tensor = torch.as_tensor(np.asarray(voxels, dtype=np.float32))
    return MetaTensor(tensor, affine=torch.as_tensor(affine), meta={"filename_or_obj": f"/data/{name}"})


def _check_image(image: MetaTensor, channels: int = 1) -> dict[Any, Any]:
    return CheckImaged(["image"], channels=channels, dimensions=3)({"image": image})


def _check_label(label: MetaTensor, image: MetaTensor) -> dict[Any, Any]:
    return CheckLabeld(["label"], image_key="image", values=[0, 1, 2])({"image": image, "label": label})


def test_a_sound_image_passes_unchanged() -> None:
    image = _image(np.arange(64).reshape(1, 4, 4, 4))
    assert _check_image(image)["image"] is image


def test_a_constant_image_is_refused() -> None:
    with pytest.raises(InputError, match=r"all voxels have one value \(got 7\)"):
        _check_image(_image(np.full((1, 4, 4, 4), 7)))


def test_a_singular_affine_is_refused() -> None:
    image = _image(np.arange(64).reshape(1, 4, 4, 4))
    image.affine = np.diag([1.0, 0.0, 1.0, 1.0])
    with pytest.raises(InputError, match="the affine is singular"):
        _check_image(image)


@pytest.mark.parametrize(
    ("shape", "got"),
    [
        ((3, 4, 5, 6), r"got 3 channel\(s\) of 3 axes, \(4, 5, 6\)"),
        ((1, 4, 5), r"got 1 channel\(s\) of 2 axes, \(4, 5\)"),
        ((1, 4, 5, 6, 2), r"got 1 channel\(s\) of 4 axes"),
    ],
)
def test_a_wrong_shape_is_refused_with_what_is_expected(shape: tuple[int, ...], got: str) -> None:
    expected = r"^/data/image\.nii\.gz: has the wrong shape \(expected 1 channel\(s\) of 3 axes, " + got
    with pytest.raises(InputError, match=expected):
        _check_image(_image(np.zeros(shape)))


def test_an_axis_of_length_0_is_refused() -> None:
    with pytest.raises(InputError, match=r"image\.nii\.gz: has an axis of length 0 \(got \(4, 0, 4\)\)"):
        _check_image(_image(np.zeros((1, 4, 0, 4))))


def test_unusable_voxels_are_counted() -> None:
    voxels = np.zeros((1, 4, 4, 4))
    voxels[0, 0, 0] = [np.nan, np.inf, -np.inf, 1]
    with pytest.raises(InputError, match=r"image\.nii\.gz: 3 of 64 voxels are NaN or infinite"):
        _check_image(_image(voxels))


def test_an_unknown_label_value_is_refused_with_its_count() -> None:
    label = np.zeros((1, 4, 4, 4))
    label[0, 0, 0] = [1, 2, 7, 7]
    with pytest.raises(
        InputError, match=r"label\.nii\.gz: label value 7 \(2 voxels\) is not in the plan.*only 0, 1, 2"
    ):
        _check_label(_image(label, name="label.nii.gz"), _image(np.zeros((1, 4, 4, 4))))


@pytest.mark.parametrize("value", [0.5, -1, np.nan, 256])
def test_a_value_that_is_no_label_is_refused(value: float) -> None:
    label = np.zeros((1, 4, 4, 4))
    label[0, 1, 1, 1] = value
    with pytest.raises(InputError, match=r"label value .* \(1 voxels\) is not in the plan"):
        _check_label(_image(label), _image(np.zeros((1, 4, 4, 4))))


def test_every_named_value_passes() -> None:
    label = _image(np.arange(3).repeat(9).reshape(1, 3, 3, 3))
    assert _check_label(label, _image(np.zeros((1, 3, 3, 3))))["label"] is label


def test_another_size_is_refused_with_both_names() -> None:
    with pytest.raises(
        InputError, match=r"l\.nii: label and image /data/i\.nii differ in size.*\(4, 4, 4\), got \(4, 4, 5"
    ):
        _check_label(_image(np.zeros((1, 4, 4, 5)), name="l.nii"), _image(np.zeros((1, 4, 4, 4)), name="i.nii"))


def test_a_label_of_several_channels_is_refused() -> None:
    with pytest.raises(InputError, match=r"l\.nii: .*expected 1 channel.*got 3"):
        _check_label(_image(np.zeros((3, 4, 4, 4)), name="l.nii"), _image(np.zeros((1, 4, 4, 4))))


def _moved(by_mm: float) -> np.ndarray:
    affine = SPACING.copy()
    affine[1, 3] += by_mm
    return affine


def _turned(degrees: float) -> np.ndarray:
    angle = np.radians(degrees)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return turn @ SPACING


def _spoilt() -> np.ndarray:
    affine = SPACING.copy()
    affine[0, 3] = np.nan
    return affine


# The corner (63, 63) of the turned grid is hypot(63, 126) = 141 mm from the axis and moves by that times the angle.
@pytest.mark.parametrize(
    ("affine", "apart"),
    [(_moved(0.011), r"0\.011"), (_moved(-5), "5"), (_turned(0.1), r"0\.246"), (_spoilt(), "nan")],
    ids=["moved", "moved far", "turned", "not a number"],
)
def test_a_label_that_lies_elsewhere_is_refused_with_both_names(affine: np.ndarray, apart: str) -> None:
    label = _image(np.zeros((1, 64, 64, 2)), name="l.nii", affine=affine)
    with pytest.raises(InputError, match=rf"l\.nii: label and image /data/i\.nii lie apart by up to {apart} mm"):
        _check_label(label, _image(np.zeros((1, 64, 64, 2)), name="i.nii"))


@pytest.mark.parametrize("affine", [_moved(1e-4), _moved(-0.009)])
def test_rounding_of_the_affine_is_tolerated(affine: np.ndarray) -> None:
    label = _image(np.zeros((1, 64, 64, 2)), affine=affine)
    assert _check_label(label, _image(np.zeros((1, 64, 64, 2))))["label"] is label


@pytest.mark.parametrize(("modality", "warned"), [("MR", False), ("CT", True), ("", False)])
def test_a_series_of_another_modality_is_used_with_a_warning(
    modality: str, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    image = _image(np.arange(64).reshape(1, 4, 4, 4))
    image.meta["dicom_modality"] = modality
    CheckImaged(["image"], channels=1, modality="MR")({"image": image})
    assert ("the series is CT, but the network was made for MR" in caplog.text) == warned


@pytest.mark.parametrize("degrees", [0, 20, 45])
@pytest.mark.parametrize("turn", [(0, 1, 2, 1, -1, 1), (2, 0, 1, 1, 1, 1), (1, 2, 0, -1, 1, -1), (0, 2, 1, -1, -1, -1)])
def test_a_label_stored_the_other_way_round_is_turned(turn: tuple[int, ...], degrees: float) -> None:
    """nibabel stores it with other axes, in the same place."""
    image = _image(np.zeros((1, 6, 5, 4)), affine=_turned(degrees))
    labels = np.random.default_rng(0).integers(0, 3, (6, 5, 4))
    stored = nib.Nifti1Image(labels.astype(np.uint8), _turned(degrees)).as_reoriented(
        np.stack([turn[:3], turn[3:]], axis=1)
    )
    label = _image(np.asarray(stored.dataobj)[np.newaxis], name="l.nii", affine=stored.affine)
    found = _check_label(label, image)["label"]
    np.testing.assert_array_equal(found[0], labels)
    np.testing.assert_allclose(found.affine, image.affine, atol=1e-6)
    assert found.meta["filename_or_obj"] == "/data/l.nii"


def test_a_slice_stored_the_other_way_round_is_turned() -> None:
    labels = np.arange(12).reshape(1, 4, 3) % 3
    back = SPACING @ np.array([[-1, 0, 0, 3], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    found = _check_label(_image(labels[:, ::-1].copy(), affine=back), _image(np.zeros((1, 4, 3))))["label"]
    np.testing.assert_array_equal(found, labels)


def test_a_label_mirrored_in_the_body_is_refused_without_a_dangerous_cure() -> None:
    mirrored = np.diag([-1.0, 1.0, 1.0, 1.0]) @ SPACING
    label = _image(np.zeros((1, 6, 5, 4)), name="l.nii", affine=mirrored)
    with pytest.raises(InputError, match=r"lie apart by up to 5 mm\. Resample the label to the image") as caught:
        _check_label(label, _image(np.zeros((1, 6, 5, 4))))
    assert "image's affine" not in str(caught.value)
