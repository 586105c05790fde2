"""StreamingInferer where there is no memory, in the words of each allocator."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from pipeline.data import CaseFailures, SurvivingCases
from pipeline.errors import InputError
from pipeline.inferers import AutocastInferer, StreamingInferer

_ADDRESSES = 10**15  # bytes, more than any machine has


def _torch_asks(_: torch.Tensor) -> torch.Tensor:
    return torch.empty(_ADDRESSES)


def _numpy_asks(_: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(np.empty(_ADDRESSES, dtype=np.uint8))


def _cuda_asks(_: torch.Tensor) -> torch.Tensor:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.\nGPU 0 has a total of 15 GiB")


@pytest.mark.parametrize("network", [_torch_asks, _numpy_asks, _cuda_asks])
def test_no_memory_is_said_in_one_line(network: Any) -> None:
    inferer = AutocastInferer(StreamingInferer(roi_size=(4, 4, 4), out_channels=2), enabled=False)
    with pytest.raises(InputError, match=r"^image: not enough memory\. Take smaller values of max_slab_mb") as caught:
        inferer(torch.rand(1, 1, 6, 6, 6), network)
    assert "\n" not in str(caught.value)


def test_other_errors_of_a_network_stay_as_they_are() -> None:
    def network(_: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("Given groups=1, weight of size [4, 2, 3, 3, 3], expected input to have 2 channels")

    with pytest.raises(RuntimeError, match="expected input to have 2 channels"):
        StreamingInferer(roi_size=(4, 4, 4), out_channels=2)(torch.rand(1, 1, 6, 6, 6), network)


@pytest.mark.parametrize("network", [_torch_asks, _numpy_asks, _cuda_asks])
def test_a_case_that_cannot_be_loaded_for_want_of_memory_is_one_line(network: Any) -> None:
    def load(_: Any) -> Any:
        try:
            return network(torch.zeros(1))
        except Exception as error:
            raise RuntimeError("applying transform <object at 0x7f>") from error  # as MONAI's Compose does

    failures = CaseFailures()
    assert not list(SurvivingCases(data=[{"name": "liver_1"}], transform=load, failures=failures))
    assert failures.reasons == {
        "liver_1": "liver_1: not enough memory for the image. Close other programs, or crop the image"
    }
