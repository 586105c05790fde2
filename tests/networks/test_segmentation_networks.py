"""What is particular to each of the networks for segmentation."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from pipeline.networks import FCN, DeepLabV3Plus, MobileNetV2, ResNet, SegNet, UNet
from pipeline.networks.blocks import rounded_channels
from pipeline.networks.deeplabv3plus import ENCODERS, AtrousSeparableConv, ImagePooling


def small_deeplab(encoder: str, **arguments: Any) -> DeepLabV3Plus:
    torch.manual_seed(0)
    defaults = {"in_channels": 1, "out_channels": 2, "encoder_width": 1 / 8, "decoder_channels": 8}
    return DeepLabV3Plus(encoder=encoder, **{**defaults, **arguments}).eval()


@pytest.mark.parametrize("side", [48, 51])
def test_segnet_puts_each_maximum_back_where_it_was(side: int) -> None:
    torch.manual_seed(0)
    network = SegNet(in_channels=1, out_channels=2, width=1 / 8).eval()
    seen: dict[str, torch.Tensor] = {}
    pools = [i for i, layer in enumerate(network.features) if isinstance(layer, nn.MaxPool2d)]
    for stage, pool in enumerate(pools):
        network.features[pool].register_forward_pre_hook(
            lambda _, args, stage=stage: seen.__setitem__(f"before {stage}", args[0].clone())
        )
        network.decoder[4 - stage].register_forward_pre_hook(
            lambda _, args, stage=stage: seen.__setitem__(f"unpooled {stage}", args[0].clone())
        )
    with torch.no_grad():
        network(torch.randn(1, 1, side, side))
    for stage in range(5):
        before, unpooled = seen[f"before {stage}"][0], seen[f"unpooled {stage}"][0]
        assert unpooled.shape == before.shape
        filled = 0
        for channel in range(len(before)):
            for x in range(0, before.shape[1], 2):
                for y in range(0, before.shape[2], 2):
                    values = unpooled[channel, x : x + 2, y : y + 2].flatten()
                    others = torch.ones_like(values, dtype=torch.bool)
                    others[before[channel, x : x + 2, y : y + 2].flatten().argmax()] = False
                    assert not values[others].any()
                    filled += int(values.any())
        assert filled > 0


@pytest.mark.parametrize(("stride", "expected"), [(32, 1.0), (16, 2.0), (8, 3.0)])
def test_fcn_sums_the_scores_of_its_skips(stride: int, expected: float) -> None:
    network = FCN(in_channels=1, out_channels=2, stride=stride, width=1 / 16).eval()
    for score in (network.score, *network.skip_scores):
        nn.init.ones_(score.bias)
    with torch.no_grad():
        centre = network(torch.randn(1, 1, 160, 160))[:, :, 64:96, 64:96]
    torch.testing.assert_close(centre, torch.full_like(centre, expected))


def test_fcn_starts_from_bilinear_upsampling() -> None:
    x = torch.randn(1, 3, 6, 7)
    with torch.no_grad():
        up = FCN(out_channels=3, width=1 / 16).up[0](x)
    expected = functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
    torch.testing.assert_close(up[:, :, 1:-1, 1:-1], expected[:, :, 1:-1, 1:-1])


@pytest.mark.parametrize(("grid", "padded"), [((32, 48), (32, 48)), ((33, 47), (48, 48)), ((1, 16), (16, 16))])
def test_unet_pads_by_the_last_row_and_crops(grid: tuple[int, int], padded: tuple[int, int]) -> None:
    torch.manual_seed(0)
    network = UNet(out_channels=2).eval()
    x = torch.randn(1, 1, *grid)
    rows, columns = (torch.arange(to).clamp(max=n - 1) for n, to in zip(grid, padded, strict=True))
    with torch.no_grad():
        expected = network(x[:, :, rows][:, :, :, columns])[:, :, : grid[0], : grid[1]]
        torch.testing.assert_close(network(x), expected)


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("output_stride", [8, 16])
@pytest.mark.parametrize("grid", [(64, 96), (33, 50)])
def test_the_output_stride_is_kept(encoder: str, output_stride: int, grid: tuple[int, int]) -> None:
    network = small_deeplab(encoder, output_stride=output_stride).encoder
    with torch.no_grad():
        low, high = network.low_and_high_level(torch.randn(1, 1, *grid))
    assert low.shape == (1, network.low_level_channels, *(math.ceil(n / 4) for n in grid))
    assert high.shape == (1, network.high_level_channels, *(math.ceil(n / output_stride) for n in grid))


@pytest.mark.parametrize("output_stride", [8, 16])
@pytest.mark.parametrize(
    ("network", "arguments"), [(MobileNetV2, {"width": 0.25}), (ResNet, {"depth": 18}), (ResNet, {"depth": 50})]
)
def test_atrous_features_are_the_strided_ones_and_those_between(
    network: type[nn.Module], arguments: dict[str, Any], output_stride: int
) -> None:
    torch.manual_seed(0)
    arguments = {"in_channels": 1, "out_channels": None, "width": 1 / 8, **arguments}
    strided, atrous = network(**arguments).eval(), network(output_stride=output_stride, **arguments).eval()
    atrous.load_state_dict(strided.state_dict())
    step = 32 // output_stride
    x = torch.randn(1, 1, 100, 77)
    with torch.no_grad():
        torch.testing.assert_close(atrous(x)[:, :, ::step, ::step], strided(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("output_stride", "rates"), [(16, (6, 12, 18)), (8, (12, 24, 36))])
def test_the_rates_are_the_papers(output_stride: int, rates: tuple[int, ...]) -> None:
    branches = small_deeplab("resnet18", output_stride=output_stride).aspp.branches
    atrous = [branch for branch in branches if isinstance(branch, AtrousSeparableConv)]
    assert tuple(branch.rate for branch in atrous) == rates
    for branch in atrous:
        x = torch.randn(1, branch.depthwise.in_channels, 40, 37)  # larger than every rate
        assert branch.dilation(x.shape[2:]) == [branch.rate] * 2
        with torch.no_grad():
            expected = branch.pointwise(branch.relu(branch.norm(branch.depthwise(x))))
            torch.testing.assert_close(branch(x), expected)


@pytest.mark.parametrize("rate", [1, 6, 18, 36])
@pytest.mark.parametrize("grid", [(1, 1), (2, 3), (7, 19), (4, 4, 4), (1, 40, 6)])
def test_no_dilation_exceeds_the_feature_map(rate: int, grid: tuple[int, ...]) -> None:
    block = AtrousSeparableConv(len(grid), 2, 3, rate=rate).eval()
    for parameter in block.parameters():
        nn.init.ones_(parameter)  # so that no rectifier is shut
    x = torch.rand(1, 2, *grid)
    for dilation, length in zip(block.dilation(x.shape[2:]), grid, strict=True):
        assert 1 <= dilation <= max(1, min(rate, length - 1))
    block(x).square().sum().backward()
    outer = block.depthwise.weight.grad[:, 0]
    for axis, length in enumerate(grid, start=1):
        assert outer.select(axis, 0).any() == outer.select(axis, 2).any() == (length > 1)


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_image_pooling_takes_no_statistics_of_one_value(spatial_dims: int) -> None:
    torch.manual_seed(0)
    pooling = ImagePooling(spatial_dims, 4, 5).train()
    one, two = (torch.randn(batch, 4, *[3] * spatial_dims) for batch in (1, 2))
    out = pooling(one)
    assert out.shape == (1, 5, *[3] * spatial_dims)
    torch.testing.assert_close(pooling.norm.running_mean, torch.zeros(5))
    torch.testing.assert_close(pooling.eval()(one), out)
    pooling.train()(two)
    assert pooling.norm.running_mean.any()


def test_the_depthwise_convolutions_see_one_channel_each() -> None:
    network = small_deeplab("resnet18")
    atrous = [module for module in network.modules() if isinstance(module, AtrousSeparableConv)]
    assert len(atrous) == 5  # three of the pyramid, two of the decoder
    assert all(module.depthwise.groups == module.depthwise.in_channels for module in atrous)
    assert network.low_level[0].out_channels == 48


def test_channels_are_rounded_as_the_mobile_networks_do() -> None:
    # M. Sandler et al. 2018, the first convolution (32) and the rows of table 2 at width 0.35 and 1.4 as published
    assert [rounded_channels(c * 0.35) for c in (32, 16, 24, 32, 64, 96, 160, 320)] == [16, 8, 8, 16, 24, 32, 56, 112]
    assert [rounded_channels(c * 1.4) for c in (32, 16, 24, 32, 64, 96, 160, 320)] == [
        48,
        24,
        32,
        48,
        88,
        136,
        224,
        448,
    ]
