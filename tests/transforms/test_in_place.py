"""Intensities that are changed in place have MONAI's values."""

import monai.transforms
import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from pipeline.transforms import ScaleIntensityRanged

RANGE = {"a_min": -160.0, "a_max": 240.0, "b_min": 0.0, "b_max": 1.0}


@pytest.mark.parametrize("clip", [True, False])
@pytest.mark.parametrize("shape", [(1, 37, 5, 3), (2, 4, 6), (1, 1, 1, 1)])
def test_values_are_monai_s_to_the_last_bit(shape: tuple[int, ...], clip: bool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("pipeline.transforms.in_place._BLOCK", 30)
    values = torch.from_numpy(np.random.default_rng(0).normal(0, 400, shape).astype(np.float32))
    image = MetaTensor(values.clone(), affine=torch.diag(torch.tensor([2.0, 2.0, 3.0, 1.0])))
    place = image.data_ptr()
    result = ScaleIntensityRanged("image", clip=clip, **RANGE)({"image": image, "name": "a"})
    expected = monai.transforms.ScaleIntensityRanged("image", clip=clip, **RANGE)({"image": values})["image"]
    assert torch.equal(result["image"].as_tensor(), torch.as_tensor(expected))
    assert result["image"].data_ptr() == place
    assert torch.equal(result["image"].affine, image.affine)
    assert result["name"] == "a"


def test_integers_are_left_to_monai():
    image = torch.arange(-200, 300, 10, dtype=torch.int16).view(1, 50)
    result = ScaleIntensityRanged("image", clip=True, **RANGE)({"image": image})["image"]
    assert result.dtype == torch.float32
    np.testing.assert_allclose(result, np.clip((image.numpy() + 160) / 400, 0, 1), rtol=1e-6)
    assert image[0, 0] == -200
