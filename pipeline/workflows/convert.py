"""``medbundle convert``: images and label maps from one format to another, without a network."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pipeline.dicom import (
    choose,
    load,
    ras_affine,
    scan,
    write_measurement_report,
    write_rtstruct,
    write_segmentation,
)
from pipeline.errors import InputError
from pipeline.sources.given import given_path
from pipeline.sources.kinds import is_dicom, is_label_object, label_file
from pipeline.sources.label_table import read_label_table, table_beside, write_label_table
from pipeline.sources.nifti import write_nifti
from pipeline.sources.reference import Reference, read_described_map
from pipeline.writing import LONGEST_NAME_BYTES

if TYPE_CHECKING:
    from pipeline.dicom import LabelMap, Series

__all__ = ["KINDS", "SUFFIXES", "convert"]

_NIFTI, _SURFACES = (".nii.gz", ".nii"), (".stl", ".obj", ".glb")
SUFFIXES = (*_NIFTI, ".dcm", *_SURFACES, ".csv")
"""Of what can be written."""

KINDS = ("segmentation", "rtstruct", "report")
"""Of DICOM objects that can be written; the first is the default."""


def convert(
    source: Path,
    output: Path,
    *,
    reference: Path | None = None,
    series: str | None = None,
    labels: Path | None = None,
    kind: str | None = None,
    segmentation_type: str = "binary",
    compression: str | None = None,
    untilt: bool = False,
    strict: bool = False,
) -> list[Path]:
    """Convert an image or a label map into the format that the output's suffix names.

    A DICOM image series becomes NIfTI with the values and the grid as acquired. A label map (NIfTI, NRRD, MHA, DICOM
    SEG, or RTSTRUCT, which needs a ``reference``) becomes

    - ``.dcm``: a DICOM SEG, RTSTRUCT or measurement report of the ``reference``;
    - ``.nii``, ``.nii.gz``: NIfTI, with ``NAME_labels.json`` beside it;
    - ``.stl``, ``.obj``, ``.glb``: surfaces;
    - ``.csv``: measurements, of the values of the ``reference`` as well.

    With a ``reference``, a label map is brought onto its grid, but never resampled.

    Args:
        source: a file or a folder.
        output: the file to write; an older one is replaced, an input never is.
        reference: the DICOM series that a label map belongs to; a DICOM output needs it.
        series: which series of the reference, or of the source where that is the image: its UID, number or
            description, with "/2" for the second volume of it.
        labels: what the label values mean, see :func:`pipeline.sources.label_table.read_label_table`; for a SEG or
            RTSTRUCT, which segments or ROIs are wanted.
        kind: of a DICOM output, one of :data:`KINDS`.
        segmentation_type: of a DICOM SEG, "binary" or "labelmap".
        compression: of a DICOM SEG, see :func:`pipeline.dicom.write_segmentation`.
        untilt: bring an image of a tilted gantry to an upright grid; where the ``reference`` is one, the label map
            lies on that grid.
        strict: refuse contours of an RTSTRUCT that would have to be interpolated, joined, clipped or left out.

    Returns:
        The files written, the main one first.

    Raises:
        InputError: the combination makes no sense, an input cannot be used, or a file cannot be written.
    """
    source, output = given_path(source), given_path(output)
    suffix = _suffix(output)
    if not source.exists():
        raise InputError("no such file or folder", where=source)
    given = {"--reference": reference, "--labels": labels, "--kind": kind, "--compression": compression,
             "--segmentation-type": segmentation_type}  # fmt: skip
    usual = {"--segmentation-type": "binary"}
    used = [option for option, value in given.items() if value != usual.get(option)]
    found = _image_series(source, series)
    if found is not None:
        return [_convert_image(found, output, source=source, untilt=untilt, used=used)]
    _check_options(suffix, kind, used)
    place = _place(reference, series, output, suffix, untilt=untilt)
    source = label_file(source)
    _spare(_inputs(source, labels, place), [output, table_beside(output)] if suffix in _NIFTI else [output])
    table = None if labels is None else read_label_table(labels)
    volume = read_described_map(source, reference=place, table=table, strict=strict)
    if suffix == ".dcm" and place is not None:
        options = {"segmentation_type": segmentation_type, "compression": compression}
        return [_write_dicom(volume, output, place, kind or KINDS[0], options)]
    return _write_volume(volume, output, suffix, place)


def _place(reference: Path | None, series: str | None, output: Path, suffix: str, *, untilt: bool) -> Reference | None:
    if reference is not None:
        return Reference.open(reference, series, untilt=untilt)
    if suffix == ".dcm" or series is not None:
        what = "a DICOM object is about images" if suffix == ".dcm" else "--series names a series of a reference"
        raise InputError(what, where=output, cure="Give their series with --reference")
    return None


def _inputs(source: Path, labels: Path | None, place: Reference | None) -> list[Path]:
    return [source, *([] if labels is None else [labels]), *(() if place is None else place.files)]


def _suffix(output: Path) -> str:
    suffix = next((one for one in SUFFIXES if output.name.lower().endswith(one)), None)
    if suffix is None:
        raise InputError(
            "no known format of an output", where=output, expected=f"a name ending in {' '.join(SUFFIXES)}"
        )
    if output.is_dir():
        raise InputError("is a folder", where=output, cure="Give the name of a file")
    return suffix


def _check_options(suffix: str, kind: str | None, used: list[str]) -> None:
    """Refuse options that would say nothing."""
    if kind is not None and kind not in KINDS:
        raise InputError("no such kind of DICOM object", expected=" or ".join(KINDS), got=repr(kind))
    is_segmentation = suffix == ".dcm" and kind in (None, KINDS[0])
    idle = [] if suffix == ".dcm" else ["--kind"]
    idle += [] if is_segmentation else ["--segmentation-type", "--compression"]
    useless = [option for option in used if option in idle]
    if useless:
        what = f"a {kind}" if suffix == ".dcm" else f"a {suffix} file"
        raise InputError(f"{useless[0]} says nothing about {what}", cure="Leave it out")


def _image_series(source: Path, series: str | None) -> Series | None:
    """Return the series of images that a source holds; ``None`` where it is no DICOM image."""
    if source.is_file() and (not is_dicom(source) or is_label_object(source)):
        return None
    found = scan(source)
    if source.is_dir() and not found.series and label_file(source) != source:
        return None
    return choose(found, series)


def _convert_image(series: Series, output: Path, *, source: Path, untilt: bool, used: list[str]) -> Path:
    if _suffix(output) not in _NIFTI:
        raise InputError(
            "an image cannot become this", where=source, expected=" or ".join(_NIFTI), got=_suffix(output),
            cure="For a DICOM object give the label map as source and the image as --reference",
        )  # fmt: skip
    if used:
        raise InputError(f"{used[0]} says nothing about an image", where=source, cure="Leave it out")
    _spare([source, *series.files], [output])
    volume = load(series, dtype=None, untilt=untilt)
    affine = series.frames.ras_affine if series.frames is not None else ras_affine(volume.get_geometry())
    return write_nifti(volume.array.transpose(2, 1, 0), affine, output)


def _write_volume(volume: LabelMap, output: Path, suffix: str, place: Reference | None) -> list[Path]:
    if suffix in _NIFTI:
        table = write_label_table(volume.segments, table_beside(output))
        return [write_nifti(volume.labels, volume.volume_affine, output), table]
    labels = _bytes(volume, output)
    arguments: dict[str, Any] = {"affine": volume.volume_affine, "segments": volume.segments, "path": output}
    if suffix in _SURFACES:
        from pipeline.reports.surfaces import write_surfaces

        written = write_surfaces(labels, **arguments)
        if not written:
            raise InputError("the label map is empty and has no surface", where=output)
        return written
    from pipeline.reports.measurements import write_measurements

    return [write_measurements(labels, **arguments, image=None if place is None else place.image())]


def _write_dicom(volume: LabelMap, output: Path, place: Reference, kind: str, options: dict[str, Any]) -> Path:
    labels = _bytes(volume, output)
    arguments: dict[str, Any] = {
        "affine": volume.volume_affine,
        "source_files": place.files,
        "series": place.selector,
        "segments": volume.segments,
        "path": output,
    }
    if kind == "segmentation":
        return write_segmentation(labels, **arguments, **options)
    write = write_rtstruct if kind == "rtstruct" else write_measurement_report
    return write(labels, **arguments)


def _bytes(volume: LabelMap, output: Path) -> npt.NDArray[np.uint8]:
    """Return the labels as what all formats but NIfTI take."""
    highest = max((segment.value for segment in volume.segments), default=0)
    if highest > np.iinfo(np.uint8).max:
        raise InputError(
            "a label is too large for this format", where=output, expected="1 to 255", got=highest,
            cure="Name the ones that are wanted with --labels",
        )  # fmt: skip
    return volume.labels.astype(np.uint8, copy=False)


def _spare(inputs: list[Path], outputs: list[Path]) -> None:
    taken = {given_path(path).resolve() for path in inputs}
    for output in outputs:
        if output.resolve() in taken:
            raise InputError("the output would overwrite an input", where=output, cure="Give another name")
        if len(os.fsencode(output.name)) > LONGEST_NAME_BYTES:
            raise InputError("the name is too long", where=output, expected=f"at most {LONGEST_NAME_BYTES} bytes")
