"""What holds for every network: a new one needs its export and a line in SMALL."""

from __future__ import annotations

from typing import Any

import onnxruntime
import pytest
import torch
from torch import nn

from pipeline import networks

SMALL: dict[str, dict[str, Any]] = {
    "ConvNet": {"features": (4, 8), "hidden": 8},
    "DeepLabV3Plus": {"encoder": "mobilenetv2", "encoder_width": 0.25, "decoder_channels": 16},
    "FCN": {"width": 1 / 16},
    "MobileNetV2": {"width": 0.25},
    "ResNet": {"depth": 18, "width": 1 / 8},
    "SegNet": {"width": 1 / 8},
    "UNet": {"channels": (4, 8, 8)},
}
MORE: list[tuple[str, dict[str, Any]]] = [
    ("DeepLabV3Plus", {"encoder": "resnet18", "encoder_width": 1 / 8, "output_stride": 8}),
    ("DeepLabV3Plus", {"encoder": "resnet50", "encoder_width": 1 / 8, "output_stride": 16}),
    ("FCN", {"stride": 32}),
    ("FCN", {"stride": 16}),
    ("ResNet", {"depth": 50}),
    ("UNet", {"channels": (4, 8), "dropout": 0.5}),
]
CLASSIFIERS = {"ConvNet", "MobileNetV2", "ResNet"}
FLAT = {"FCN", "SegNet"}
NAMES = [name for name in networks.__all__ if isinstance(getattr(networks, name), type)]
VARIANTS = (
    [pytest.param(name, {}, id=name) for name in NAMES]
    + [pytest.param(name, {"spatial_dims": 3}, id=f"{name}-3d") for name in NAMES if name not in FLAT]
    + [pytest.param(name, more, id="-".join([name, *map(str, more.values())])) for name, more in MORE]
)


def small(name: str, **more: Any) -> nn.Module:
    """A small network of two input channels and three classes, with no weight left at zero."""
    torch.manual_seed(0)
    network = getattr(networks, name)(**{"in_channels": 2, "out_channels": 3, **SMALL[name], **more})
    for parameter in network.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.1)
    return network.eval()


def image(more: dict[str, Any], batch: int = 1) -> torch.Tensor:
    grid = (33, 32, 38) if more.get("spatial_dims") == 3 else (70, 65)
    return torch.randn(batch, 2, *grid, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("name", "more"), VARIANTS)
@pytest.mark.parametrize("grid", [(64, 64), (35, 50), (41, 67)])
def test_the_output_lies_on_the_grid_of_the_input(name: str, more: dict[str, Any], grid: tuple[int, ...]) -> None:
    network = small(name, **more)
    grid = (*grid, 33) if more.get("spatial_dims") == 3 else grid
    with torch.no_grad():
        logits = network(torch.randn(2, 2, *grid))
    assert logits.shape == ((2, 3) if name in CLASSIFIERS else (2, 3, *grid))
    assert logits.isfinite().all()
    assert logits.min() < 0 or name == "FCN"  # logits: no softmax or sigmoid


@pytest.mark.parametrize("grid", [(33, 32, 38), (8, 5, 3), (1, 2, 40)])
def test_convnet_averages_as_torch_does(grid: tuple[int, int, int]) -> None:
    network, x = small("ConvNet", spatial_dims=3), torch.randn(2, 2, *grid)
    with torch.no_grad():
        pooled = nn.functional.adaptive_avg_pool3d(network.features(x), 4)
        torch.testing.assert_close(network(x), network.classifier(pooled.flatten(1)))


@pytest.mark.parametrize(("name", "more"), VARIANTS)
def test_gradients_reach_every_parameter(name: str, more: dict[str, Any]) -> None:
    network = small(name, **more)
    logits = network(image(more, batch=2))
    (logits * torch.randn_like(logits)).sum().backward()
    assert [key for key, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize(("name", "more"), VARIANTS)
def test_a_batch_of_one_image_trains(name: str, more: dict[str, Any]) -> None:
    network = small(name, **more).train()
    logits = network(image(more))
    logits.square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    assert all(buffer.isfinite().all() for buffer in network.buffers())


@pytest.mark.parametrize(("name", "more"), VARIANTS)
def test_a_state_dict_brings_back_the_network(name: str, more: dict[str, Any]) -> None:
    first, second = (
        small(name, **more),
        getattr(networks, name)(in_channels=2, out_channels=3, **{**SMALL[name], **more}),
    )
    second.load_state_dict(first.state_dict())
    x = image(more)
    with torch.no_grad():
        torch.testing.assert_close(second.eval()(x), first(x))


@pytest.mark.parametrize(("name", "more"), VARIANTS)
def test_torch_export_gives_the_same_output(name: str, more: dict[str, Any]) -> None:
    network, x = small(name, **more), image(more)
    with torch.no_grad():
        exported = torch.export.export(network, (x,)).module()(x)
        torch.testing.assert_close(exported, network(x), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("name", "more"),
    [*VARIANTS[: len(NAMES)], ("ConvNet", {"spatial_dims": 3}), ("DeepLabV3Plus", {"spatial_dims": 3})],
)
@pytest.mark.filterwarnings("ignore")
def test_onnx_runtime_gives_the_same_output(name: str, more: dict[str, Any]) -> None:
    network, x = small(name, **more), image(more)
    program = torch.onnx.export(network, (x,), dynamo=True, verbose=False)
    assert program is not None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(program.model_proto.SerializeToString(), options, ["CPUExecutionProvider"])
    (logits,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    with torch.no_grad():
        torch.testing.assert_close(torch.from_numpy(logits), network(x), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "wrong",
    [{"spatial_dims": 4}, {"in_channels": 0}, {"out_channels": 0}, {"out_channels": 2.5}, {"in_channels": True}],
)
def test_wrong_arguments_are_refused(name: str, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=rf"{next(iter(wrong))}: expected .*, got {next(iter(wrong.values()))}"):
        small(name, **wrong)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("ConvNet", {"features": (4,)}),
        ("ConvNet", {"dropout": 1.0}),
        ("ConvNet", {"pooled_size": 0}),
        ("DeepLabV3Plus", {"encoder": "xception"}),
        ("DeepLabV3Plus", {"output_stride": 32}),
        ("FCN", {"stride": 4}),
        ("FCN", {"spatial_dims": 3}),
        ("MobileNetV2", {"width": 0}),
        ("MobileNetV2", {"output_stride": 4}),
        ("ResNet", {"depth": 19}),
        ("ResNet", {"output_stride": 64}),
        ("SegNet", {"spatial_dims": 3}),
        ("SegNet", {"width": float("nan")}),
        ("UNet", {"channels": (8,)}),
        ("UNet", {"channels": (8, 0)}),
        ("UNet", {"dropout": -0.1}),
    ],
)
def test_wrong_arguments_of_one_network_are_refused(name: str, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=rf"{next(iter(wrong))}.*: expected .*, got"):
        small(name, **wrong)


@pytest.mark.parametrize("name", NAMES)
def test_arguments_have_names(name: str) -> None:
    with pytest.raises(TypeError, match="positional"):
        getattr(networks, name)(2, 1, 3)
