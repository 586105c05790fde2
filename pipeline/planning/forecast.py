"""What a case will take, told before it is loaded, and the settings that keep to a limit of memory."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from monai.inferers import Inferer
from monai.transforms import Compose

from pipeline.errors import InputError, one_line
from pipeline.inferers import StreamingInferer
from pipeline.inferers.image_settings import ImageSettings
from pipeline.inferers.sweep import Demand, demand, sweeps
from pipeline.inferers.unwrap import unwrap
from pipeline.inferers.windows import Windows
from pipeline.patches.freed_memory import return_freed_memory
from pipeline.planning.grids import GridChange, grid_change, keeps_types
from pipeline.planning.resident import TensorPeak, resident_bytes
from pipeline.sources import Options, open_image
from pipeline.transforms import CheckImaged

__all__ = ["Forecast", "MemoryLimit", "Probe", "forecast"]

logger = logging.getLogger(__name__)

_GB = 1e9
_FLOAT = 4
# While its intensities are changed there are so many images on the network's grid: MONAI's ScaleIntensityRange holds
# the old one, two steps on the way, and the new one.
_NORMALISED = 4 * _FLOAT
_BLOCK_BYTES = 64e6  # what is interpolated and decided on at a time, see pipeline.inferers.sweep


@dataclass(frozen=True, kw_only=True)
class Probe:
    """What the network took for one window, and the process before it.

    Attributes:
        window_bytes: beside the logits and labels that the inferer keeps.
        window_seconds: wall clock.
        base_bytes: the resident memory of the process.
    """

    window_bytes: float
    window_seconds: float
    base_bytes: float

    @classmethod
    def of(cls, inferer: Inferer, network: torch.nn.Module, *, channels: int, device: torch.device) -> Probe:
        """Run noise of one window's size through an inferer: once for the memory, once for the time.

        Args:
            inferer: a :class:`pipeline.inferers.StreamingInferer`, or one around it.
            network: with its weights.
            channels: of the image.
            device: of the network.
        """
        streaming = streaming_inferer(inferer)
        roi_size = [int(n) for n in streaming.layout["roi_size"]]
        noise = torch.rand(1, channels, *roi_size, generator=torch.Generator().manual_seed(0)).to(device)
        no_files = ImageSettings(
            sw_batch_size=streaming.sw_batch_size, max_slab_mb=streaming.max_slab_mb, keeps_probabilities=False
        )
        noise = no_files.noted(noise)
        training = network.training
        network.eval()
        try:
            base, before = resident_bytes()
            with TensorPeak() as tensors:
                inferer(noise, network)
            _, after = resident_bytes()
            began = time.perf_counter()
            inferer(noise, network)
            seconds = time.perf_counter() - began
            settled, _ = resident_bytes()  # threads and compiled kernels stay
        finally:
            network.train(training)
        # The high-water mark also knows the workspace of oneDNN, but only if it was reached just now.
        grown = max(tensors.peak if device.type == "cpu" else 0, after - base if after > before else 0)
        kept = math.prod(roi_size) * ((streaming.out_channels + 1) * _FLOAT + 1)
        return cls(window_bytes=max(grown - kept, 0), window_seconds=seconds, base_bytes=max(base, settled))


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What a case will take, and the settings that this holds for.

    Attributes:
        peak_gb: the largest resident memory of the process, in units of 10 ** 9 bytes.
        seconds: of the network; reading and writing come on top.
        windows: that it will see.
        window_batch: how many at a time.
        slab_mb: what the logits may take, in units of 10 ** 6 bytes.
    """

    peak_gb: float
    seconds: float
    windows: int
    window_batch: int
    slab_mb: float

    def __str__(self) -> str:
        minutes, seconds = divmod(round(self.seconds), 60)
        return (
            f"about {self.peak_gb:.1f} GB and {minutes}:{seconds:02d} minutes, with {self.windows} windows, "
            f"{self.window_batch} at a time, and up to {self.slab_mb:.0f} MB of logits"
        )


def forecast(
    change: GridChange, inferer: StreamingInferer, probe: Probe, *, max_memory_gb: float | None = None
) -> Forecast:
    """Tell what a case takes with the largest settings, up to the inferer's own, that keep to a limit.

    The peak is that of loading and preprocessing or that of the windows, whichever is more. Fewer windows at a time
    cost little; a smaller slab has more windows to compute, and is the second resort.

    Args:
        change: from the case's grid to the network's.
        inferer: its window batch and slab are the largest that are tried.
        probe: of the network.
        max_memory_gb: the most that the process may take; without it the inferer's own settings are forecast.

    Raises:
        InputError: no settings keep to the limit; says what would.
    """
    most = inferer.max_slab_mb * 1e6
    limit = math.inf if max_memory_gb is None else max_memory_gb * _GB
    loading = probe.base_bytes + _loading_bytes(change)
    held = probe.base_bytes + _held_bytes(change)
    windows = Windows.of(change.network_size, **inferer.layout)
    fitting = list[Forecast]()
    for batch in _batches(inferer.sw_batch_size) if loading <= limit else []:
        computing = held + batch * probe.window_bytes
        # One share more than there are channels is that of the sums of the weights.
        slab_bytes = min(most, (limit - computing) * inferer.out_channels / (inferer.out_channels + 1))
        need = _walked(windows, change, inferer.out_channels, slab_bytes)
        peak = max(loading, computing + need.slab_bytes)
        if peak <= limit:
            told = Forecast(
                peak_gb=peak / _GB,
                seconds=need.windows * probe.window_seconds,
                windows=need.windows,
                window_batch=batch,
                slab_mb=slab_bytes / 1e6,
            )
            fitting.append(told)
            if slab_bytes >= most:
                break  # with fewer windows at a time there are as many
    if fitting:
        return min(fitting, key=lambda one: one.windows)  # the first of equal ones has the largest batch
    smallest = _walked(windows, change, inferer.out_channels, 0).slab_bytes
    least = max(loading, held + probe.window_bytes + smallest) / _GB
    raise InputError(
        f"needs at least {math.ceil(10 * least) / 10:.1f} GB of memory",
        where=f"a case of {' x '.join(map(str, change.size))} voxels",
        got=f"{max_memory_gb:g} GB",
        cure="Allow more, or crop the image",
    )


