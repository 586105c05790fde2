from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from monai.data import MetaTensor
from monai.inferers import Inferer, SimpleInferer, SlidingWindowInferer

from pipeline.inferers import AutocastInferer, MirroredInferer, bf16_is_fast

CPU = torch.device("cpu")


def _network(dimensions: int = 3) -> torch.nn.Module:
    torch.manual_seed(0)
    convolution = torch.nn.Conv3d if dimensions == 3 else torch.nn.Conv2d
    return torch.nn.Sequential(convolution(1, 4, 3, padding=1), torch.nn.ReLU(), convolution(4, 2, 3, padding=1)).eval()


def _image(dimensions: int = 3) -> MetaTensor:
    torch.manual_seed(1)
    affine = torch.diag(torch.tensor([2.0, 2.0, 3.0, 1.0]))
    return MetaTensor(torch.randn(1, 1, *(14, 11, 9)[:dimensions]), affine=affine)


def _windows() -> SlidingWindowInferer:
    return SlidingWindowInferer(roi_size=(8, 8, 8), sw_batch_size=2, overlap=0.5, mode="gaussian")


INNER = [SimpleInferer(), _windows()]
NAMES = ["whole", "windows"]


@pytest.mark.parametrize("inner", INNER, ids=NAMES)
@torch.no_grad()
def test_autocast_that_is_disabled_changes_nothing(inner: Inferer) -> None:
    network, image = _network(), _image()
    result = AutocastInferer(inner, enabled=False)(image, network)
    torch.testing.assert_close(result, inner(image, network), rtol=0, atol=0)


@pytest.mark.parametrize("inner", INNER, ids=NAMES)
@torch.no_grad()
def test_autocast_gives_float32_close_to_the_exact_result(inner: Inferer) -> None:
    network, image = _network(), _image()
    expected = inner(image, network)
    result = AutocastInferer(inner, enabled=True)(image, network)
    assert result.dtype == torch.float32
    assert not torch.equal(torch.as_tensor(result), torch.as_tensor(expected))
    # bfloat16 rounds to 8 bits: 2 ** -9 of each of the weights, inputs and outputs of two layers. Errors that all add
    # up would make 6 of them, relative to the largest sum of absolute products, which is below 4 times the maximum.
    torch.testing.assert_close(result, expected, rtol=0, atol=24 * 2**-9 * float(expected.abs().max()))


@torch.no_grad()
def test_autocast_runs_only_the_network_in_bfloat16() -> None:
    seen = []

    def network(batch: torch.Tensor, scale: float = 1.0) -> torch.Tensor:
        seen.append(torch.is_autocast_enabled("cpu"))
        return torch.nn.functional.conv3d(batch, torch.full((1, 1, 1, 1, 1), scale))

    class Outside(SimpleInferer):
        def __call__(self, inputs: torch.Tensor, network: Any, *args: Any, **kwargs: Any) -> Any:
            seen.append(torch.is_autocast_enabled("cpu"))
            return super().__call__(inputs, network, *args, **kwargs)

    image = torch.ones(1, 1, 2, 2, 2)
    assert AutocastInferer(Outside(), enabled=True)(image, network, scale=3.0).unique().tolist() == [3.0]
    assert seen == [False, True]
    assert not torch.is_autocast_enabled("cpu")


def test_autocast_left_to_itself_asks_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    for fast in (True, False):
        monkeypatch.setattr("pipeline.inferers.autocast.bf16_is_fast", lambda device, fast=fast: fast)
        seen: list[bool] = []

        def network(batch: torch.Tensor, seen: list[bool] = seen) -> torch.Tensor:
            seen.append(torch.is_autocast_enabled("cpu"))
            return batch

        AutocastInferer(SimpleInferer())(torch.ones(1, 1, 2, 2), network)
        assert seen == [fast]


def test_native_bfloat16_agrees_with_the_processor_flags() -> None:
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:  # noqa: PTH123 - has no size
            flags = set(next(line for line in file if line.startswith("flags")).split())
    except (OSError, StopIteration):
        pytest.skip("the processor's flags are not to be had here")
    if bf16_is_fast(CPU):
        assert flags & {"avx512_bf16", "amx_tile"}
    assert not bf16_is_fast(torch.device("meta"))


@pytest.mark.parametrize("inner", INNER, ids=NAMES)
@pytest.mark.parametrize("axes", [(), (0,), (1, 2), (0, 1, 2)])
@torch.no_grad()
def test_mirroring_averages_over_all_flips(inner: Inferer, axes: tuple[int, ...]) -> None:
    network, image = _network(), _image()
    result = MirroredInferer(inner, axes=axes)(image, network)
    outputs = []
    for chosen in itertools.product([False, True], repeat=len(axes)):
        dims = [axis + 2 for axis, flip in zip(axes, chosen, strict=True) if flip]
        outputs.append(torch.flip(inner(torch.flip(image.as_tensor(), dims), network), dims))
    assert len(outputs) == 2 ** len(axes)
    # The order of up to eight additions: a few float32 roundings of values around 1.
    torch.testing.assert_close(torch.as_tensor(result), torch.stack(outputs).mean(0), rtol=0, atol=1e-6)
    assert not axes or not torch.allclose(torch.as_tensor(result), outputs[0], atol=1e-3)


@pytest.mark.parametrize("dimensions", [2, 3])
@torch.no_grad()
def test_mirroring_is_exact_for_a_network_that_does_not_mind_flips(dimensions: int) -> None:
    axes = tuple(range(dimensions))

    def network(batch: torch.Tensor) -> torch.Tensor:
        return torch.cat([batch * 2, torch.relu(batch)], dim=1)

    image = torch.round(_image(dimensions) * 100)
    # Sums of up to eight small whole numbers are exact in float32.
    result = MirroredInferer(SimpleInferer(), axes=axes)(image, network)
    torch.testing.assert_close(torch.as_tensor(result), network(image.as_tensor()), rtol=0, atol=0)


@torch.no_grad()
def test_both_together_keep_the_grid_and_the_input() -> None:
    image = _image()
    before = image.clone()
    result = MirroredInferer(AutocastInferer(_windows(), enabled=True), axes=[0, 2])(image, _network())
    assert isinstance(result, MetaTensor)
    assert result.shape == (1, 2, *image.shape[2:])
    torch.testing.assert_close(result.affine, before.affine, rtol=0, atol=0)
    torch.testing.assert_close(image.as_tensor(), before.as_tensor(), rtol=0, atol=0)
