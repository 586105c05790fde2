"""Sliding windows over a volume of any size: labels leave as soon as nothing can change them any more."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from monai.data import MetaTensor, decollate_batch, list_data_collate
from monai.data.utils import to_affine_nd
from monai.inferers import Inferer, SimpleInferer

from pipeline.errors import InputError
from pipeline.inferers.deciding import decision
from pipeline.inferers.image_settings import ImageSettings
from pipeline.inferers.probabilities import ImageMaps, ProbabilityMaps
from pipeline.inferers.shortage import shortage_in_one_line
from pipeline.inferers.slab import Slab
from pipeline.inferers.sweep import Sweep, sweeps
from pipeline.inferers.tally import Tally
from pipeline.inferers.undoing import WayBack, way_back
from pipeline.inferers.windows import Windows

__all__ = ["StreamingInferer"]


class StreamingInferer(Inferer):  # type: ignore[misc]
    """Label maps on the input's own grid, without a tensor of classes x volume.

    The windows, their overlap and their weights are those of MONAI's ``SlidingWindowInferer``; the labels are those of
    ``Invertd(nearest_interp=False)`` of its logits and the argmax after it. But the windows are walked along one axis,
    and only the slab of logits that later windows can change is kept. What is final is interpolated to the input's
    grid, some classes at a time, decided on and forgotten. So the postprocessing has nothing left to do but saving.

    The memory needed beside the input and the label map is that of the slab: channels x the window's length along that
    axis x the volume's other axes x 4 bytes. Where it is more than ``max_slab_mb``, the volume is walked several times,
    in tiles of the other axes; the windows on a tile's edge are then computed for each tile that they reach into.

    The way back is read from the image's ``applied_operations``; see :func:`pipeline.inferers.undoing.way_back`. An
    image without any keeps the network's grid. An image may bring settings of its own in its metadata, such as what a
    limit of memory leaves room for; see :class:`pipeline.inferers.image_settings.ImageSettings`.

    ``AutocastInferer`` may be put around it. ``MirroredInferer`` may not, because labels have no average: give
    ``MirroredInferer(SimpleInferer())`` as ``inferer``, which then averages each window over its flips.

    Args:
        roi_size: of the windows, in voxels; see MONAI's ``SlidingWindowInferer`` for this and the arguments of its
            names.
        out_channels: the number of channels that the network gives.
        sw_batch_size: windows per call of the network.
        overlap: of neighbouring windows, as a fraction of their size.
        mode: ``constant`` or ``gaussian`` weights.
        sigma_scale: standard deviation of the Gaussian as a fraction of the window's size.
        padding_mode: how volumes smaller than the window are padded.
        cval: value of a constant padding.
        sw_device: where windows are computed; by default where the input is.
        device: where the slab is held; by default where the input is.
        inferer: calls the network for a batch of windows; by default MONAI's ``SimpleInferer``.
        rule: ``argmax`` takes the label of the highest logit; ``regions`` the label of the last channel whose sigmoid
            is at least ``threshold``, and 0 where there is none.
        values: the label of each channel, 0 to 255. By default 0, 1, ... for ``argmax`` and 1, 2, ... for ``regions``.
        threshold: of ``regions``.
        skip_below: windows whose highest value in all channels is at or below this are not computed; their logits count
            as certain background (10 and -10). By default none is skipped.
        max_slab_mb: the largest slab, in units of 10 ** 6 bytes, as far as the window itself allows it.
        statistics: whether to note ``label_voxels`` and ``label_confidence`` in the result's metadata: for each value
            from 0 to the highest label how many voxels have it, and the mean softmax (``argmax``) or sigmoid
            (``regions``) probability there, NaN where no voxel has it.
        probabilities: the classes whose probabilities, softmax (``argmax``) or sigmoid (``regions``), are written to
            files; the result's metadata then tells them as ``probability_maps``.

    Raises:
        InputError: arguments that do not fit together.
    """

    def __init__(
        self,
        *,
        roi_size: Sequence[int] | int,
        out_channels: int,
        sw_batch_size: int = 1,
        overlap: Sequence[float] | float = 0.25,
        mode: Literal["constant", "gaussian"] = "constant",
        sigma_scale: Sequence[float] | float = 0.125,
        padding_mode: str = "constant",
        cval: float = 0.0,
        sw_device: torch.device | str | None = None,
        device: torch.device | str | None = None,
        inferer: Inferer | None = None,
        rule: Literal["argmax", "regions"] = "argmax",
        values: Sequence[int] | None = None,
        threshold: float = 0.5,
        skip_below: float | None = None,
        max_slab_mb: float = 2048.0,
        statistics: bool = False,
        probabilities: ProbabilityMaps | None = None,
    ) -> None:
        super().__init__()
        self.layout: dict[str, Any] = {
            "roi_size": roi_size,
            "overlap": overlap,
            "mode": mode,
            "sigma_scale": sigma_scale,
            "padding_mode": padding_mode,
            "cval": cval,
        }
        self.out_channels = out_channels
        self.sw_batch_size = sw_batch_size
        self.sw_device = sw_device
        self.device = device
        self.inferer = SimpleInferer() if inferer is None else inferer
        self.skip_below = skip_below
        self.max_slab_mb = max_slab_mb
        self.statistics = statistics
        self.probabilities = probabilities
        confidence = statistics or (probabilities is not None and bool(probabilities.channels))
        self.decision = decision(rule, channels=out_channels, values=values, threshold=threshold, confidence=confidence)
        if probabilities is not None and len(probabilities.names) != out_channels:
            raise InputError(
                "each channel needs a name", where="probabilities", expected=out_channels, got=len(probabilities.names)
            )

    @torch.no_grad()
    def __call__(self, inputs: torch.Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any) -> MetaTensor:
        """Label images.

        Args:
            inputs: shape (B, C, X, Y[, Z]) on the network's grid.
            network: gives logits (N, out_channels, *roi_size) of windows (N, C, *roi_size).
            args: go to the network.
            kwargs: go to the network.

        Returns:
            labels, uint8, on the CPU, shape (B, 1, X', Y'[, Z']) on the input's grid, with its affine.

        Raises:
            InputError: an axis of length 0, an operation that cannot be undone here, a network whose output has
                another shape than expected or is not finite, or not enough memory or space for the probabilities.
        """
        if inputs.ndim not in (4, 5) or 0 in inputs.shape:
            expected = "a batch of images (B, C, X, Y[, Z]) without an axis of length 0"
            raise InputError("cannot be segmented", where="image", expected=expected, got=tuple(inputs.shape))

        def predict(batch: torch.Tensor) -> torch.Tensor:
            return self._checked(self.inferer(batch, network, *args, **kwargs), batch)

        batched = isinstance(inputs, MetaTensor) and inputs.is_batch
        with shortage_in_one_line(cure="Take smaller values of max_slab_mb and sw_batch_size"):
            images = decollate_batch(inputs) if batched else [_at(inputs, index) for index in range(len(inputs))]
            results = [self._label(image, predict) for image in images]
        if len({tuple(one.shape) for one in results}) > 1:
            raise InputError("the inputs of a batch differ in size", cure="Set the batch size to 1")
        if batched:
            return list_data_collate(results)
        return MetaTensor(torch.stack([one.as_tensor() for one in results]), meta=results[0].meta)

    def calling(self, inferer: Inferer) -> StreamingInferer:
        """The same settings with another inferer that calls the network for a batch of windows."""
        other = copy.copy(self)
        other.inferer = inferer
        return other

    def _label(self, image: torch.Tensor, predict: Callable[[torch.Tensor], torch.Tensor]) -> MetaTensor:
        back = _way_back(image)
        windows = Windows.of(image.shape[1:], **self.layout)
        labels = torch.empty(back.grid.input_size, dtype=torch.uint8)
        # The same voxels with their axes in the network's order.
        oriented = labels.permute([back.grid.axes.index(axis) for axis in range(labels.ndim)])
        tally = Tally() if self.statistics else None
        plain = image.as_tensor() if isinstance(image, MetaTensor) else image
        meta = dict(image.meta) if isinstance(image, MetaTensor) else {}
        own = ImageSettings(sw_batch_size=self.sw_batch_size, max_slab_mb=self.max_slab_mb)
        settings = ImageSettings.taken(meta) or own
        walks = sweeps(windows, back.grid, channels=self.out_channels, max_bytes=settings.max_slab_mb * 1e6)
        windows_at = partial(self._windows, windows, plain, predict, settings.sw_batch_size)
        device = torch.device(self.device or plain.device)
        wanted = self.probabilities if settings.keeps_probabilities else None
        with ImageMaps.made(wanted, back.grid.input_size, back.grid.axes) as maps:
            for sweep in walks:
                self._run(sweep, sweep.slab(self.out_channels, device=device), windows_at, oriented, tally, maps)
        affine = _input_affine(image, meta, back)
        meta |= {} if tally is None else tally.summary(highest=self.decision.highest)
        meta |= maps.told()
        return MetaTensor(labels[None], affine=torch.as_tensor(np.asarray(affine, dtype=float)), meta=meta)

    def _run(  # noqa: PLR0917
        self,
        sweep: Sweep,
        slab: Slab,
        windows_at: Callable[[Sequence[tuple[int, ...]]], Iterator[tuple[tuple[int, ...], torch.Tensor]]],
        labels: torch.Tensor,
        tally: Tally | None,
        maps: ImageMaps,
    ) -> None:
        for step in sweep.steps():
            for start, logits in windows_at(step.starts):
                slab.add(start, logits, sweep.windows.weight)
            slab.finish(step.final)
            for box in step.boxes:
                place = tuple(slice(*ends) for ends in box)
                labels[place] = sweep.decide(slab, box, self.decision).cpu()
                if tally is not None:
                    tally.add(labels[place], self.decision.confidence())
                for channels, seen in sweep.logits(slab, box, list(maps.volumes)) if maps.volumes else ():
                    for channel, logits in zip(channels, seen, strict=True):
                        maps.write(channel, place, self.decision.probability(logits))
            slab.drop(step.kept)

    def _windows(
        self,
        windows: Windows,
        image: torch.Tensor,
        predict: Callable[[torch.Tensor], torch.Tensor],
        at_a_time: int,
        starts: Sequence[tuple[int, ...]],
    ) -> Iterator[tuple[tuple[int, ...], torch.Tensor]]:
        """The windows at ``starts`` with their logits (out_channels, *roi_size)."""
        background = self.decision.background()
        batch: list[tuple[tuple[int, ...], torch.Tensor]] = []
        for number, start in enumerate(starts, start=1):
            part = windows.read(image, start)
            if self.skip_below is not None and float(part.max()) <= self.skip_below:
                yield start, background.view(-1, *[1] * len(windows.size)).expand(-1, *windows.size)
            else:
                batch.append((start, windows.pad(part, start)))
            if batch and (len(batch) == at_a_time or number == len(starts)):
                data = torch.stack([one for _, one in batch]).to(self.sw_device or image.device)
                yield from zip((one for one, _ in batch), predict(data), strict=True)
                batch = []

    def _checked(self, logits: Any, batch: torch.Tensor) -> torch.Tensor:
        expected = (len(batch), self.out_channels, *batch.shape[2:])
        if not isinstance(logits, torch.Tensor) or tuple(logits.shape) != expected:
            got = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
            raise InputError("the network's output has the wrong shape", expected=expected, got=got)
        # The sum is quick and shows every NaN and infinity; only where it is not finite is each logit looked at.
        if not torch.isfinite(logits.sum()) and not torch.isfinite(logits).all():
            raise InputError(
                "the network gives NaN or infinite logits", cure="Check the weights, and the precision of autocast"
            )
        result: torch.Tensor = logits.float()
        return result


def _at(inputs: torch.Tensor, index: int) -> torch.Tensor:
    """One image of tensors that were not collated: their metadata, if any, is that of each image."""
    if not isinstance(inputs, MetaTensor):
        return inputs[index]
    image: torch.Tensor = MetaTensor(
        inputs.as_tensor()[index],
        affine=inputs.affine,
        meta={key: value for key, value in inputs.meta.items() if key != "affine"},
        applied_operations=inputs.applied_operations,
    )
    return image


def _input_affine(image: torch.Tensor, meta: dict[str, Any], back: WayBack) -> Any:
    """The affine of the input's grid; that of the network's grid is taken out of the metadata."""
    meta.pop("affine", None)
    if meta.get("original_affine") is not None:
        return meta["original_affine"]
    rank = len(image.affine) - 1 if isinstance(image, MetaTensor) else image.ndim - 1
    return to_affine_nd(rank, back.affine)


def _way_back(image: torch.Tensor) -> WayBack:
    size = tuple(image.shape[1:])
    if not isinstance(image, MetaTensor):
        return way_back([], affine=np.eye(len(size) + 1), network_size=size)
    back = way_back(image.applied_operations, affine=image.affine, network_size=size)
    noted = image.meta.get("spatial_shape")
    if noted is not None:
        shape = tuple(int(n) for n in np.asarray(noted).ravel())[: len(size)]
        if shape != back.grid.input_size:
            raise InputError(
                "the image's applied operations do not lead back to its file's grid",
                expected=shape,
                got=back.grid.input_size,
                cure="Use invertible transforms only",
            )
    return back