def _walked(windows: Windows, change: GridChange, channels: int, slab_bytes: float) -> Demand:
    return demand(sweeps(windows, change.back.grid, channels=channels, max_bytes=slab_bytes), channels=channels)


class MemoryLimit:
    """A preprocessing that forecasts each case from its header first, and gives it settings that keep to a limit.

    The forecast is one line of the log. The network is probed at the first case.

    Args:
        transform: loads and preprocesses a case.
        inferer: with a :class:`pipeline.inferers.StreamingInferer` in it, whose window batch and slab are the most.
        network: with its weights or not: they do not change what it takes.
        device: of the network.
        max_memory_gb: the most that the process may take, in units of 10 ** 9 bytes.
        series: the DICOM series to take where there are several.
        untilt: whether the transform brings series of a tilted gantry to an upright grid.

    Raises:
        InputError: a case needs more than the limit, or the inferer cannot keep to one.
    """

    def __init__(
        self,
        *,
        transform: Compose,
        inferer: Inferer,
        network: torch.nn.Module,
        device: torch.device,
        max_memory_gb: float,
        series: str | None = None,
        untilt: bool = False,
    ) -> None:
        if not max_memory_gb > 0:
            raise InputError("is no amount of memory", where="max_memory_gb", expected="more than 0", got=max_memory_gb)
        self.transform = transform
        self.inferer = inferer
        self.network = network
        self.device = torch.device(device)
        self.max_memory_gb = max_memory_gb
        self.series = series
        self.untilt = untilt
        self._streaming = streaming_inferer(inferer)
        self._probe: Probe | None = None

    def __call__(self, case: Mapping[str, Any]) -> Any:
        """Forecast and load the case, and note the settings at its image."""
        change = self._grid_change(case)
        if change is None:
            return self.transform(case)
        told = forecast(change, self._streaming, self._probed(change.channels), max_memory_gb=self.max_memory_gb)
        logger.info("%s: forecast %s", case["name"], told)
        loaded = self.transform(case)
        settings = ImageSettings(sw_batch_size=told.window_batch, max_slab_mb=told.slab_mb)
        return {**loaded, "image": settings.noted(loaded["image"])}

    def _grid_change(self, case: Mapping[str, Any]) -> GridChange | None:
        try:
            image = open_image(case["image"], Options(series=self.series, untilt=self.untilt))
            size = image.size
            if len(self._streaming.layout["roi_size"]) == 2 and size[2:] == (1,):  # noqa: PLR2004 - as CaseReader does
                size = size[:2]
            checks = (step.channels for step in self.transform.transforms if isinstance(step, CheckImaged))
            voxel_bytes = image.voxel_bytes if keeps_types(self.transform) else _FLOAT
            change = grid_change(
                size, image.affine, channels=next(checks, 1), preprocessing=self.transform, voxel_bytes=voxel_bytes
            )
            return replace(change, reading_bytes=image.reading_bytes)
        except Exception as error:  # noqa: BLE001 - the transform says better what is wrong with it
            logger.info("%s: no forecast: %s", case["name"], one_line(error))
            return None

    def _probed(self, channels: int) -> Probe:
        if self._probe is None:
            return_freed_memory()
            self._probe = Probe.of(self.inferer, self.network, channels=channels, device=self.device)
            return self._probe
        return replace(self._probe, base_bytes=min(resident_bytes()[0], self._probe.base_bytes))


def streaming_inferer(inferer: Any) -> StreamingInferer:
    """The streaming inferer in others that are put around it.

    Raises:
        InputError: there is none.
    """
    found = unwrap(inferer, StreamingInferer)
    if found is not None:
        return found
    raise InputError(
        "cannot keep to a limit of memory",
        where=type(inferer).__name__,
        expected="StreamingInferer",
        cure="Build the bundle again with medbundle build",
    )


def _batches(most: int) -> list[int]:
    batches = [most]
    while batches[-1] > 1:
        batches.append(batches[-1] // 2)
    return batches


def _loading_bytes(change: GridChange) -> float:
    voxels, seen = (change.channels * int(np.prod(size)) for size in (change.size, change.network_size))
    image = voxels * change.voxel_bytes
    turned = max(2 * image, image + change.reading_bytes)  # a copy with flipped axes
    resampled = image + seen * _FLOAT if change.resampled else 0
    return max(turned, resampled, 2 * seen * _FLOAT if change.in_place else seen * _NORMALISED)  # a batch is a copy


def _held_bytes(change: GridChange) -> float:
    """Beside slab and windows: the image on the network's grid, and the labels on the input's."""
    image = change.channels * int(np.prod(change.network_size)) * _FLOAT
    return image + int(np.prod(change.size)) + _BLOCK_BYTES
