from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from skimage.exposure import equalize_adapthist

from pipeline.errors import InputError
from pipeline.transforms import Clahed, UnitRanged


def _clahe(image: np.ndarray, **options: Any) -> np.ndarray:
    result = Clahed("image", **options)({"image": MetaTensor(torch.as_tensor(image), meta={"note": 1})})["image"]
    assert isinstance(result, MetaTensor)
    assert result.meta["note"] == 1
    assert result.dtype == torch.float32
    assert result.shape == image.shape
    return result.numpy()


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.float32, torch.float64])
@pytest.mark.parametrize("full_scale", [255, 65535])
def test_unit_divides_by_the_largest_value_of_the_sample_type(dtype: torch.dtype, full_scale: int) -> None:
    values = torch.tensor([[[0, 51], [102, 255]]], dtype=dtype)
    image = MetaTensor(values, meta={"full_scale": full_scale, "note": 1})
    result = UnitRanged("image")({"image": image, "other": 3})
    assert result["other"] == 3
    assert isinstance(result["image"], MetaTensor)
    assert result["image"].meta["note"] == 1
    assert result["image"].dtype == torch.float32
    expected = np.array([[[0, 51], [102, 255]]]) / full_scale
    np.testing.assert_allclose(result["image"].numpy(), expected, rtol=1e-6)
    assert torch.equal(image.as_tensor(), values)  # the input is not written to


def test_unit_is_refused_where_the_range_is_unknown() -> None:
    image = MetaTensor(torch.ones(1, 2, 2), meta={"filename_or_obj": "case.nii.gz"})
    with pytest.raises(InputError, match=r"case\.nii\.gz: .*`unit` is for pictures.* percentile or ct_window"):
        UnitRanged("image")({"image": image})
    with pytest.raises(InputError, match="`unit` is for pictures"):
        UnitRanged("image")({"image": torch.ones(1, 2, 2)})


@pytest.mark.parametrize(
    ("shape", "tiles", "kernel"),
    [((64, 48), 8, (8, 6)), ((61, 50), (4, 5), (16, 10)), ((24, 20, 18), (2, 4, 3), (12, 5, 6)), ((40, 5), 8, (5, 1))],
    ids=str,
)
def test_clahe_is_scikit_images_for_each_channel(shape: tuple[int, ...], tiles: Any, kernel: tuple[int, ...]) -> None:
    image = np.random.default_rng(0).gamma(2.0, 300.0, size=(2, *shape)) - 900  # as HU, with outliers
    result = _clahe(image, clip_limit=0.03, tiles=tiles)
    for channel, equalised in zip(image, result, strict=True):
        ends = np.percentile(channel, [0.5, 99.5])
        unit = np.interp(channel, ends, [0, 1])  # clips at both ends
        np.testing.assert_allclose(equalised, equalize_adapthist(unit, kernel, 0.03), atol=2 / 256)


@pytest.mark.parametrize("depth", [3, 4])
def test_a_volume_of_three_or_four_slices_is_no_picture_of_colours(depth: int) -> None:
    volume = np.random.default_rng(0).normal(size=(1, 24, 20, depth))
    turned = np.moveaxis(volume, -1, 1)
    result = _clahe(volume, tiles=(4, 4, 1))
    # scikit-image counts in 14 bits, and sums the corners in the order of the axes.
    np.testing.assert_allclose(np.moveaxis(result, -1, 1), _clahe(turned, tiles=(1, 4, 4)), atol=2 / 2**14)


def test_one_tile_without_a_limit_is_plain_histogram_equalisation() -> None:
    values = np.random.default_rng(0).permutation(np.linspace(0, 1, 64 * 64) ** 1.5).reshape(1, 64, 64)
    ranks = values.ravel().argsort().argsort().reshape(values.shape) / (values.size - 1)
    assert np.abs(values - ranks).max() > 0.14
    result = _clahe(values, clip_limit=1, tiles=1)
    # Of 256 grey levels the lowest holds (1 / 256)^(1 / 1.5) = 2.5 % of the values, and 1 % is clipped.
    assert np.abs(result - ranks).max() < 0.035
    order = values.ravel().argsort()
    assert (np.diff(result.ravel()[order]) >= 0).all()


def test_contrast_within_each_half_is_raised_and_the_limit_restrains_it() -> None:
    rng = np.random.default_rng(0)
    image = np.where(np.indices((64, 64))[0] < 32, 0.2, 0.8) + rng.uniform(-0.02, 0.02, (64, 64))
    spread = [_clahe(image[None], clip_limit=limit, tiles=2)[0, :16].std() for limit in (0.005, 0.02, 1)]
    assert image[:16].std() < spread[0] < spread[1] < spread[2]


@pytest.mark.parametrize("value", [0.0, -1000.0, 7.5])
def test_a_channel_of_one_value_becomes_0(value: float) -> None:
    image = np.stack([np.full((16, 16), value), np.random.default_rng(0).normal(size=(16, 16))])
    result = _clahe(image)
    assert (result[0] == 0).all()
    assert result[1].min() == 0
    assert result[1].max() == 1


def test_few_pixels_that_differ_are_not_clipped_away() -> None:
    image = np.zeros((1, 64, 64))
    image[0, 10, 20] = 5.0  # below 0.5 %
    result = _clahe(image)
    assert result[0, 10, 20] == 1
    assert np.isfinite(result).all()
    assert (result < 1).sum() == 64 * 64 - 1


@pytest.mark.parametrize(
    "options", [{"clip_limit": 0}, {"clip_limit": 1.5}, {"tiles": 0}, {"tiles": (4, 0)}, {"tiles": ()}]
)
def test_arguments_out_of_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"CLAHE: (clip_limit|tiles)"):
        Clahed("image", **options)


def test_tiles_must_fit_the_axes() -> None:
    image = MetaTensor(torch.rand(1, 8, 8), meta={"filename_or_obj": "in.png"})
    with pytest.raises(
        InputError, match=r"in\.png: tiles do not fit the image \(expected 2 numbers, got \(4, 4, 4\)\)"
    ):
        Clahed("image", tiles=(4, 4, 4))({"image": image})
