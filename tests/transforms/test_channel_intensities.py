from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, NormalizeIntensityd, ScaleIntensityRanged

from pipeline.transforms import PerChanneld, RandChannelDropoutd


def _image(channels: int, absent: str = "") -> MetaTensor:
    values = np.random.default_rng(3).normal(50, 20, (channels, 6, 5, 4)).astype(np.float32)
    return MetaTensor(
        torch.as_tensor(values), affine=torch.diag(torch.tensor([1.0, 2, 3, 1])), meta={"absent_channels": absent}
    )


def _per_channel(count: int = 2) -> PerChanneld:
    window = ScaleIntensityRanged(keys="image", a_min=0, a_max=100, b_min=0, b_max=1, clip=True)
    zscore = NormalizeIntensityd(keys="image", channel_wise=True)
    return PerChanneld(keys="image", transforms=[[window], [zscore], [zscore]][:count])


def test_each_channel_gets_its_own_intensities() -> None:
    image = _image(2)
    before = image.numpy().copy()
    changed = _per_channel()({"image": image})["image"]
    np.testing.assert_allclose(changed[0].numpy(), (before[0] / 100).clip(0, 1), rtol=1e-6)
    np.testing.assert_allclose(
        changed[1].numpy(), (before[1] - before[1].mean()) / before[1].std(), rtol=1e-3, atol=1e-5
    )
    np.testing.assert_array_equal(image.numpy(), before)
    np.testing.assert_array_equal(changed.affine, image.affine)


def test_a_channel_that_is_lacking_is_0_and_changes_no_other() -> None:
    whole, lacking = _image(3), _image(3, absent="1")
    lacking[1] = 0
    one, other = (_per_channel(3)({"image": image})["image"] for image in (whole, lacking))
    np.testing.assert_array_equal(other[[0, 2]].numpy(), one[[0, 2]].numpy())
    assert not other[1].any()


@pytest.mark.parametrize("prob", [0.3, 1.0])
def test_channels_are_lost_at_random_as_often_as_is_asked_and_never_all(prob: float) -> None:
    drop = RandChannelDropoutd(keys="image", prob=prob)
    drop.set_random_state(seed=5)
    image = _image(2)
    lost = np.array([~(drop({"image": image})["image"].numpy().any(axis=(1, 2, 3))) for _ in range(2000)])
    assert not lost.all(axis=1).any()
    # Both drawn (prob ** 2): one of them stays, each in half of the draws.
    np.testing.assert_allclose(lost.mean(axis=0), prob - prob**2 / 2, atol=0.03)
    assert image.numpy().any(axis=(1, 2, 3)).all(), "the image itself stays as it is"


def test_only_the_named_channels_are_lost() -> None:
    drop = RandChannelDropoutd(keys="image", prob=1.0, channels=[1])
    lost = ~drop({"image": _image(3)})["image"].numpy().any(axis=(1, 2, 3))
    assert lost.tolist() == [False, True, False]


def test_a_channel_that_the_case_lacks_is_0_again_and_the_only_other_one_stays() -> None:
    drop = RandChannelDropoutd(keys="image", prob=1.0)
    changed = drop({"image": _image(2, absent="0")})["image"]  # noise may have been added to the lacking one
    assert changed.numpy().any(axis=(1, 2, 3)).tolist() == [False, True]


def test_a_seeded_chain_loses_the_same_channels_again() -> None:
    def lost(seed: int) -> list[list[bool]]:
        chain = Compose([RandChannelDropoutd(keys="image", prob=0.5)])
        chain.set_random_state(seed=seed)
        return [chain({"image": _image(4)})["image"].numpy().any(axis=(1, 2, 3)).tolist() for _ in range(20)]

    assert lost(1) == lost(1) != lost(2)
