"""What QualityInferer notes beside the labels, against calculations of whole arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor, decollate_batch, list_data_collate
from scipy import ndimage, stats

from pipeline.errors import InputError
from pipeline.inferers import AutocastInferer, MirroredInferer, StreamingInferer
from pipeline.inferers.disagreement import DISAGREEMENT, Disagreement
from pipeline.inferers.image_statistics import image_statistics
from pipeline.inferers.label_shape import SHAPE, label_shape
from pipeline.inferers.quality import IMAGE_FEATURES, LABEL_FEATURES, QualityInferer

_WINDOWS: dict[str, Any] = {"roi_size": (8, 10, 6), "sw_batch_size": 3, "overlap": 0.5, "mode": "gaussian"}


def _network(channels: int = 3) -> torch.nn.Module:
    torch.manual_seed(0)
    layers = [torch.nn.Conv3d(1, 6, 3, padding=1), torch.nn.Tanh(), torch.nn.Conv3d(6, channels, 3, padding=1)]
    return torch.nn.Sequential(*layers).eval()


def test_expected_dice_and_agreement_of_four_pixels_by_hand() -> None:
    foreground = torch.tensor([[0.9, 0.8], [0.3, 0.1]])
    logits = torch.logit(foreground)
    mean = torch.stack([torch.zeros(2, 2), logits])[None]
    certain = torch.stack([torch.zeros(2, 2), torch.tensor([[50.0, -50.0], [-50.0, -50.0]])])[None]
    sums = Disagreement(2)
    sums.add(torch.tensor([[[[1.0, 3.0], [5.0, 9.0]]]]), mean, (mean, certain))
    found = dict(zip(DISAGREEMENT, sums.features()[0].tolist(), strict=True))
    assert found["expected_dice"] == pytest.approx(2 * (0.9 + 0.8) / (2 + 2.1), abs=1e-6)
    assert found["mirrored_agreement"] == pytest.approx(1, abs=1e-6)
    assert found["noise_agreement"] == pytest.approx(2 * 0.9 / (2.1 + 1), abs=1e-6)
    assert found["confidence"] == found["border_confidence"] == pytest.approx(0.85, abs=1e-6)
    assert (found["inside"], found["inside_deviation"], found["outside"]) == pytest.approx((2, 1, 7))


def test_labels_are_those_of_the_inner_inferer_and_features_come_through_a_batch() -> None:
    network, image = _network(), torch.rand(1, 1, 19, 14, 13, generator=torch.Generator().manual_seed(0))
    inner = StreamingInferer(out_channels=3, inferer=MirroredInferer(_simple(), axes=(0,)), **_WINDOWS)
    batch = list_data_collate([{"image": MetaTensor(image[0], affine=torch.eye(4))}])["image"]
    watched = QualityInferer(AutocastInferer(inner, enabled=False))
    result = watched(batch, network)
    assert torch.equal(result.as_tensor(), inner(batch, network).as_tensor())
    (labels,) = decollate_batch(result)
    assert labels.meta["quality_labels"].shape == (2, len(LABEL_FEATURES))
    assert labels.meta["quality_image"].shape == (len(IMAGE_FEATURES),)
    plain = watched(image, network)
    assert torch.equal(plain.meta["quality_labels"], labels.meta["quality_labels"]), "the noise is the same each time"
    with pytest.raises(InputError, match="one image at a time"):
        watched(torch.cat([image, image]), network)


def test_of_one_window_the_features_are_those_of_its_softmax() -> None:
    network, image = _network(), torch.rand(1, 1, 12, 12, 12, generator=torch.Generator().manual_seed(1))
    flips = MirroredInferer(_simple(), axes=(0,))
    inferer = StreamingInferer(out_channels=3, roi_size=(12, 12, 12), inferer=flips)
    found = QualityInferer(inferer)(image, network).meta["quality_labels"]
    with torch.no_grad():
        first = network(image)[0]
        mean = (first + torch.flip(network(torch.flip(image, [2]))[0], [1])) / 2
    p, q = torch.softmax(mean, 0).numpy(), torch.softmax(first, 0).numpy()
    labels = mean.argmax(0).numpy()
    for channel in (1, 2):
        mask = labels == channel
        row = dict(zip(LABEL_FEATURES, found[channel - 1].tolist(), strict=True))
        border = mask & ~ndimage.binary_erosion(mask, np.ones((3, 3, 3)), border_value=1)
        ring = ndimage.binary_dilation(mask, np.ones((3, 3, 3))) & ~mask
        grey = image[0, 0].numpy()
        agreement = 2 * np.minimum(p, q)[channel].sum() / (p + q)[channel].sum()
        expected = 2 * p[channel][mask].sum() / (mask.sum() + p[channel].sum())
        assert row["expected_dice"] == pytest.approx(expected, rel=1e-4)
        assert row["mirrored_agreement"] == pytest.approx(agreement, rel=1e-4)
        assert row["border_confidence"] == pytest.approx(p[channel][border].mean(), rel=1e-4)
        assert row["inside"] == pytest.approx(grey[mask].mean(), rel=1e-4)
        assert row["inside_deviation"] == pytest.approx(grey[mask].std(), rel=1e-3)
        assert row["outside"] == pytest.approx(grey[ring].mean(), rel=1e-4)
        assert 0 < row["noise_agreement"] < 1


def _simple() -> Any:
    from monai.inferers import SimpleInferer

    return SimpleInferer()


def test_no_pass_stays_behind_and_only_argmax_is_known() -> None:
    inner = StreamingInferer(out_channels=3, **_WINDOWS)
    usual = inner.inferer

    def broken(batch: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        QualityInferer(inner)(torch.rand(1, 1, 8, 10, 6), broken)
    assert inner.inferer is usual
    regions = StreamingInferer(out_channels=2, rule="regions", **_WINDOWS)
    for inferer in (regions, _simple()):
        with pytest.raises(InputError, match="quality cannot be predicted"):
            QualityInferer(inferer)


@pytest.mark.parametrize("at_a_time", [2**24, 5000, 1], ids=["all", "some slices", "one slice"])
@pytest.mark.parametrize("shape", [(1, 70, 21, 18), (1, 140, 90), (2, 40, 30, 20)])
def test_image_statistics_are_those_of_the_whole_image(
    shape: tuple[int, ...], at_a_time: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.inferers.image_statistics._BYTES", at_a_time)
    generator = np.random.default_rng(0)
    image = ndimage.gaussian_filter(generator.normal(size=shape), [0, *[2.0] * (len(shape) - 1)])
    image[:, :12] = 0
    found = image_statistics(torch.as_tensor(image, dtype=torch.float32))
    axes = range(1, len(shape))
    first = [np.diff(image, axis=axis) for axis in axes]
    assert found["gradient"] == pytest.approx(np.concatenate([abs(one).ravel() for one in first]).mean(), rel=1e-4)
    assert found["constant"] == pytest.approx(np.concatenate([(one == 0).ravel() for one in first]).mean(), rel=1e-4)
    second = [np.diff(image, n=2, axis=axis) for axis in axes]
    ratio = np.concatenate([one.ravel() ** 2 for one in second]).mean()
    ratio /= np.concatenate([one.ravel() ** 2 for one in first]).mean()
    assert found["sharpness"] == pytest.approx(np.sqrt(ratio), rel=1e-4)
    assert found["skewness"] == pytest.approx(stats.skew(image.ravel()), rel=1e-3)
    assert found["kurtosis"] == pytest.approx(stats.kurtosis(image.ravel(), fisher=False), rel=1e-3)
    assert found["log_size"] == pytest.approx(np.log(np.prod(shape[1:])))


@pytest.mark.parametrize("sigma", [0.2, 1.0])
def test_the_noise_is_found_under_a_structure(sigma: float) -> None:
    axes = np.meshgrid(*[np.linspace(0, 3, 64)] * 3, indexing="ij")
    clean = np.sin(axes[0]) * np.cos(axes[1]) + axes[2]
    image = clean + np.random.default_rng(0).normal(0, sigma, clean.shape)
    found = image_statistics(torch.as_tensor(image, dtype=torch.float32)[None])["noise"]
    assert found == pytest.approx(sigma, rel=0.05)


def test_shapes_do_not_depend_on_the_axes() -> None:
    labels = np.zeros((20, 16, 12), dtype=np.uint8)
    labels[2:10, 3:7, 4:6] = 1
    labels[12:, 8:12, :3] = 4
    affine = np.array([[0, 0, 2, 7], [1.5, 0, 0, -3], [0, -1, 0, 9], [0, 0, 0, 1.0]])
    found = label_shape(torch.as_tensor(labels), affine, values=(1, 4, 9))
    size_mm = np.array([1.5, 1, 2])
    places = {value: np.argwhere(labels == value) * size_mm for value in (1, 4)}
    middle = np.concatenate(list(places.values())).mean(axis=0)
    for row, value in zip(found, (1, 4), strict=False):
        told = dict(zip(SHAPE, row, strict=True))
        volume = len(places[value]) * 3.0
        assert told["log_volume"] == pytest.approx(np.log(1 + volume))
        spread = np.sqrt(places[value].var(axis=0).sum())
        assert told["elongation"] == pytest.approx(spread / volume ** (1 / 3))
        assert told["distance"] == pytest.approx(np.linalg.norm(places[value].mean(axis=0) - middle))
    inner = np.zeros_like(labels, dtype=bool)
    inner[1:-1, 1:-1, 1:-1] = True
    assert found[:, 3].tolist() == [0, pytest.approx((labels[~inner] == 4).sum() / (labels == 4).sum()), 0]
    assert (found[2] == 0).all()
    turned = label_shape(torch.as_tensor(labels.transpose(2, 0, 1)[::-1].copy()), affine[:, [2, 0, 1, 3]],
                         values=(1, 4, 9))  # fmt: skip
    np.testing.assert_allclose(turned, found, atol=1e-9)
