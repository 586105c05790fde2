"""From a path to the image that lies there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pipeline.errors import InputError
from pipeline.sources.image import Options, SourceImage
from pipeline.sources.kinds import describe, dicom_pictures, is_dicom, is_label_object, is_picture
from pipeline.sources.paths import ImagePaths, channels_of, paths_of

__all__ = ["open_image"]


def open_image(source: ImagePaths, options: Options | None = None) -> SourceImage:
    """Say what lies at a path, without reading its voxels.

    Args:
        source: a volume, a picture, a DICOM file, a folder with a series, or a list of them: the channels of one
            image, or the parts of one DICOM series, see :func:`pipeline.sources.paths.channels_of`.
        options: how it is read.

    Raises:
        InputError: nothing is there, it is no regular file and no folder, an empty file, or an RTSTRUCT or SEG.
    """
    options = options or Options()
    paths = paths_of(source)
    for path in paths:
        _check(path)
    first = paths[0]
    if options.series is None and is_picture(first):
        from pipeline.sources.picture import Picture

        return Picture([file for path in paths for file in (dicom_pictures(path) or [path])], options)
    channels = channels_of(source) if options.series is None else (paths,)
    if len(channels) > 1:
        from pipeline.sources.channels import Channels

        own = replace(options, channels=None)
        return Channels([open_image(list(one), own) if one else None for one in channels], channels, options)
    if first.is_dir() or is_dicom(first):
        from pipeline.sources.series import DicomSeries  # with highdicom, which takes long to import

        return DicomSeries(paths, options)
    from pipeline.sources.volumes import open_volume

    return open_volume(paths, options)


def _check(path: Path) -> None:
    if not path.exists():
        raise InputError("no such file or folder", where=path)
    if path.is_dir():
        return
    if not path.is_file():
        raise InputError("is no file and no folder", where=path, got=describe(path))
    if path.stat().st_size == 0:
        raise InputError("file is empty", where=path, cure="Copy it again from its source")
    if is_label_object(path):
        raise InputError(
            "is a DICOM RTSTRUCT or SEG, not an image",
            where=path,
            cure="For training, give the plan's labels their source_names and build the bundle again",
        )
