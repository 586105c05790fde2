"""Settings reach an inferer by its constructor, or with an image; nobody changes one that exists."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from monai.data import MetaTensor, decollate_batch, list_data_collate
from monai.inferers import SimpleInferer
from monai.transforms import Compose

from pipeline.inferers import FastestInferer, MirroredInferer, ProbabilityMaps, StreamingInferer
from pipeline.inferers.image_settings import ImageSettings
from pipeline.inferers.quality import QualityInferer
from pipeline.inferers.unwrap import layers, rewrapped, unwrap
from pipeline.planning import MemoryLimit
from pipeline.planning.forecast import Probe

_WINDOWS: dict[str, Any] = {"roi_size": (8, 10, 6), "sw_batch_size": 4, "overlap": 0.5, "mode": "gaussian"}


class _Network(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.batches: list[int] = []

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        self.batches.append(len(batch))
        return torch.cat([batch, 1 - batch, batch.square()], dim=1)


def _chain() -> FastestInferer:
    windows = StreamingInferer(out_channels=3, inferer=MirroredInferer(SimpleInferer(), axes=[0]), **_WINDOWS)
    return FastestInferer(windows, engine="float32")


def test_the_outermost_of_a_kind_is_found() -> None:
    chain = _chain()
    assert [type(one) for one in layers(chain)] == [FastestInferer, StreamingInferer, MirroredInferer, SimpleInferer]
    assert unwrap(chain, StreamingInferer) is chain.inferer
    assert unwrap(chain, QualityInferer) is None
    assert unwrap(None, StreamingInferer) is None


def test_another_inferer_inside_leaves_the_given_ones_alone() -> None:
    chain, other = _chain(), SimpleInferer()
    changed = rewrapped(chain, MirroredInferer, lambda _: other)
    assert [type(one) for one in layers(changed)] == [FastestInferer, StreamingInferer, SimpleInferer]
    assert unwrap(changed, SimpleInferer) is other
    assert isinstance(unwrap(chain, MirroredInferer), MirroredInferer)


def test_an_image_brings_settings_through_collation_and_its_labels_know_nothing_of_them() -> None:
    inferer, network = StreamingInferer(out_channels=3, **_WINDOWS), _Network()
    image = MetaTensor(torch.rand(1, 20, 21, 13, generator=torch.Generator().manual_seed(0)))
    settings = ImageSettings(sw_batch_size=2, max_slab_mb=1e-6)
    batch = list_data_collate([settings.noted(MetaTensor(image.as_tensor().clone()))])
    few = decollate_batch(inferer(batch, network))[0]
    assert max(network.batches) == 2
    few_windows = sum(network.batches)
    network.batches.clear()
    many = inferer(image[None], network)[0]
    assert max(network.batches) == 4
    assert few_windows > sum(network.batches), "a slab of a byte takes several walks"
    torch.testing.assert_close(few.as_tensor(), many.as_tensor())
    assert not [key for key in few.meta if "setting" in str(key)]


def test_neither_quality_nor_a_probe_nor_a_limit_changes_an_inferer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    maps = ProbabilityMaps(classes="all", names=("background", "a", "b"), folder=tmp_path / "out")
    chain = FastestInferer(StreamingInferer(out_channels=3, probabilities=maps, **_WINDOWS), engine="float32")
    network = _Network()
    streaming = vars(chain.inferer).copy()

    def watched(self: Any, name: str, value: Any) -> None:
        assert self is not chain.inferer, f"{name} is set"
        object.__setattr__(self, name, value)

    monkeypatch.setattr(StreamingInferer, "__setattr__", watched, raising=False)
    around = QualityInferer(chain)
    around(torch.rand(1, 1, 9, 10, 8), network)
    before = _files(tmp_path / "out")
    limit = MemoryLimit(
        transform=Compose([]), inferer=around, network=network, device=torch.device("cpu"), max_memory_gb=50
    )
    limit({"name": "a", "image": str(tmp_path / "none.nii.gz")})
    Probe.of(around, network, channels=1, device=torch.device("cpu"))
    assert _files(tmp_path / "out") == before, "noise leaves no probabilities"
    assert vars(chain.inferer) == streaming


def _files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*")) if folder.exists() else []
