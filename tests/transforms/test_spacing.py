"""Spacing axis by axis, against MONAI, SimpleITK and SciPy."""

from __future__ import annotations

import tracemalloc
from typing import Any

import monai.transforms
import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - its own documentation's name
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor
from monai.transforms import Compose, Invertd, Orientationd
from monai.utils import GridSampleMode, GridSamplePadMode
from scipy import ndimage

from pipeline.inferers.undoing import way_back
from pipeline.transforms import Spacing, Spacingd

_AXES = [["L", "R"], ["P", "A"], ["I", "S"]]


def _affine(spacing: tuple[float, ...], *, order: tuple[int, ...] = (0, 1, 2), signs: Any = 1) -> torch.Tensor:
    """Axes along those of the world, in any order and direction."""
    rank = len(spacing)
    affine = np.eye(rank + 1)
    affine[:rank, :rank] = (np.eye(rank) * spacing * signs)[list(order)[:rank]]
    affine[:rank, -1] = np.array([-31.7, 12.25, 88.0])[:rank]
    return torch.as_tensor(affine)


def _oblique() -> np.ndarray:
    turn, _ = np.linalg.qr([[0.9, 0.1, 0.2], [0.2, -0.95, 0.1], [-0.1, -0.2, 0.9]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag(np.sign(np.diag(turn))) @ np.diag([0.8, 1.1, 2.0])
    affine[:3, 3] = [-20, 33, 4]
    return affine


def _image(size: tuple[int, ...], affine: Any, *, channels: int = 1, dtype: Any = torch.float32) -> MetaTensor:
    values = np.random.default_rng(0).uniform(-1000, 3000, size=(channels, *size))
    if not dtype.is_floating_point:
        values = values.clip(0, 255) if dtype == torch.uint8 else values
    return MetaTensor(torch.as_tensor(values).to(dtype), affine=torch.as_tensor(affine))


def _record(image: MetaTensor) -> list[str]:
    """The applied operations, without the identity of the transform."""
    return [str({key: value for key, value in one.items() if key != "id"}) for one in image.applied_operations]


def _assert_same(ours: Any, theirs: Any, *, exact: bool = False) -> None:
    assert type(ours) is type(theirs)
    assert ours.dtype == theirs.dtype == torch.float32
    assert ours.shape == theirs.shape
    assert ours.is_contiguous()
    np.testing.assert_allclose(ours.affine, theirs.affine, rtol=0, atol=1e-12)
    assert _record(ours) == _record(theirs)
    reach = 0.0 if exact else 1e-4 * float(theirs.max() - theirs.min()) + 1e-30
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=0, atol=reach)


@pytest.fixture
def no_monai(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let MONAI's resampling fail, so that only the way axis by axis is left."""

    def refuse(*_: Any, **__: Any) -> None:
        pytest.fail("left to MONAI")

    monkeypatch.setattr(monai.transforms.SpatialResample, "__call__", refuse)


@st.composite
def _cases(draw: st.DrawFn) -> dict[str, Any]:
    rank = draw(st.sampled_from([2, 3]))
    spacing = st.sampled_from([0.4, 0.5, 0.75, 1.0, 1.3, 2.0, 3.1])
    per_axis = {"min_size": rank, "max_size": rank}
    return {
        "size": tuple(draw(st.lists(st.integers(1, 14), **per_axis))),
        "affine": _affine(
            tuple(draw(st.lists(spacing, **per_axis))),
            order=tuple(draw(st.permutations(range(rank)))),
            signs=np.array(draw(st.lists(st.sampled_from([-1, 1]), **per_axis))),
        ),
        "pixdim": tuple(draw(st.lists(spacing, **per_axis))),
        "dtype": draw(st.sampled_from([torch.float32, torch.float64, torch.int16, torch.uint8])),
        "channels": draw(st.sampled_from([1, 2])),
        "corners": draw(st.booleans()),
    }


@settings(max_examples=60, deadline=None)
@given(case=_cases(), mode=st.sampled_from(["bilinear", "nearest", 1, 2, 3, 4, 5]))
def test_values_affine_and_record_are_those_of_monai_there_and_back(case: dict[str, Any], mode: Any) -> None:
    corners = case["corners"] and isinstance(mode, str)
    options = {"pixdim": case["pixdim"], "mode": mode, "align_corners": corners}
    image = _image(case["size"], case["affine"], channels=case["channels"], dtype=case["dtype"])
    before = image.clone()
    ours, theirs = Spacingd("image", **options), monai.transforms.Spacingd("image", **options)
    there = [transform({"image": image}) for transform in (ours, theirs)]
    _assert_same(there[0]["image"], there[1]["image"], exact=mode == "nearest")
    assert torch.equal(image, before)
    back = [transform.inverse(one)["image"] for transform, one in zip((ours, theirs), there, strict=True)]
    assert back[0].shape[1:] == case["size"]
    _assert_same(*back, exact=mode == "nearest")


@pytest.mark.parametrize("mode", ["bilinear", GridSampleMode.NEAREST, 3], ids=str)
@pytest.mark.parametrize("dtype", [torch.int16, torch.float16, torch.float64], ids=str)
@pytest.mark.usefixtures("no_monai")
def test_parallel_axes_are_not_left_to_monai(mode: Any, dtype: torch.dtype) -> None:
    image = _image((12, 9, 7), _affine((1.0, 0.7, 3.0)), dtype=dtype)
    transform = Spacingd("image", (1.5, 1.0, 1.0), mode=mode, padding_mode=GridSamplePadMode.BORDER)
    there = transform({"image": image})
    back = Invertd("image", transform, nearest_interp=False)(there)["image"]
    assert there["image"].shape == (1, 8, 7, 19)
    assert back.shape == (1, 12, 9, 7)
    np.testing.assert_allclose(back.affine, image.affine, atol=1e-12)


@pytest.mark.parametrize("single", [False, True], ids=["float64", "as NIfTI stores it"])
@pytest.mark.parametrize("mode", ["bilinear", 3], ids=str)
def test_oblique_axes_are_parallel_to_themselves(mode: Any, single: bool, request: pytest.FixtureRequest) -> None:
    affine = _oblique().astype(np.float32 if single else float).astype(float)
    image = _image((23, 19, 11), affine)
    theirs = monai.transforms.Spacing((1.0, 1.3, 1.4), mode=mode)(image)
    request.getfixturevalue("no_monai")
    ours = Spacing((1.0, 1.3, 1.4), mode=mode)(image)
    _assert_same(ours, theirs)


def test_nearest_voxels_of_an_oblique_grid_are_equally_near() -> None:
    """Where two voxels are equally near, MONAI's choice changes from one rounding error to the next."""
    image = MetaTensor(torch.arange(20.0).view(1, 20, 1, 1).repeat(1, 1, 9, 9), affine=torch.as_tensor(_oblique()))
    ours, theirs = (kind((0.4, 1.1, 2.0), mode="nearest")(image) for kind in (Spacing, monai.transforms.Spacing))
    places = torch.arange(ours.shape[1]).view(1, -1, 1, 1) / 2
    assert ((ours - places.clip(max=19)).abs() <= 0.5).all()
    ties = (places % 1 == 0.5).expand_as(ours)
    assert torch.equal(ours[~ties], theirs[~ties])
    assert (ours == ours[:, :, :1, :1]).all()


@pytest.mark.parametrize(
    "options",
    [
        {"padding_mode": "zeros"},
        {"padding_mode": "reflection"},
        {"mode": 0},
        {"mode": 3, "padding_mode": "constant"},
        {"mode": 3, "align_corners": True},
        {"shear": 0.3},
        {"diagonal": True, "shear": 0.3},
        {"value": float("nan")},
        {"value": float("inf")},
        {"lazy": True},
        {"pixdim": (0.8, 1.1, 2.0)},
    ],
    ids=str,
)
def test_everything_else_is_monais(options: dict[str, Any]) -> None:
    affine, options = _oblique(), dict(options)
    affine[:3, 2] += options.pop("shear", 0) * affine[:3, 1]
    image = _image((11, 8, 6), affine)
    image[0, 5, 4, 3] = options.pop("value", 7.0)
    options.setdefault("pixdim", (1.0, 1.3, 1.4))
    ours, theirs = (kind(**options)(image) for kind in (Spacing, monai.transforms.Spacing))
    assert torch.equal(ours.nan_to_num(-9), theirs.nan_to_num(-9))
    assert torch.equal(ours.affine, theirs.affine)
    assert _record(ours) == _record(theirs)
    assert len(ours.pending_operations) == len(theirs.pending_operations) == int("lazy" in options)


def test_gradients_pass() -> None:
    image = _image((6, 5, 4), _affine((1.0, 1.0, 2.0))).requires_grad_()
    Spacing((1.3, 0.8, 1.0))(image).sum().backward()
    assert image.grad is not None
    assert image.grad.min() > 0


def test_plain_tensors_and_untracked_metadata() -> None:
    values = torch.rand(1, 6, 5, 4)
    for tracked in (True, False):
        monai.data.set_track_meta(tracked)
        try:
            ours, theirs = (kind((0.5, 1.5, 0.7))(values) for kind in (Spacing, monai.transforms.Spacing))
        finally:
            monai.data.set_track_meta(True)
        assert isinstance(ours, MetaTensor) == isinstance(theirs, MetaTensor) == tracked
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), atol=1e-6)
        if tracked:
            _assert_same(ours, theirs)


