"""How much memory StreamingInferer takes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.data import MetaTensor, list_data_collate
from monai.inferers import SlidingWindowInferer
from monai.transforms import Compose, Orientationd, Spacingd
from torch.utils._python_dispatch import TorchDispatchMode

from pipeline.inferers import StreamingInferer


class _Largest(TorchDispatchMode):
    """The largest tensor that any operation gives, in bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for one in result if isinstance(result, (list, tuple)) else [result]:
            if isinstance(one, torch.Tensor):
                self.bytes = max(self.bytes, one.untyped_storage().nbytes())
        return result


def test_no_tensor_is_much_larger_than_the_slab(monkeypatch: pytest.MonkeyPatch) -> None:
    """48 classes in a volume of 16 windows' length: the slab is a 16th of it."""
    monkeypatch.setattr("pipeline.inferers.sweep._BLOCK", 2**16)
    affine = torch.diag(torch.tensor([-1.0, 1.0, 0.8, 1.0], dtype=torch.float64))
    steps = Compose(
        [
            Orientationd("image", "RAS", labels=[["L", "R"], ["P", "A"], ["I", "S"]]),
            Spacingd("image", (1.2, 1.0, 1.0)),
        ]
    )
    size = (40, 36, 320)
    batch = list_data_collate([steps({"image": MetaTensor(torch.rand(1, *size), affine=affine)})])
    network = torch.nn.Conv3d(1, 48, 1)
    layout = {"roi_size": (24, 24, 16), "overlap": 0.25, "mode": "gaussian"}
    full = 48 * batch["image"].numel() * 4
    with _Largest() as dense, torch.no_grad():
        SlidingWindowInferer(**layout)(batch["image"], network)
    assert dense.bytes >= full
    with _Largest() as streaming:
        StreamingInferer(out_channels=48, **layout)(batch["image"], network)
    assert streaming.bytes <= full / 12
    whole_slab = streaming.bytes
    with _Largest() as tiled:
        StreamingInferer(out_channels=48, max_slab_mb=2.5, **layout)(batch["image"], network)
    assert whole_slab > 2.5e6 >= tiled.bytes


_PROGRAM = """
import json, torch
from pipeline.inferers import StreamingInferer
def peak():
    return next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmHWM"))
network = torch.nn.Conv3d(1, 60, 1)
inferer = StreamingInferer(out_channels=60, roi_size=(32, 32, 32), overlap=0.25, mode="gaussian")
image = torch.rand(1, 1, 160, 160, 160)
inferer(image[..., :40, :40, :40], network)
before = peak()
inferer(image, network)
print(json.dumps(peak() - before))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of a process is read as on Linux")
def test_60_classes_at_160_cubed_stay_far_below_their_logits() -> None:
    logits = 60 * 160**3 * 4
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=True, env=environment)
    grown = json.loads(done.stdout.splitlines()[-1])
    # The slab is 32 of 160 slices, and at most as much again is made of it.
    assert 0.15 * logits <= grown <= 0.4 * logits
