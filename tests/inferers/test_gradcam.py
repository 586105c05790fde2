from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from pipeline.errors import InputError
from pipeline.inferers.gradcam import ClassMaps, map_layers
from pipeline.networks import ConvNet, MobileNetV2, ResNet


class _Corners(nn.Module):
    """Class 0 sees how bright the last corner is, class 1 how dark the first one is, and nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, kernel_size=1, bias=False)
        self.conv.weight.data[:, 0, 0, 0] = torch.tensor([1.0, -1.0])
        self.relu = nn.ReLU(inplace=True)
        self.pool = nn.AvgPool2d(2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        maps = self.pool(self.relu(self.conv(x)))
        return torch.stack([maps[:, 0, -2:, -2:].sum((1, 2)), maps[:, 1, :2, :2].sum((1, 2))], dim=1)


@pytest.mark.parametrize("layer", [None, "conv", "relu", "pool"])
def test_the_map_peaks_in_the_only_corner_that_counts(layer: str | None) -> None:
    image = torch.zeros(1, 16, 24)
    image[:, -3:, -3:] = 1.0
    image[:, :3, :3] = -1.0
    maps = ClassMaps(_Corners(), layer=layer)
    for number, corner in enumerate([(slice(12, None), slice(20, None)), (slice(4), slice(4))]):
        found = maps(image, number)
        assert found.shape == (1, 16, 24)
        assert found.max() == 1
        outside = found[0].clone()
        outside[corner] = 0
        assert found[0][corner].max() == 1
        assert outside.max() < 0.2
    torch.testing.assert_close(maps.logits(image), _Corners()(image[None])[0])


def test_the_map_is_the_formula_of_the_paper() -> None:
    """Behind a mean over the map, the gradient of logit k by channel c is W[k, c] / pixels everywhere."""
    torch.manual_seed(0)
    features = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(inplace=True), nn.Conv2d(4, 6, 3, stride=2), nn.ReLU(True))
    network = nn.Sequential(features, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3))
    image = torch.randn(1, 17, 21)
    maps = ClassMaps(network)
    with torch.no_grad():
        activations = features(image[None])[0]
        weights = network[3].weight
    for number in range(3):
        weighted = sum(weights[number, channel] * activations[channel] for channel in range(6)).clamp(min=0)
        expected = functional.interpolate(weighted[None, None], size=(17, 21), mode="bilinear")[0]
        found = maps(image, number)
        assert expected.max() > 0
        torch.testing.assert_close(found, expected / expected.max(), rtol=1e-4, atol=1e-5)
    assert maps.layer == "0.3"


def test_the_network_is_left_as_it_was() -> None:
    network = ConvNet(out_channels=3).train()
    network.requires_grad_(requires_grad=False)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    ClassMaps(network)(torch.rand(1, 32, 32), 1)
    assert network.training
    assert all(module.inplace for module in network.modules() if isinstance(module, nn.ReLU))
    assert not any(module._forward_hooks or module._backward_hooks for module in network.modules())
    assert all(value.grad is None and not value.requires_grad for value in network.parameters())
    for name, value in network.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


@pytest.mark.parametrize(
    ("network", "layer", "size"),
    [
        (ConvNet(out_channels=2), "features.4", (32, 32)),
        (MobileNetV2(in_channels=1, out_channels=2, width=0.35), "features.18.2", (64, 64)),
        (ResNet(in_channels=1, out_channels=2, depth=18), "layer4.1", (64, 64)),
    ],
)
def test_the_last_map_before_the_pooling_is_taken(network: nn.Module, layer: str, size: tuple[int, int]) -> None:
    maps = ClassMaps(network)
    found = maps(torch.rand(1, *size), 0)
    assert maps.layer == layer
    assert found.shape == (1, *size)
    assert torch.isfinite(found).all()


def test_a_map_of_one_pixel_is_passed_over() -> None:
    network = MobileNetV2(in_channels=1, out_channels=2, width=0.35).eval()
    names = map_layers(network, torch.rand(1, 1, 32, 32))
    shapes = {}
    for name in names:
        module = network.get_submodule(name)
        module.register_forward_hook(lambda _m, _i, output, name=name: shapes.update({name: output.shape}))
    network(torch.rand(1, 1, 32, 32))
    assert shapes[names[-1]][2:] == (2, 2)
    assert not any(name.startswith("features.18") for name in names)


def test_layers_that_give_no_single_map_are_refused() -> None:
    image = torch.rand(1, 64, 64)
    network = ResNet(in_channels=1, out_channels=2, depth=18)
    with pytest.raises(InputError, match=r"layer4.1.relu: the layer gives no map .*Take another, such as layer4.1"):
        ClassMaps(network, layer="layer4.1.relu")(image, 0)  # used twice
    with pytest.raises(InputError, match=r"laier4: the network has no such layer\. Did you mean layer4\?"):
        ClassMaps(network, layer="laier4")
    with pytest.raises(InputError, match="no layer of the network gives a map"):
        ClassMaps(nn.Sequential(nn.Flatten(), nn.Linear(64, 2)))(torch.rand(1, 8, 8), 0)


def test_where_nothing_speaks_for_a_class_the_map_is_zero() -> None:
    assert ClassMaps(_Corners())(torch.zeros(1, 8, 8), 0).tolist() == torch.zeros(1, 8, 8).tolist()
