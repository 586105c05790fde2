"""Label maps back to disk, in the geometry of their input."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from monai.config import KeysCollection
from monai.transforms import MapTransform

from pipeline.data.mapped import MappedVolume
from pipeline.dicom import Algorithm, Segment
from pipeline.dicom.path_text import parted
from pipeline.errors import InputError
from pipeline.sources.given import given_path
from pipeline.sources.kinds import is_picture
from pipeline.sources.nifti import nifti_image, write_nifti
from pipeline.sources.paths import paths_of
from pipeline.transforms.checks import source_of
from pipeline.transforms.picture_masks import label_colors, write_index_png, write_overlay_png
from pipeline.transforms.probability_files import (
    as_nifti,
    check_names,
    final_names,
    on_acquired_slices,
    taken_maps,
    write_picture,
)
from pipeline.writing import into_place

__all__ = ["SaveSegmentationd"]


class SaveSegmentationd(MapTransform):  # type: ignore[misc]
    """Write label maps in the format of their input: PNG for pictures, else NIfTI and, for DICOM, DICOM SEG beside it.

    ======================= ==========================================================================================
    input                   files
    ======================= ==========================================================================================
    PNG, JPEG, TIFF, BMP    ``<output_dir>/<name>.png``: 8 bit with a palette, each pixel's value is its label (see
                            :func:`~pipeline.transforms.picture_masks.write_index_png`), and
                            ``<output_dir>/<name>_overlay.png``: the picture with its labels outlined in colour and
                            their names below (:func:`~pipeline.transforms.picture_masks.write_overlay_png`)
    volumes                 ``<output_dir>/<name>.nii.gz``: uint8 NIfTI
    DICOM                   the same NIfTI, and ``<output_dir>/<name>.dcm``: DICOM SEG
    ======================= ==========================================================================================

    Where the inferer kept probabilities (:class:`pipeline.inferers.ProbabilityMaps`), each class's are moved to
    ``<output_dir>/<name>_<class>.nii``, uncompressed float32 NIfTI on the grid of the mask's, which programs open by
    memory-map; of a picture, ``<output_dir>/<name>_<class>.png``, 16-bit grey, 65535 for 1.

    A mask has exactly the size of its input, and a NIfTI its affine: where a 2D network took a volume of one slice
    and its reader noted ``dropped_axis`` in the metadata, the mask gets its last axis back. Where the reader brought
    tilted slices to an upright grid and noted them as ``tilted_slices``, the mask is brought back to those: its NIfTI
    then has their sheared affine as sform and no qform, which cannot be sheared. A file appears under its
    final name only when it is complete. An older mask is replaced; an input never is.

    Args:
        keys: label maps on the grid of the input, shape (1, X, Y[, Z]); values 0 to 255.
        image_key: the image that they belong to; its metadata tells the source.
        name_key: the entry with the case's name.
        output_dir: made when needed.
        segments: one mapping per label, the arguments of :class:`pipeline.dicom.Segment`. Labels without a ``color``
            get one of Okabe and Ito's in a picture's files.
        algorithm: name of the algorithm in the DICOM SEG.
        version: its version.
        cases: all cases of the run, each with ``image`` (a path, or several) and ``name``, so that no file replaces
            another case's input or mask.

    Raises:
        InputError: the folder cannot be written, a file would replace an input or another case's, a label map is not
            on its input's grid, or the picture behind it cannot be read again.
    """

    def __init__(
        self,
        keys: KeysCollection,
        *,
        output_dir: str | Path,
        segments: Sequence[Mapping[str, Any]],
        image_key: str = "image",
        name_key: str = "name",
        algorithm: str,
        version: str,
        cases: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        super().__init__(keys)
        self.output_dir = given_path(output_dir).absolute()  # see existing_path
        self.segments = tuple(Segment(**{key: _tuple(value) for key, value in one.items()}) for one in segments)
        self.image_key = image_key
        self.name_key = name_key
        self.algorithm = Algorithm(name=algorithm, version=version)
        self.inputs = {path.resolve() for case in cases for path in paths_of(case["image"])}
        self.names = {str(case["name"]) for case in cases}

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Write the files and return the data unchanged."""
        for key in self.key_iterator(data):
            image, name = data[self.image_key], str(data[self.name_key])
            with taken_maps(data[key]) as maps:
                labels = _on_input_grid(np.asarray(data[key])[0].astype(np.uint8, copy=False), image)
                dicom_files = [file for file in parted(image.meta.get("dicom_files", "")) if file]
                if not dicom_files and is_picture(source_of(image)):
                    self._save_picture(labels, source_of(image), name, maps)
                else:
                    self._save_volume(labels, image, name, dicom_files, maps)
        return dict(data)

    def _save_volume(
        self, labels: np.ndarray, image: Any, name: str, dicom_files: list[str], maps: dict[str, MappedVolume]
    ) -> None:
        source = source_of(image)
        affine = np.asarray(image.meta.get("original_affine", np.eye(4)), dtype=float)
        tilted_slices = image.meta.get("tilted_slices")
        if tilted_slices:
            from pipeline.dicom.reading.tilt import Shear

            shear = Shear.from_text(tilted_slices)
            labels, affine = shear.to_acquired(labels), shear.affine
            maps = {one: on_acquired_slices(volume, shear) for one, volume in maps.items()}
        nifti, dicom = (self.output_dir / f"{name}{suffix}" for suffix in (".nii.gz", ".dcm"))
        probabilities = self._probability_files(maps, name, source, suffix=".nii")
        targets = [*([nifti, dicom] if dicom_files else [nifti]), *probabilities.values()]
        self._spare_inputs([source, *dicom_files], targets=targets)
        self._make_folder()
        blank = nifti_image(np.broadcast_to(np.float32(0), labels.shape), affine, like=source)
        for volume in maps.values():
            as_nifti(volume, blank.header)
        write_nifti(labels, affine, nifti, like=source)
        for one, target in probabilities.items():
            _rename(maps[one].path, target)
        if dicom_files:
            try:
                self._write_dicom(labels, affine, dicom_files, dicom, series=image.meta.get("dicom_series"))
            except InputError as error:
                raise InputError(f"{error}. {nifti.name} is written, but no DICOM SEG") from error

    def _save_picture(self, labels: np.ndarray, source: str, name: str, maps: dict[str, MappedVolume]) -> None:
        mask, overlay = (self.output_dir / f"{name}{suffix}" for suffix in (".png", "_overlay.png"))
        probabilities = self._probability_files(maps, name, source, suffix=".png")
        self._spare_inputs([source], targets=[mask, overlay, *probabilities.values()])
        if overlay.stem in self.names:
            cure = f"Segment it apart from {overlay.stem}, or rename one of them"
            raise InputError("the overlay would take the name of another case's mask", where=source, cure=cure)
        self._make_folder()
        colors = label_colors(self.segments)
        names = {segment.value: segment.name for segment in self.segments}
        write_overlay_png(labels, overlay, picture=source, colors=colors, names=names)  # first: it reads the source
        write_index_png(labels, mask, colors)
        for one, target in probabilities.items():
            write_picture(maps[one], target)

    def _probability_files(
        self, maps: Mapping[str, MappedVolume], name: str, source: str, *, suffix: str
    ) -> dict[str, Path]:
        classes = final_names(list(maps))
        check_names(name, classes.values(), cases=self.names, source=source, beside_masks=suffix == ".png")
        return {one: self.output_dir / f"{name}_{stem}{suffix}" for one, stem in classes.items()}

    def _spare_inputs(self, sources: Sequence[str], *, targets: Sequence[Path]) -> None:
        inputs = self.inputs | {Path(source).resolve() for source in sources}
        for target in targets:
            if target.resolve() in inputs:
                raise InputError("the mask would replace an input", where=target, cure="Give another output folder")

    def _make_folder(self) -> None:
        try:
            self.output_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError("cannot make the output folder", where=self.output_dir, got=error.strerror) from None

    def _write_dicom(
        self, labels: np.ndarray, affine: np.ndarray, source_files: list[str], path: Path, *, series: str | None
    ) -> None:
        from pipeline.dicom import write_segmentation  # highdicom takes long to import, and few inputs are DICOM

        write_segmentation(
            labels,
            affine=affine,
            source_files=source_files,
            series=series,
            segments=self.segments,
            path=path,
            algorithm=self.algorithm,
        )


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _on_input_grid(labels: np.ndarray, image: Any) -> np.ndarray:
    """The labels with the axis of length 1 that the reader dropped, if their shape is that of the input."""
    shape = tuple(int(n) for n in np.asarray(image.meta["spatial_shape"]).ravel())
    if image.meta.get("dropped_axis") is not None:
        labels = labels[..., None]
        shape = (*shape[:2], 1)  # the reader may have noted it before or after
    expected = shape[: labels.ndim]
    if labels.shape != expected:
        raise InputError("mask is not on the input's grid", where=source_of(image), expected=expected, got=labels.shape)
    return labels


def _rename(file: Path, target: Path) -> None:
    try:
        into_place(file, target)
    except OSError as error:
        raise InputError("cannot be written", where=target, got=error.strerror) from error
