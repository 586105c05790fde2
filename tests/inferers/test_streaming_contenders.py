"""Classes without a chance are passed over, and the labels stay those of all classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor, decollate_batch, list_data_collate
from monai.inferers import SlidingWindowInferer
from monai.transforms import CenterSpatialCropd, Compose, Invertd, Spacingd

from pipeline.inferers import StreamingInferer
from pipeline.inferers.deciding import HighestLogit

CLASSES = 20
SIZE = (150, 70, 9)


class Places(torch.nn.Module):
    """Logits that fall with the distance from a place of each class, found by an image of coordinates."""

    def __init__(self, *, noise: float) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.places = torch.rand(CLASSES, 2, generator=generator)
        self.noise = torch.nn.Conv3d(2, CLASSES, 3, padding=1)
        torch.nn.init.normal_(self.noise.weight, std=noise, generator=generator)

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        apart = batch[:, None] - self.places[None, :, :, None, None, None]
        return -40 * apart.square().sum(dim=2) + self.noise(batch)


def _coordinates(size: Sequence[int]) -> torch.Tensor:
    lines = torch.meshgrid(*(torch.linspace(0, 1, n) for n in size), indexing="ij")
    return torch.stack(lines[:2])


def _case(steps: Compose) -> torch.Tensor:
    affine = torch.diag(torch.tensor([1.0, 1.0, 2.0, 1.0], dtype=torch.float64))
    meta = {"original_affine": affine.numpy(), "spatial_shape": np.array(SIZE)}
    return list_data_collate([steps({"image": MetaTensor(_coordinates(SIZE), affine=affine, meta=meta)})])


@pytest.mark.parametrize("noise", [0.0, 2.0])
@pytest.mark.parametrize("crop", [None, (40, 30, 9)], ids=["whole", "a part that the network saw"])
def test_labels_are_those_of_all_classes(crop: Any, noise: float, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = Compose([Spacingd("image", (1.7, 1.3, 2.0)), *([CenterSpatialCropd("image", crop)] if crop else [])])
    batch, network = _case(steps), Places(noise=noise).eval()
    layout: dict[str, Any] = {"roi_size": (24, 24, 9), "overlap": 0.25, "mode": "gaussian"}
    with torch.no_grad():
        logits = SlidingWindowInferer(**layout)(batch["image"], network)
    (case,) = decollate_batch({**batch, "pred": logits})
    expected = Invertd("pred", steps, "image", nearest_interp=False)(case)["pred"].argmax(dim=0)

    monkeypatch.setattr("pipeline.inferers.sweep._TILE", 32)
    shown: list[int] = []
    show = HighestLogit.show
    monkeypatch.setattr(
        HighestLogit, "show", lambda self, channels, seen: (shown.append(len(channels)), show(self, channels, seen))[1]
    )
    chosen: list[int] = []
    contenders = HighestLogit.contenders
    monkeypatch.setattr(
        HighestLogit,
        "contenders",
        lambda self, seen: chosen.append(len(contenders(self, seen))) or contenders(self, seen),
    )
    labels = StreamingInferer(out_channels=CLASSES, **layout)(batch["image"], network)[0, 0].as_tensor()
    wrong = labels.long() != expected
    # Equal but for float32's rounding where two classes are equally far.
    assert float(wrong.float().mean()) <= 1e-5
    assert len(expected.unique()) > 10 or crop
    if not noise:
        assert sum(chosen) <= 0.6 * CLASSES * len(chosen)
    assert sum(shown) == sum(chosen)


def test_a_class_with_no_more_than_another_s_least_is_passed_over() -> None:
    seen = torch.tensor([[0.0, 1.0], [2.0, 9.0], [5.0, 6.0], [4.9, 4.9], [5.0, 5.0], [-1.0, -2.0], [8.0, -9.0]])
    assert HighestLogit(range(7)).contenders(seen) == [0, 1, 2, 4, 6]  # the third class has 5 or more everywhere


def test_confidence_needs_all_classes() -> None:
    assert not HighestLogit(range(20), confidence=True).passes_over
    assert HighestLogit(range(20)).passes_over
