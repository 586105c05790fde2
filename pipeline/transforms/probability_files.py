"""Maps of probabilities from where the inferer left them to their final names."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from pipeline.data.mapped import HEADER_BYTES, MappedVolume
from pipeline.errors import InputError
from pipeline.writing import whole_file

if TYPE_CHECKING:
    from pipeline.dicom.reading.tilt import Shear

__all__ = ["as_nifti", "check_names", "final_names", "on_acquired_slices", "taken_maps", "write_picture"]

_OVERLAY = "overlay"  # SaveSegmentationd writes <name>_overlay.png
_GREY_MAX = 2**16 - 1


@contextmanager
def taken_maps(labels: Any) -> Iterator[dict[str, MappedVolume]]:
    """The maps by their class that belong to a label map, see :class:`pipeline.inferers.ProbabilityMaps`.

    What the block has not renamed is removed, however it ends.

    Args:
        labels: with the metadata of the inferer, or none.
    """
    meta: Mapping[str, Any] = getattr(labels, "meta", {})
    files = {name: Path(file) for name, file in json.loads(meta.get("probability_maps") or "{}").items()}
    size = tuple(int(n) for n in labels.shape[1:])
    try:
        yield {name: MappedVolume(path=file, size=size) for name, file in files.items()}
    finally:
        for folder in {file.parent for file in files.values()}:
            shutil.rmtree(folder, ignore_errors=True)


def final_names(classes: Sequence[str]) -> dict[str, str]:
    """What the file of each class is called behind the case's name: letters, digits, ``.``, ``_`` and ``-``."""
    names, used = dict[str, str](), {_OVERLAY}
    for number, one in enumerate(classes):
        name = re.sub(r"[^\w.-]+", "_", one).strip("_.") or str(number)
        names[one] = name if name.casefold() not in used else f"{name}_{number}"
        used.add(names[one].casefold())
    return names


def check_names(
    name: str, classes: Collection[str], *, cases: Collection[str], source: str, beside_masks: bool
) -> None:
    """Refuse a case whose maps would have the names of another case's files.

    Args:
        name: of the case.
        classes: what :func:`final_names` gave.
        cases: the names of all cases.
        source: of the case.
        beside_masks: whether masks have the same suffix.

    Raises:
        InputError: names the other case.
    """
    for stem in (f"{name}_{one}" for one in classes):
        for other in cases:
            taken = {f"{other}_{one}" for one in classes} | ({other} if beside_masks else set())
            if other != name and stem in taken:
                cure = f"Segment it apart from {other}, or rename one of them"
                raise InputError(
                    "the probabilities would take the name of another case's file", where=source, cure=cure
                )


def as_nifti(volume: MappedVolume, header: Any) -> None:
    """Write the header that makes a whole NIfTI file of a volume.

    Args:
        volume: a file with room for the header.
        header: nibabel's, of NIfTI-1 or -2 in a single file, with the geometry and the shape.

    Raises:
        InputError: the file cannot be written.
    """
    header = header.copy()
    header.set_data_dtype(np.float32)
    header.set_data_offset(HEADER_BYTES)
    header.set_slope_inter(1, 0)
    try:
        with volume.path.open("r+b") as file:
            file.write(header.binaryblock)
    except OSError as error:
        raise InputError("cannot be written", where=volume.path.parent, got=error.strerror) from error


def on_acquired_slices(volume: MappedVolume, shear: Shear) -> MappedVolume:
    """Bring a map from the upright grid to the acquired slices, by whole voxels, as the labels.

    Returns:
        A file of its own; the other one is removed.

    Raises:
        InputError: there is no space.
    """
    from pipeline.dicom.reading.tilt import Shear  # with highdicom, which takes long to import

    # Where each slice begins on the upright grid is told by a stack of single voxels with the same tilt.
    column = Shear(affine=shear.affine, size=(1, 1, shear.size[2]))
    begins = [column.to_acquired(places)[0, 0] for places in np.indices(column.upright_size)[:2]]
    made = MappedVolume.allocate(volume.path.with_name(f"acquired_{volume.path.name}"), shear.size)
    rows, columns = shear.size[:2]
    for first, planes in volume.planes():
        for k, plane in enumerate(np.moveaxis(planes, 2, 0), start=first):
            i, j = int(begins[0][k]), int(begins[1][k])
            place = (slice(0, rows), slice(0, columns), slice(k, k + 1))
            made.write(place, plane[i : i + rows, j : j + columns, None])
    volume.path.unlink()
    return made


def write_picture(volume: MappedVolume, path: Path) -> None:
    """Write the map of a picture as PNG, 16-bit grey: 65535 is a probability of 1.

    Raises:
        InputError: the file cannot be written.
    """
    values = np.concatenate([np.rint(planes * _GREY_MAX).astype(np.uint16) for _, planes in volume.planes()], axis=1)
    with whole_file(path) as temporary:
        Image.fromarray(np.ascontiguousarray(values.T)).save(temporary, format="PNG")