def test_limits_of_the_spacing_and_one_shape_for_all_keys() -> None:
    image = _image((12, 10, 8), _affine((0.8, 0.8, 2.5)))
    label = _image((12, 10, 8), _affine((0.8, 0.8, 2.5004)), dtype=torch.uint8)
    data = {"image": image, "label": label}
    options = {"mode": ("bilinear", "nearest"), "max_pixdim": (2.0, 2.0, 3.0), "min_pixdim": (1.0, 0.5, 2.0)}
    results = [kind(["image", "label"], 1.3, **options)(data) for kind in (Spacingd, monai.transforms.Spacingd)]
    assert results[0]["image"].shape == results[0]["label"].shape
    _assert_same(results[0]["image"], results[1]["image"])
    _assert_same(results[0]["label"], results[1]["label"], exact=True)


@pytest.mark.parametrize(
    ("mode", "interpolator", "margin"), [("bilinear", sitk.sitkLinear, 0), (3, sitk.sitkBSpline, 9)], ids=str
)
def test_values_are_those_of_simpleitk_inside(mode: Any, interpolator: int, margin: int) -> None:
    """ITK mirrors the image at its outer voxels, which the spline feels less with every voxel of distance."""
    spacing, wanted = (0.8, 1.1, 2.5), (1.3, 0.9, 1.5)
    image = _image((41, 37, 29), _affine(spacing))
    ours = Spacing(wanted, mode=mode)(image)
    theirs = sitk.GetImageFromArray(image[0].numpy().T)
    theirs.SetSpacing(spacing)
    theirs = sitk.Resample(
        theirs, [int(n) for n in ours.shape[1:]], sitk.Transform(), interpolator, theirs.GetOrigin(), wanted
    )
    places = [np.arange(n) * new / old for n, new, old in zip(ours.shape[1:], wanted, spacing, strict=True)]
    inside = np.ix_(
        *((one >= margin) & (one <= n - 1 - margin) for one, n in zip(places, image.shape[1:], strict=True))
    )
    difference = (ours[0].numpy() - sitk.GetArrayFromImage(theirs).T)[inside]
    assert difference.size > 2000
    assert np.abs(difference).max() < 1e-4 * 4000


