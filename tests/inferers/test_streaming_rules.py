"""What StreamingInferer decides, skips, counts and refuses; its geometry is tested in test_streaming.py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor, decollate_batch, list_data_collate
from monai.inferers import SlidingWindowInferer
from monai.transforms import Compose, Rotate90d, Spacingd

from pipeline.errors import InputError
from pipeline.inferers import StreamingInferer

_WINDOWS: dict[str, Any] = {"roi_size": (8, 10, 6), "sw_batch_size": 3, "overlap": 0.5, "mode": "gaussian"}


def _network(channels: int = 4) -> torch.nn.Module:
    torch.manual_seed(0)
    layers = [torch.nn.Conv3d(1, 6, 3, padding=1), torch.nn.Tanh(), torch.nn.Conv3d(6, channels, 3, padding=1)]
    return torch.nn.Sequential(*layers).eval()


def _smooth(size: Sequence[int]) -> torch.Tensor:
    torch.manual_seed(0)
    coarse = torch.randn(1, 1, *(max(n // 3, 1) for n in size))
    return 3 * torch.nn.functional.interpolate(coarse, tuple(size), mode="trilinear")[0] + 0.1 * torch.randn(1, *size)


def _batch(image: torch.Tensor, steps: Compose | None = None) -> torch.Tensor:
    """A collated batch of one image of 1 x 1 x 2 mm."""
    affine = torch.diag(torch.tensor([1.0, 1.0, 2.0, 1.0], dtype=torch.float64))
    meta = {"original_affine": affine.numpy(), "spatial_shape": np.array(image.shape[1:])}
    case = {"image": MetaTensor(image, affine=affine, meta=meta)}
    return list_data_collate([case if steps is None else steps(case)])["image"]


def _logits(image: torch.Tensor, network: Any, **layout: Any) -> torch.Tensor:
    with torch.no_grad():
        return SlidingWindowInferer(**layout)(image, network)[0]


def test_labels_may_have_other_values_than_the_channels() -> None:
    image, network = _smooth((14, 17, 12))[None], _network()
    values = torch.tensor([0, 7, 255, 7])
    result = StreamingInferer(out_channels=4, values=values.tolist(), **_WINDOWS)(image, network)
    expected = values[_logits(image, network, **_WINDOWS).argmax(dim=0)]
    assert torch.equal(result[0, 0].as_tensor().long(), expected)


@pytest.mark.parametrize("threshold", [0.5, 0.4, 0.55])
def test_later_regions_overwrite_earlier_ones(threshold: float) -> None:
    image, network = _smooth((14, 17, 12))[None], _network()
    probability = torch.sigmoid(_logits(image, network, **_WINDOWS))
    expected = torch.zeros(14, 17, 12)
    for channel, value in enumerate([2, 1, 3, 9]):
        expected[probability[channel] >= threshold] = value
    options = {"rule": "regions", "values": [2, 1, 3, 9], "threshold": threshold}
    result = StreamingInferer(out_channels=4, **options, **_WINDOWS)(image, network)
    assert torch.equal(result[0, 0].as_tensor().float(), expected)
    assert len(expected.unique()) > 2


def test_one_channel_is_a_binary_mask() -> None:
    image, network = _smooth((14, 17, 12))[None], _network(1)
    expected = _logits(image, network, **_WINDOWS)[0] >= 0
    result = StreamingInferer(out_channels=1, rule="regions", **_WINDOWS)(image, network)
    assert torch.equal(result[0, 0].as_tensor(), expected.to(torch.uint8))
    assert 0 < expected.float().mean() < 1


@pytest.mark.parametrize("channels", [4, 40])
@pytest.mark.parametrize("slab", [2048.0, 0.01])
def test_statistics_are_those_of_the_whole_softmax(channels: int, slab: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.inferers.sweep._BLOCK", 2**12)  # so that the channels come in several parts
    image, network = _smooth((14, 17, 12))[None], _network(channels)
    probability, expected = torch.softmax(_logits(image, network, **_WINDOWS), dim=0).max(dim=0)
    result = StreamingInferer(out_channels=channels, statistics=True, max_slab_mb=slab, **_WINDOWS)(image, network)
    assert torch.equal(result[0, 0].as_tensor().long(), expected)
    assert result.meta["label_voxels"].tolist() == torch.bincount(expected.flatten(), minlength=channels).tolist()
    for value in range(channels):
        confidence = float(result.meta["label_confidence"][value])
        assert confidence == pytest.approx(float(probability[expected == value].mean()), rel=1e-5, nan_ok=True)


def test_statistics_of_regions_and_through_a_collated_batch() -> None:
    image, network = _batch(_smooth((14, 17, 12))), _network(2)
    probability = torch.sigmoid(_logits(image, network, **_WINDOWS)).as_tensor()
    expected = torch.where(probability[1] >= 0.5, 2, torch.where(probability[0] >= 0.5, 1, 0))
    sure = torch.where(
        expected == 2, probability[1], torch.where(expected == 1, probability[0], 1 - probability.amax(0))
    )
    result = StreamingInferer(out_channels=2, rule="regions", statistics=True, **_WINDOWS)(image, network)
    (labels,) = decollate_batch(result)
    assert torch.equal(labels[0].as_tensor().long(), expected)
    for value in range(3):
        assert int(labels.meta["label_voxels"][value]) == int((expected == value).sum())
        assert float(labels.meta["label_confidence"][value]) == pytest.approx(
            float(sure[expected == value].mean()), rel=1e-5
        )


def test_empty_windows_can_be_skipped() -> None:
    image, network = _smooth((40, 20, 18))[None], _network()
    image[:, :, 16:] = -9.0
    calls: list[int] = []

    def counted(batch: torch.Tensor) -> torch.Tensor:
        calls.append(len(batch))
        assert float(batch.amax(dim=(1, 2, 3, 4)).min()) > -9.0
        return network(batch)

    expected = _logits(image, network, **_WINDOWS).argmax(dim=0)
    result = StreamingInferer(out_channels=4, skip_below=-9.0, **_WINDOWS)(image, counted)[0, 0].as_tensor()
    # Windows start every 4 voxels; the first without foreground at 16, so that nothing before it can change.
    assert torch.equal(result[:16].long(), expected[:16])
    assert (result[24:] == 0).all()
    assert (expected[24:] != 0).any()
    everything: list[int] = []
    StreamingInferer(out_channels=4, **_WINDOWS)(image, lambda batch: everything.append(len(batch)) or network(batch))
    assert sum(calls) == sum(everything) * 4 // 9  # 4 of 9 places along the first axis
    regions = StreamingInferer(out_channels=4, rule="regions", skip_below=100.0, **_WINDOWS)(image, counted)
    assert (regions == 0).all()


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (
            lambda x: torch.zeros(len(x), 5, *x.shape[2:]),
            r"the network's output has the wrong shape \(expected \(3, 4, ",
        ),
        (lambda x: torch.zeros(len(x), 4, *(n // 2 for n in x.shape[2:])), "the network's output has the wrong shape"),
        (lambda x: [x], r"the network's output has the wrong shape .*got list"),
        (lambda x: torch.full((len(x), 4, *x.shape[2:]), torch.nan), "the network gives NaN or infinite logits"),
        (lambda x: torch.full((len(x), 4, *x.shape[2:]), torch.inf), "the network gives NaN or infinite logits"),
    ],
)
def test_networks_that_give_something_else_are_refused(output: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        StreamingInferer(out_channels=4, **_WINDOWS)(torch.rand(1, 1, 12, 12, 12), output)
    assert "\n" not in str(caught.value)


def test_what_cannot_be_segmented_is_refused() -> None:
    inferer, network = StreamingInferer(out_channels=4, **_WINDOWS), _network()
    for image in (torch.zeros(1, 1, 4, 0, 4), torch.zeros(4, 4, 4), torch.zeros(0, 1, 4, 4, 4)):
        with pytest.raises(InputError, match="image: cannot be segmented"):
            inferer(image, network)
    turned = Compose([Spacingd("image", (1.0, 1.0, 1.0), mode="nearest")])
    with pytest.raises(InputError, match=r"SpatialResample does not interpolate linearly .*got nearest"):
        inferer(_batch(_smooth((9, 9, 9)), turned), network)
    with pytest.raises(InputError, match="Rotate90 cannot be undone slab by slab"):
        inferer(_batch(_smooth((9, 9, 9)), Compose([Rotate90d("image")])), network)
    image = _batch(_smooth((9, 9, 9)))
    cropped = MetaTensor(image.as_tensor()[0, :, :5], meta=decollate_batch(image)[0].meta)
    with pytest.raises(InputError, match="do not lead back to its file's grid"):
        inferer(list_data_collate([cropped]), network)


def test_arguments_that_do_not_fit_are_refused() -> None:
    for options, message in (
        ({"rule": "vote"}, "rule: unknown rule"),
        ({"values": [0, 1]}, "values: each channel needs a label"),
        ({"values": [0, 1, 2, 256]}, "values: labels must fit 8 bits"),
        ({"rule": "regions", "threshold": 1.0}, "threshold: is no probability"),
    ):
        with pytest.raises(InputError, match=message):
            StreamingInferer(out_channels=4, **options, **_WINDOWS)
    with pytest.raises(InputError, match="labels must fit 8 bits"):
        StreamingInferer(out_channels=257, **_WINDOWS)
