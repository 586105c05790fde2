"""Label maps with the numbers that tell how good they may be."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.inferers import Inferer

from pipeline.errors import InputError
from pipeline.inferers.deciding import HighestLogit
from pipeline.inferers.disagreement import DISAGREEMENT, DisagreementInferer
from pipeline.inferers.image_statistics import IMAGE_STATISTICS, image_statistics
from pipeline.inferers.label_shape import SHAPE, label_shape
from pipeline.inferers.streaming import StreamingInferer
from pipeline.inferers.unwrap import rewrapped, unwrap

__all__ = ["IMAGE_FEATURES", "LABEL_FEATURES", "QualityInferer"]

LABEL_FEATURES = (*DISAGREEMENT, *SHAPE)
IMAGE_FEATURES = IMAGE_STATISTICS


class QualityInferer(Inferer):  # type: ignore[misc]
    """Give the label maps of another inferer, and note in their metadata what tells how good they may be.

    ``quality_labels``: shape (K, len(LABEL_FEATURES)), for each label but background; ``quality_image``: shape
    (len(IMAGE_FEATURES),). It takes one pass of the network more per window, the logits of a window twice more and
    nothing of the size of classes x volume.

    Args:
        inferer: a :class:`pipeline.inferers.StreamingInferer`, or one around it, that decides by ``argmax``.

    Raises:
        InputError: there is no such inferer in it.
    """

    def __init__(self, inferer: Inferer) -> None:
        super().__init__()
        streaming = unwrap(inferer, StreamingInferer)
        if streaming is None or not isinstance(streaming.decision, HighestLogit):
            got = type(inferer).__name__ if streaming is None else type(streaming.decision).__name__
            raise InputError("quality cannot be predicted", expected="StreamingInferer with the rule argmax", got=got)
        self.values = streaming.decision.values[1:]
        self._noting = DisagreementInferer(streaming.inferer, channels=streaming.out_channels)
        self.inferer = rewrapped(inferer, StreamingInferer, partial(StreamingInferer.calling, inferer=self._noting))

    def __call__(self, inputs: torch.Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any) -> MetaTensor:
        """Label an image; see :class:`pipeline.inferers.StreamingInferer`.

        Raises:
            InputError: the batch has more than one image, or what that inferer raises.
        """
        if len(inputs) != 1:
            cure = "Set the batch size to 1"
            raise InputError("quality is predicted for one image at a time", got=len(inputs), cure=cure)
        sums = self._noting.begin()
        labels: MetaTensor = self.inferer(inputs, network, *args, **kwargs)
        affine = np.asarray(labels.affine)  # of a collated batch with one more axis
        shape = label_shape(labels[0, 0].as_tensor(), affine.reshape(-1, *affine.shape[-2:])[0], values=self.values)
        image = image_statistics(inputs[0].as_tensor() if isinstance(inputs, MetaTensor) else inputs[0])
        batched = (None,) if labels.is_batch else ()
        labels.meta["quality_labels"] = torch.cat([sums.features(), torch.as_tensor(shape)], dim=1)[batched]
        labels.meta["quality_image"] = torch.tensor([image[name] for name in IMAGE_FEATURES]).double()[batched]
        return labels