@pytest.mark.parametrize("order", [1, 3])
def test_values_are_those_at_the_same_place_in_the_world(order: int) -> None:
    image = _image((15, 12, 9), _oblique())
    ours = Spacing((1.0, 1.3, 1.4), mode=order)(image)
    indices = np.moveaxis(np.indices(ours.shape[1:]), 0, -1)
    places = nib.affines.apply_affine(np.linalg.inv(image.affine.numpy()) @ ours.affine.numpy(), indices)
    expected = ndimage.map_coordinates(
        image[0].numpy().astype(float), np.moveaxis(places, -1, 0), order=order, mode="nearest"
    )
    np.testing.assert_allclose(ours[0].numpy(), expected, atol=1e-4 * np.ptp(expected))


def test_halfway_labels_are_monais() -> None:
    label = _image((9, 8, 7), _affine((1.0, 2.0, 1.0)), dtype=torch.uint8)
    transforms = [kind("label", 0.5, mode="nearest") for kind in (Spacingd, monai.transforms.Spacingd)]
    ours, theirs = (transform({"label": label})["label"] for transform in transforms)
    _assert_same(ours, theirs, exact=True)
    assert set(ours.unique().tolist()) <= set(label.unique().tolist())


def test_the_streaming_inferers_way_back_is_the_inverse() -> None:
    affine = _oblique()[:, [1, 0, 2, 3]]
    before = Compose([Orientationd("image", "RAS", labels=_AXES), Spacingd("image", (1.0, 1.3, 1.4))])
    image = before({"image": _image((13, 17, 11), affine)})["image"]
    back = way_back(image.applied_operations, affine=image.affine, network_size=image.shape[1:])
    whole = tuple((0, n) for n in back.grid.size)
    found = back.grid.sampler(tuple((0, n) for n in image.shape[1:]), whole)(image.as_tensor())
    found = found.permute(0, *(axis + 1 for axis in back.grid.axes))
    inverse = Invertd("image", before, nearest_interp=False)({"image": image})["image"]
    assert inverse.shape == (1, 13, 17, 11)
    np.testing.assert_allclose(found.numpy(), inverse.numpy(), atol=1e-4 * 4000)
    np.testing.assert_allclose(inverse.affine, affine, atol=1e-9)


