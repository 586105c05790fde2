"""What objects made from labels have in common: the slices they are about, and the patient and study of these."""

from __future__ import annotations

import copy
import warnings
from typing import TYPE_CHECKING

import numpy as np
from pydicom.config import disable_value_validation

from pipeline.dicom.datasets import read_dataset
from pipeline.dicom.elements import READ_ERRORS
from pipeline.dicom.writing.placement import place, source_series, source_stack
from pipeline.dicom.writing.repeated import COPIED, MAY_BE_EMPTY, STUDY, decode, mend
from pipeline.errors import InputError

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from pydicom.dataset import Dataset

    from pipeline.dicom.labels.grid import Floats, Labels
    from pipeline.dicom.reading.geometry import Stack
    from pipeline.dicom.segment import Segment

__all__ = ["ANATOMICAL_STRUCTURES", "copy_patient_and_study", "labels_on_slices", "missing_in_source", "source_headers"]

ANATOMICAL_STRUCTURES = {"123037004", "91723000"}
"""The codes (SCT) of a segment's category that make its type a part of the body (PS3.16 CID 7150)."""


def labels_on_slices(
    labels: Labels,
    *,
    affine: Floats,
    source_files: Sequence[str | os.PathLike[str]],
    segments: Sequence[Segment],
    series: str | None,
) -> tuple[Stack, Labels]:
    """Return the slices that the labels are about, and the labels on them.

    Args:
        labels: uint8; see :func:`pipeline.dicom.writing.placement.place`.
        affine: 4x4, voxel (i, j, k) of ``labels`` to RAS mm.
        source_files: the files of the source series, in any order.
        segments: what each label value means.
        series: which series or volume, where there are several.

    Returns:
        The stack, and uint8 of axes (column, row, slice) in its order.

    Raises:
        InputError: the labels are not uint8, not on the voxels of the source images, or not described.
    """
    if labels.dtype != np.uint8:
        raise InputError("the labels are not uint8", got=labels.dtype)
    values = [segment.value for segment in segments]
    if not values or len(set(values)) != len(values) or max(values) > np.iinfo(np.uint8).max:
        raise InputError("the segments must have label values, each once", expected="1 to 255", got=values)
    present = np.flatnonzero(np.bincount(labels.ravel(order="K"), minlength=1))
    unknown = sorted(set(present.tolist()) - {0, *values})
    if unknown:
        raise InputError("labels that no segment describes", got=unknown, expected=f"0 or one of {sorted(values)}")
    stack = source_stack(source_series(source_files, series))
    slices, rows, columns = stack.geometry.spatial_shape
    return stack, place(labels, affine=affine, shape=(columns, rows, slices), source_affine=stack.ras_affine)


def source_headers(stack: Stack, *, first_only: bool = False) -> list[Dataset]:
    """Read the headers of the files of a stack, each once, or of the first alone, their texts decoded.

    What is repeated of them conforms, see :func:`pipeline.dicom.writing.repeated.mend`.
    """
    headers = {header.path: header for header in (stack.headers[:1] if first_only else stack.headers)}
    datasets: list[Dataset] = []
    for path, header in headers.items():
        dataset = read_dataset(path)
        decode(dataset)
        mend(dataset, path, tell=not datasets)
        if "SOPClassUID" not in dataset:  # the file's meta information has it, too
            dataset.SOPClassUID = header.sop_class_uid
        datasets.append(dataset)
    return datasets


def missing_in_source(source_files: Sequence[str | os.PathLike[str]], *, series: str | None) -> str | None:
    """Say why no object can be made from labels on a series, from its first header; None where one can.

    What is left out because it cannot be repeated is one line of the log.

    Args:
        source_files: the files of the series, in any order.
        series: which series or volume, where there are several.
    """
    with disable_value_validation(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they would quote values
        try:
            stack = source_stack(source_series(source_files, series))
            (source,) = source_headers(stack, first_only=True)
        except READ_ERRORS as error:  # InputError is one
            return (
                str(error) if isinstance(error, InputError) else f"its header cannot be read ({type(error).__name__})"
            )
    if not any(header.frame_of_reference_uid for header in stack.headers):
        return "it has no FrameOfReferenceUID, so that nothing can be placed on it"
    return None if source.get(STUDY) else "it has no StudyInstanceUID, so that nothing can be of its study"


def copy_patient_and_study(source: Dataset, derived: Dataset) -> None:
    """Copy who the patient is and which study it is, from what :func:`source_headers` gave."""
    for keyword in (*MAY_BE_EMPTY, *COPIED):
        if keyword in source:
            derived[keyword] = copy.deepcopy(source[keyword])
