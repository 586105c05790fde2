"""Write a case while the next one is computed."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from monai.data import MetaTensor
from monai.transforms import Transform

from pipeline.data import CaseThreads

__all__ = ["WriteBehind"]


class WriteBehind(Transform):  # type: ignore[misc]
    """Let a transform that writes files do so in another thread, at the end of a postprocessing.

    What it raises there is recorded under the case's name, see :class:`pipeline.data.CaseThreads`.

    Args:
        transform: writes the case; what it returns is not used.
        case_threads: without it, or where the run has a single case, the transform is called here and now.
        name_key: the entry with the case's name.
        metadata_keys: of what it needs the metadata alone; their voxels are not kept for it.
    """

    def __init__(
        self,
        *,
        transform: Callable[[Mapping[Hashable, Any]], Any],
        case_threads: CaseThreads | None = None,
        name_key: str = "name",
        metadata_keys: Sequence[str] = ("image",),
    ) -> None:
        self.transform = transform
        self.case_threads = case_threads
        self.name_key = name_key
        self.metadata_keys = tuple(metadata_keys)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Begin to write, and return the data unchanged."""
        threads = self.case_threads
        if threads is None or not threads.active:
            self.transform(data)
        else:
            kept = {key: _without_voxels(one) if key in self.metadata_keys else one for key, one in data.items()}
            threads.write(str(data[self.name_key]), partial(self.transform, kept))
        return dict(data)


def _without_voxels(image: Any) -> Any:
    return MetaTensor(torch.empty(0), meta=image.meta) if isinstance(image, MetaTensor) else image