def test_a_record_made_by_monai_can_be_undone() -> None:
    """A model's output has the record of its image, whichever class of the name made it."""
    image = _image((9, 8, 7), _affine((0.7, 1.0, 2.0)))
    theirs, ours = monai.transforms.Spacing((1.0, 1.5, 1.5)), Spacing((1.0, 1.5, 1.5))
    there = theirs(image)
    expected = theirs.inverse(there.clone())
    there.applied_operations[-1]["id"] = id(ours.sp_resample)
    _assert_same(ours.inverse(there), expected)


@pytest.mark.parametrize("mode", ["bilinear", 3, "nearest"], ids=str)
@pytest.mark.parametrize("threads", [1, 3])
def test_no_float_copy_of_the_image_is_made(mode: Any, threads: int) -> None:
    image = _image((400, 60, 60), _affine((1.0, 1.0, 1.0)), dtype=torch.int16)
    ours = Spacing((1.5, 1.5, 1.2), mode=mode)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        expected = monai.transforms.Spacing((1.5, 1.5, 1.2), mode=mode)(image)
        tracemalloc.start()
        result = ours(image)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        torch.set_num_threads(before)
    _assert_same(result, expected, exact=mode == "nearest")
    assert peak > result.nbytes
    if threads == 1:  # each has slabs of its own
        assert peak < result.nbytes + image.nbytes


def test_autocast_takes_no_precision() -> None:
    image = _image((20, 18, 16), _affine((1.0, 1.0, 2.0)))
    plain = monai.transforms.Spacing((1.3, 0.8, 1.0))(image)
    with torch.autocast("cpu", torch.bfloat16):
        _assert_same(Spacing((1.3, 0.8, 1.0))(image), plain)
