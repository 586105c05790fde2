"""A torch network compiled by OpenVINO, for processors."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from monai.data import MetaTensor

from pipeline.patches.openvino import core, import_openvino

__all__ = ["OpenVinoNetwork"]

_KEPT_SIZES = 2  # compiled networks: pictures without a common size would else fill the memory


class OpenVinoNetwork:
    """A network of torch with its weights of now, compiled by OpenVINO for the sizes of windows that it meets.

    Windows are computed one at a time, so that batches of any length need one compiled network. What is compiled has
    its own copy of the weights, and goes with this object.

    Args:
        network: in evaluation mode, on a CPU, of one input and one output.
        half: compute in bfloat16, where the processor has it natively; else in float32.
    """

    def __init__(self, network: torch.nn.Module, *, half: bool) -> None:
        self.network = network
        self.half = half
        self._compiled: OrderedDict[tuple[int, ...], Any] = OrderedDict()

    def __call__(self, batch: torch.Tensor) -> torch.Tensor:
        """Apply the network.

        Args:
            batch: shape (B, C, X, Y[, Z]), on a CPU.

        Returns:
            float32, the network's output, with the metadata of the batch where it has any.

        Raises:
            Exception: whatever torch's tracing or OpenVINO raise for a network that they cannot read.
        """
        plain = batch.as_tensor() if isinstance(batch, MetaTensor) else batch
        infer = self._request(plain)
        windows = plain.detach().float().contiguous().numpy()
        # One output; OpenVINO copies it out of its own memory.
        outputs = [torch.from_numpy(infer([windows[index : index + 1]])[0]) for index in range(len(windows))]
        result = torch.cat(outputs) if len(outputs) > 1 else outputs[0]
        return MetaTensor(result).copy_meta_from(batch) if isinstance(batch, MetaTensor) else result

    def _request(self, batch: torch.Tensor) -> Any:
        size = tuple(batch.shape[1:])
        if size not in self._compiled:
            self._compiled[size] = self._compile(batch[:1])
            if len(self._compiled) > _KEPT_SIZES:
                self._compiled.popitem(last=False)
        self._compiled.move_to_end(size)
        return self._compiled[size]

    def _compile(self, window: torch.Tensor) -> Any:
        openvino = import_openvino()
        with ThreadPoolExecutor(1) as thread:  # without the modes of this one, which would be traced as well
            model = thread.submit(self._convert, openvino, window.clone()).result()
        options = {
            "INFERENCE_PRECISION_HINT": "bf16" if self.half else "f32",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "PERFORMANCE_HINT": "LATENCY",
        }
        return core().compile_model(model, "CPU", options).create_infer_request().infer

    def _convert(self, openvino: Any, window: torch.Tensor) -> Any:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of tracing: the size of the window is meant to be constant
            trace: Any = torch.jit.trace
            traced = trace(self.network, window, check_trace=False, strict=False)
            return openvino.convert_model(traced, input=list(window.shape))
