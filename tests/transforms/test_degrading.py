from __future__ import annotations

import numpy as np
import pytest
from skimage.filters import gaussian

from pipeline.errors import InputError
from pipeline.transforms.degrading import Degradation, degrade


def _case() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    image = generator.uniform(3, 9, (1, 30, 24, 20)).astype(np.float32)
    return image, (image > 6).astype(np.uint8)


def _degraded(kind: str, strength: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray, tuple[int, ...]]:
    return degrade(*_case(), Degradation(kind, strength), np.random.default_rng(seed))


def test_noise_has_the_stated_strength_and_labels_stay() -> None:
    image, labels = _case()
    worse, same, corner = _degraded("noise", 0.5)
    assert (worse - image).std() == pytest.approx(0.5 * image.std(), rel=0.03)
    assert (worse.dtype, corner) == (np.float32, (0, 0, 0))
    np.testing.assert_array_equal(same, labels)


def test_blur_and_gamma_are_those_of_the_formulas() -> None:
    image, _ = _case()
    blurred = _degraded("blur", 1.5)[0][0]
    np.testing.assert_allclose(
        blurred[8:-8, 8:-8, 8:-8], gaussian(image[0], 1.5, truncate=4)[8:-8, 8:-8, 8:-8], atol=1e-4
    )
    low, high = image.min(), image.max()
    expected = low + (high - low) * ((image - low) / (high - low)) ** 2
    np.testing.assert_allclose(_degraded("gamma", 2)[0], expected, rtol=1e-4)


def test_a_bias_field_is_smooth_and_of_the_stated_size() -> None:
    image, _ = _case()
    factor = (_degraded("bias", 1.0)[0] - image.min())[image > 4] / (image - image.min())[image > 4]
    assert np.exp(-np.sqrt(3)) < factor.min() < 0.6
    assert 1.6 < factor.max() < np.exp(np.sqrt(3))


@pytest.mark.parametrize("seed", range(12))
def test_a_crop_says_where_it_begins(seed: int) -> None:
    image, labels = _case()
    worse, moved, corner = _degraded("crop", 0.3, seed)
    place = (0, *(slice(first, first + n) for first, n in zip(corner, worse.shape[1:], strict=True)))
    np.testing.assert_array_equal(worse[0], image[place])
    np.testing.assert_array_equal(moved[0], labels[place])
    assert worse.size == pytest.approx(0.7 * image.size, rel=0.02)


@pytest.mark.parametrize("seed", range(12))
def test_a_shift_moves_image_and_labels_alike(seed: int) -> None:
    image, labels = _case()
    worse, moved, corner = _degraded("shift", 0.2, seed)
    assert (worse.shape, corner) == (image.shape, (0, 0, 0))
    found = []
    for axis in range(3):
        for sign in (-1, 1):
            by = sign * round(0.2 * image.shape[1 + axis])
            rolled, rolled_labels = np.roll(image, by, 1 + axis), np.roll(labels, by, 1 + axis)
            fresh = [slice(None)] * 4
            fresh[1 + axis] = slice(0, by) if by > 0 else slice(by, None)
            rolled[tuple(fresh)], rolled_labels[tuple(fresh)] = image.min(), 0
            found.append(np.array_equal(worse, rolled) and np.array_equal(moved, rolled_labels))
    assert sum(found) == 1


def test_what_is_unknown_is_refused_and_none_is_nothing() -> None:
    image, labels = _case()
    same = _degraded("none", 0)
    np.testing.assert_array_equal(same[0], image)
    np.testing.assert_array_equal(same[1], labels)
    with pytest.raises(InputError, match="no such degradation"):
        _degraded("snow", 1)
