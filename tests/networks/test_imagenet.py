"""Key names, parameter counts, and the loading of published weights."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from pipeline.errors import InputError
from pipeline.networks import (
    FCN,
    DeepLabV3Plus,
    MobileNetV2,
    ResNet,
    SegNet,
    UNet,
    load_imagenet_weights,
    prepare_backbone,
)

BACKBONES: dict[str, tuple[type[nn.Module], dict[str, Any]]] = {
    "FCN": (FCN, {"width": 1 / 16}),
    "MobileNetV2": (MobileNetV2, {"width": 0.25}),
    "ResNet": (ResNet, {"depth": 18, "width": 1 / 8}),
    "SegNet": (SegNet, {"width": 1 / 8}),
}
NORM = r"(weight|bias|running_mean|running_var|num_batches_tracked)"
MOBILENETV2_KEYS = re.compile(
    rf"features\.(0|18)\.(0\.weight|1\.{NORM})"
    rf"|features\.1\.conv\.(0\.0\.weight|0\.1\.{NORM}|1\.weight|2\.{NORM})"
    rf"|features\.([2-9]|1[0-7])\.conv\.([01]\.0\.weight|[01]\.1\.{NORM}|2\.weight|3\.{NORM})"
    r"|classifier\.1\.(weight|bias)"
)
RESNET_KEYS = re.compile(
    rf"conv1\.weight|bn1\.{NORM}|fc\.(weight|bias)"
    rf"|layer[1-4]\.\d+\.(conv[123]\.weight|bn[123]\.{NORM}|downsample\.0\.weight|downsample\.1\.{NORM})"
)


def full(network: type[nn.Module], **arguments: Any) -> nn.Module:
    """A network of full size without its memory."""
    with torch.device("meta"):
        return network(**arguments)


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def seeded(network: type[nn.Module], seed: int, **arguments: Any) -> nn.Module:
    """A network of which no weight, bias or statistic has its default value."""
    torch.manual_seed(seed)
    built = network(**arguments)
    for key, tensor in built.state_dict().items():
        if not key.endswith("num_batches_tracked"):
            tensor.copy_(torch.rand_like(tensor) * 0.2 + 0.9 if "running_var" in key else torch.randn_like(tensor) / 8)
    return built.eval()


@pytest.mark.parametrize(
    ("network", "arguments", "published"),
    [
        (MobileNetV2, {}, 3_504_872),
        (ResNet, {"depth": 18}, 11_689_512),
        (ResNet, {"depth": 34}, 21_797_672),
        (ResNet, {"depth": 50}, 25_557_032),
        (ResNet, {"depth": 101}, 44_549_160),
    ],
)
def test_as_many_parameters_as_published(network: type[nn.Module], arguments: dict[str, Any], published: int) -> None:
    assert count(full(network, in_channels=3, out_channels=1000, **arguments)) == published


def test_vgg16_has_as_many_parameters_as_published() -> None:
    fcn, segnet = full(FCN, out_channels=21), full(SegNet, out_channels=12)
    vgg16, vgg16_bn, last_dense = 138_357_544, 138_365_992, 4096 * 1000 + 1000
    assert count(fcn.features) + count(fcn.classifier) == vgg16 - last_dense
    assert count(segnet.features) == vgg16_bn - last_dense - count(fcn.classifier)
    assert round(count(segnet) / 1e6, 1) == 29.4  # A. Paszke et al., ENet, table 3: 29.46 million with 12 classes


def test_unet_has_the_parameters_of_its_figure() -> None:
    channels = (64, 128, 256, 512, 1024)
    per_conv = [(3, 64), (64, 64)]
    for fine, coarse in pairwise(channels):
        per_conv += [(fine, coarse), (coarse, coarse), (coarse, fine), (fine, fine)]  # down and up
    convolutions = sum(9 * before * after + 2 * after for before, after in per_conv)  # batch norm: scale and shift
    up = sum(4 * fine * coarse + fine for fine, coarse in pairwise(channels))
    assert count(full(UNet, in_channels=3, out_channels=1, channels=channels)) == convolutions + up + 64 + 1


@pytest.mark.parametrize(
    ("network", "arguments", "pattern", "number"),
    [
        (MobileNetV2, {}, MOBILENETV2_KEYS, 314),
        (ResNet, {"depth": 18}, RESNET_KEYS, 122),
        (ResNet, {"depth": 34}, RESNET_KEYS, 218),
        (ResNet, {"depth": 50}, RESNET_KEYS, 320),
        (ResNet, {"depth": 101}, RESNET_KEYS, 626),
    ],
)
def test_keys_are_those_of_the_published_weights(
    network: type[nn.Module], arguments: dict[str, Any], pattern: re.Pattern[str], number: int
) -> None:
    keys = full(network, in_channels=3, out_channels=1000, **arguments).state_dict().keys()
    assert [key for key in keys if not pattern.fullmatch(key)] == []
    assert len(keys) == number


def test_some_published_shapes() -> None:
    mobilenet = full(MobileNetV2, out_channels=1000).state_dict()
    assert mobilenet["features.0.0.weight"].shape == (32, 3, 3, 3)
    assert mobilenet["features.1.conv.0.0.weight"].shape == (32, 1, 3, 3)
    assert mobilenet["features.1.conv.1.weight"].shape == (16, 32, 1, 1)
    assert mobilenet["features.17.conv.2.weight"].shape == (320, 960, 1, 1)
    assert mobilenet["features.18.0.weight"].shape == (1280, 320, 1, 1)
    assert mobilenet["classifier.1.weight"].shape == (1000, 1280)
    resnet = full(ResNet, depth=50, out_channels=1000).state_dict()
    assert resnet["conv1.weight"].shape == (64, 3, 7, 7)
    assert resnet["layer1.0.downsample.0.weight"].shape == (256, 64, 1, 1)
    assert resnet["layer4.2.conv2.weight"].shape == (512, 512, 3, 3)
    vgg = full(SegNet, out_channels=2).state_dict()
    assert vgg["features.0.weight"].shape == (64, 3, 3, 3)
    assert vgg["features.41.running_var"].shape == (512,)
    assert full(FCN, out_channels=2).state_dict()["features.28.weight"].shape == (512, 512, 3, 3)


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 6])
def test_a_grey_image_gives_the_features_of_its_copy_in_rgb(name: str, channels: int, tmp_path: Path) -> None:
    network, arguments = BACKBONES[name]
    rgb = seeded(network, 0, in_channels=3, out_channels=5, **arguments)
    torch.save(rgb.state_dict(), tmp_path / "weights.pth")
    fitted = seeded(network, 1, in_channels=channels, out_channels=5, **arguments)
    own = fitted.state_dict()
    fitted.load_state_dict({k: v if v.shape == own[k].shape else own[k] for k, v in rgb.state_dict().items()})
    load_imagenet_weights(fitted, tmp_path / "weights.pth")
    grey = torch.randn(2, 1, 48, 40)
    with torch.no_grad():
        expected = rgb(grey.expand(-1, 3, -1, -1))
        torch.testing.assert_close(fitted(grey.expand(-1, channels, -1, -1)), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", BACKBONES)
def test_the_backbone_is_loaded_whatever_the_classes(name: str, tmp_path: Path) -> None:
    network, arguments = BACKBONES[name]
    published = seeded(network, 0, out_channels=5, **arguments).state_dict()
    backbone = {k: v for k, v in published.items() if k.startswith(("features", "conv1", "bn1", "layer"))}
    head = "fc.weight" if name == "ResNet" else "classifier.6.weight"
    torch.save({**backbone, head: torch.ones(7, 64)}, tmp_path / "w")
    fitted = seeded(network, 1, out_channels=2, **arguments)
    before = {k: v.clone() for k, v in fitted.state_dict().items()}
    load_imagenet_weights(fitted, tmp_path / "w")
    for key, tensor in fitted.state_dict().items():
        torch.testing.assert_close(tensor, backbone.get(key, before[key]), rtol=0, atol=0)


def test_the_dense_layers_of_vgg16_become_convolutions(tmp_path: Path) -> None:
    published = seeded(FCN, 0, out_channels=5, width=1 / 16).state_dict()
    vgg = {k: v for k, v in published.items() if k.startswith(("features", "classifier"))}
    dense = {k: v.flatten(1) if v.ndim == 4 and k.startswith("classifier") else v for k, v in vgg.items()}
    torch.save({**dense, "classifier.6.bias": torch.zeros(1000)}, tmp_path / "vgg16.pth")
    fitted = seeded(FCN, 1, out_channels=2, width=1 / 16)
    load_imagenet_weights(fitted, tmp_path / "vgg16.pth")
    torch.testing.assert_close({k: fitted.state_dict()[k] for k in vgg}, vgg)
    features = torch.randn(1, 32, 7, 7)
    by_dense = features.flatten(1) @ dense["classifier.0.weight"].T + dense["classifier.0.bias"]
    with torch.no_grad():
        torch.testing.assert_close(fitted.classifier[0](features)[:, :, 3, 3], by_dense, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["mobilenetv2", "resnet18"])
def test_an_encoder_takes_the_weights_of_the_whole_classifier(name: str, tmp_path: Path) -> None:
    classifier = MobileNetV2 if name == "mobilenetv2" else ResNet
    arguments = {"width": 0.25} if name == "mobilenetv2" else {"depth": 18, "width": 0.25}
    published = seeded(classifier, 0, out_channels=5, **arguments).state_dict()
    torch.save(published, tmp_path / "weights.pth")
    network = DeepLabV3Plus(in_channels=1, out_channels=2, encoder=name, encoder_width=0.25, decoder_channels=8)
    load_imagenet_weights(network.encoder, tmp_path / "weights.pth")
    loaded = network.encoder.state_dict()
    first, *others = loaded
    torch.testing.assert_close(loaded[first], published[first].sum(dim=1, keepdim=True))
    torch.testing.assert_close({k: loaded[k] for k in others}, {k: published[k] for k in others})


def test_older_files_without_the_number_of_batches_are_taken(tmp_path: Path) -> None:
    published = seeded(ResNet, 0, depth=18, out_channels=5, width=1 / 8).state_dict()
    torch.save({k: v for k, v in published.items() if "num_batches" not in k}, tmp_path / "weights.pth")
    fitted = seeded(ResNet, 1, depth=18, out_channels=5, width=1 / 8)
    load_imagenet_weights(fitted, tmp_path / "weights.pth")
    torch.testing.assert_close(fitted.state_dict()["layer4.1.bn2.running_var"], published["layer4.1.bn2.running_var"])


@pytest.mark.parametrize(
    "other",
    [
        {"depth": 34},  # has all of 18's weights, in 18's shapes, and more
        {"depth": 18, "width": 0.25},
        {"depth": 18, "spatial_dims": 3},
    ],
)
def test_weights_of_another_network_are_refused(other: dict[str, Any], tmp_path: Path) -> None:
    fitted = seeded(ResNet, 1, depth=18, out_channels=5, width=1 / 8)
    before = {k: v.clone() for k, v in fitted.state_dict().items()}
    torch.save(ResNet(**{"out_channels": 5, "width": 1 / 8, **other}).state_dict(), tmp_path / "weights.pth")
    with pytest.raises(InputError, match=r"weights\.pth: weights of another network: .*expected .*got"):
        load_imagenet_weights(fitted, tmp_path / "weights.pth")
    torch.testing.assert_close(dict(fitted.state_dict()), before)


def test_a_file_that_runs_code_is_not_loaded(tmp_path: Path) -> None:
    torch.save(seeded(ResNet, 1, depth=18, out_channels=5, width=1 / 8), tmp_path / "weights.pth")
    with pytest.raises(Exception, match="weights_only"):
        load_imagenet_weights(ResNet(depth=18, out_channels=5, width=1 / 8), tmp_path / "weights.pth")


def test_a_frozen_backbone_keeps_weights_and_statistics() -> None:
    network = seeded(MobileNetV2, 0, in_channels=1, out_channels=2, width=0.25)
    network.freeze_backbone()
    network.train()
    before = {k: v.clone() for k, v in network.state_dict().items()}
    optimizer = torch.optim.SGD(network.parameters(), lr=1.0, weight_decay=0.1)
    network(torch.randn(4, 1, 40, 40)).square().mean().backward()
    optimizer.step()
    changed = {k for k, v in network.state_dict().items() if not torch.equal(v, before[k])}
    assert changed == {"classifier.1.weight", "classifier.1.bias"}
    assert network.classifier.training
    assert not network.features.training


def test_a_backbone_that_is_not_frozen_trains() -> None:
    network = MobileNetV2(in_channels=1, out_channels=2, width=0.25).train()
    before = network.features[0][1].running_mean.clone()
    network(torch.randn(4, 1, 40, 40))
    assert not torch.equal(network.features[0][1].running_mean, before)


def test_a_training_starts_from_the_backbone_of_a_file(tmp_path: Path) -> None:
    published = seeded(ResNet, 1, depth=18, width=1 / 8, in_channels=3, out_channels=1000)
    torch.save(published.state_dict(), tmp_path / "published.pth")
    network = DeepLabV3Plus(in_channels=3, out_channels=2, encoder="resnet18", encoder_width=1 / 8)
    prepare_backbone(network)
    assert not torch.equal(network.encoder.conv1.weight, published.conv1.weight)
    prepare_backbone(network, imagenet_weights=tmp_path / "published.pth")
    assert torch.equal(network.encoder.conv1.weight, published.conv1.weight)
    assert torch.equal(network.encoder.layer4[1].bn2.running_var, published.layer4[1].bn2.running_var)


def test_a_network_without_a_backbone_or_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="UNet: has no ImageNet backbone"):
        prepare_backbone(UNet(out_channels=2), imagenet_weights=tmp_path / "published.pth")
    with pytest.raises(InputError, match=r"missing\.pth: no such file"):
        prepare_backbone(MobileNetV2(out_channels=2, width=0.25), imagenet_weights=tmp_path / "missing.pth")
    with pytest.raises(InputError, match="UNet: has no backbone to freeze"):
        prepare_backbone(UNet(out_channels=2), freeze=True)
