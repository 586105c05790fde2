"""Pictures (PNG, JPEG, TIFF, BMP) as arrays, with the sample values that the file holds."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from monai.data import ImageReader
from monai.utils import MetaKeys, ensure_tuple
from PIL import ExifTags, Image
from tifffile import TiffFile, TiffPage

from pipeline.dicom.reading.picture import read_picture
from pipeline.errors import InputError
from pipeline.sources.kinds import is_dicom

__all__ = ["PictureReader"]

logger = logging.getLogger(__name__)

_TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_PILLOW_KEEPS = ("1", "L", "LA", "RGB", "RGBA", "I;16", "I;16B", "I", "F")  # modes that need no conversion
_REDUCED_BY_PILLOW = ("LA;16B", "RGB;16B", "RGBA;16B")  # PNG's 16-bit colours become 8-bit
_NARROW_FULL_SCALES = {"L;2": 3, "L;4": 15, "I;12": 4095}  # of 2, 4 and 12 bits, by how Pillow's raw mode begins
_LUMA = (19595, 38470, 7471)  # ITU-R 601's 0.299, 0.587, 0.114 in 1/65536
_TIFF_UNSIGNED, _TIFF_FLOAT, _TIFF_SEPARATE = 1, 3, 2
_TIFF_COLOURS = (0, 1, 2)  # photometric interpretations: two of grey, and RGB
_RGB, _RGBA = 3, 4
_UNDO = {  # Pillow turns a TIFF by its orientation tag
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


class _Picture(NamedTuple):
    samples: np.ndarray  # (Y, X) or (Y, X, 3)
    alpha: np.ndarray | None  # (Y, X), opaque where it is full_scale
    full_scale: float


class PathReader(ImageReader):  # type: ignore[misc]
    """A MONAI image reader that opens nothing before ``get_data``: ``LoadImage`` forgets what ``read`` raises."""

    def verify_suffix(self, filename: Sequence[Any] | Any) -> bool:  # noqa: ARG002
        """Every path is ours; an unusable one is refused in ``get_data``."""
        return True

    def read(self, data: Sequence[Any] | Any, **_: Any) -> tuple[Path, ...]:
        """Note the paths; nothing is opened yet."""
        return tuple(Path(path) for path in ensure_tuple(data))


class PictureReader(PathReader):
    """A MONAI image reader for PNG, JPEG, TIFF and BMP, and for radiographs, ultrasound and the like in DICOM.

    An image keeps its sample type; palettes are expanded. RGB becomes grey by ITU-R 601 luma and grey becomes RGB by
    repetition. Alpha is dropped, with a warning unless it is opaque everywhere; nothing is blended. The pixel grid is
    the file's: an EXIF or TIFF orientation is not applied, but warned of.

    A label map keeps its grey values, palette indices or, with ``colors``, its colours.

    Args:
        channels: 1, 3 or 4 for an image; None leaves what the file has. Ignored for labels and for several files,
            whose channels are put together.
        label: whether the files are masks.
        colors: whether palette, RGB and RGBA masks give their colours, because a colour table says what they mean.
    """

    def __init__(self, *, channels: int | None = None, label: bool = False, colors: bool = False) -> None:
        super().__init__()
        self.channels = channels
        self.label = label
        self.colors = colors

    def get_data(self, img: tuple[Path, ...]) -> tuple[np.ndarray, dict[str, Any]]:
        """Read the noted paths.

        Returns:
            the array, shape (X, Y) for one channel and (X, Y, C) for several, and the metadata of MONAI's PILReader
            with ``full_scale``, the largest value of the file's sample type (1.0 for float).

        Raises:
            InputError: several pages, an unusable channel count, a transparent or coloured mask, or several files
                that differ in size or depth.
        """
        channels = self.channels if len(img) == 1 else None
        arrays, scales = zip(*(self._load(path, channels) for path in img), strict=True)
        array = arrays[0]
        if len(img) > 1:
            for path, other, scale in zip(img, arrays, scales, strict=True):
                if other.shape[:2] != array.shape[:2] or scale != scales[0]:
                    raise InputError(
                        "picture and its other channels differ in size or depth",
                        where=path,
                        expected=f"{array.shape[:2]} and a full scale of {scales[0]:g}, as {img[0]}",
                        got=f"{other.shape[:2]} and {scale:g}",
                    )
            array = np.concatenate([np.atleast_3d(other) for other in arrays], axis=-1)
        meta = {
            MetaKeys.SPATIAL_SHAPE.value: np.asarray(array.shape[:2]),
            MetaKeys.ORIGINAL_CHANNEL_DIM.value: float("nan") if array.ndim == 2 else -1,  # noqa: PLR2004 - X and Y
            "full_scale": scales[0],
        }
        return array, meta

    def _load(self, path: Path, channels: int | None) -> tuple[np.ndarray, float]:
        picture = _decode(path, indices=self.label and not self.colors)
        array = _as_label(picture, path, colors=self.colors) if self.label else _as_image(picture, path, channels)
        return np.moveaxis(array, 0, 1), picture.full_scale


def _as_image(picture: _Picture, path: Path, channels: int | None) -> np.ndarray:
    samples, alpha, full_scale = picture
    if channels is None:
        return samples if alpha is None else np.dstack([samples, alpha])
    if channels not in (1, _RGB, _RGBA):
        raise InputError("a picture has 1, 3 or 4 channels", where=path, expected=f"{channels} channels for this plan")
    if channels != _RGBA and alpha is not None and (alpha != full_scale).any():
        logger.warning("%s: alpha is dropped; %d pixels are not opaque", path, np.count_nonzero(alpha != full_scale))
    if channels == 1:
        return samples if samples.ndim == 2 else _luma(samples)  # noqa: PLR2004 - X and Y
    colours = samples if samples.ndim == _RGB else np.repeat(samples[..., np.newaxis], _RGB, axis=-1)
    if channels == _RGB:
        return colours
    return np.dstack([colours, np.full(colours.shape[:2], full_scale, colours.dtype) if alpha is None else alpha])


def _luma(samples: np.ndarray) -> np.ndarray:
    if samples.dtype.kind == "f":
        grey: np.ndarray = samples @ (np.asarray(_LUMA) / 65536).astype(samples.dtype)
        return grey
    wide = np.uint32 if samples.dtype in (np.uint8, np.uint16) else np.int64  # the weighted sum fits
    total: np.ndarray = samples.astype(wide) @ np.asarray(_LUMA, dtype=wide)
    return ((total + 0x8000) >> 16).astype(samples.dtype)


def _as_label(picture: _Picture, path: Path, *, colors: bool) -> np.ndarray:
    samples, alpha, full_scale = picture
    if alpha is not None and (alpha != full_scale).any():
        raise InputError(
            "mask is partly transparent",
            where=path,
            got=f"{np.count_nonzero(alpha != full_scale)} pixels that are not opaque",
            cure="Save it without transparency",
        )
    if samples.ndim != _RGB or colors:
        return samples
    if (samples != samples[..., :1]).any():
        raise InputError("is a colour mask", where=path, cure="Name each colour in the plan's labels (mask_colors)")
    return samples[..., 0]


def _decode(path: Path, *, indices: bool) -> _Picture:
    if is_dicom(path):
        samples, full_scale = read_picture(path)
        return _Picture(samples, None, full_scale)
    with path.open("rb") as file:
        is_tiff = file.read(4) in _TIFF_STARTS
    if is_tiff:
        return _decode_tiff(path, indices=indices)
    with Image.open(path, formats=("PNG", "JPEG", "BMP")) as image:
        raw = _raw_mode(image)  # first: asking a PNG for its EXIF loads it
        if image.format != "MPO":  # a camera's JPEG; its further pictures are previews
            _check_pages(path, getattr(image, "n_frames", 1))
        _warn_if_turned(path, image.getexif().get(ExifTags.Base.Orientation, 1))
        image.load()
        return _png_colours(image, path, raw) if raw in _REDUCED_BY_PILLOW else _from_pillow(image, raw, indices)


def _check_pages(path: Path, count: int) -> None:
    if count > 1:
        raise InputError("holds several pictures", where=path, expected="1", got=count, cure="Export one page")


def _warn_if_turned(path: Path, orientation: int) -> None:
    if orientation != 1:
        logger.warning("%s: its orientation tag, %s, is not applied: the pixels are as stored", path, orientation)


def _raw_mode(image: Image.Image) -> str:
    """How the file stores its samples, in Pillow's words; known until the pixels are loaded."""
    tiles = getattr(image, "tile", [])
    if not tiles:
        return ""
    args = tiles[0][3]
    return str(args[0] if isinstance(args, tuple) else args)


def _from_pillow(image: Image.Image, raw: str, indices: bool) -> _Picture:
    if indices and image.mode in ("P", "PA"):
        return _Picture(np.asarray(image.getchannel(0)), None, 255)
    see_through = image.info.get("transparency")  # PNG's tRNS: bytes for a palette, else one grey or colour
    if image.mode not in _PILLOW_KEEPS:
        target = "LA" if image.mode == "La" else "RGBA" if image.has_transparency_data else "RGB"
        image = image.convert(target)
    samples = np.asarray(image)
    if image.mode == "1":
        return _with_key(samples.astype(np.uint8), None if see_through is None else min(see_through, 1), 1)
    samples = samples.astype(samples.dtype.newbyteorder("="), copy=False)
    full_scale = _full_scale(samples.dtype)
    for start, narrow in _NARROW_FULL_SCALES.items():
        if raw.startswith(start):
            full_scale = narrow
            samples = samples // (255 // narrow) if image.mode == "L" else samples  # Pillow spreads them to 255
    if image.mode in ("LA", "RGBA"):
        return _split(samples, full_scale)
    return _with_key(samples, see_through, full_scale)


def _full_scale(dtype: np.dtype[Any]) -> float:
    return 1.0 if dtype.kind == "f" else int(np.iinfo(dtype).max)


def _split(samples: np.ndarray, full_scale: float) -> _Picture:
    """Take the alpha from an array (Y, X, C) of 1 to 4 channels."""
    count = samples.shape[-1]
    alpha = None if count % 2 else samples[..., -1]
    return _Picture(samples[..., :_RGB] if count >= _RGB else samples[..., 0], alpha, full_scale)


def _with_key(samples: np.ndarray, key: int | tuple[int, ...] | None, full_scale: float) -> _Picture:
    """Turn the one colour that a PNG declares as transparent into alpha."""
    if key is None:
        return _Picture(samples, None, full_scale)
    hit = (samples == np.asarray(key)).reshape(*samples.shape[:2], -1).all(axis=-1)
    return _Picture(samples, np.where(hit, 0, full_scale).astype(samples.dtype), full_scale)


def _png_colours(image: Image.Image, path: Path, raw: str) -> _Picture:
    """Read 16-bit colours, of which Pillow keeps the high bytes."""
    import itk

    samples = itk.array_from_image(itk.imread(str(path), itk.VariableLengthVector[itk.US]))
    high = np.asarray(image)[..., [0, 3] if raw == "LA;16B" else slice(None)]
    if not np.array_equal(samples[..., : high.shape[-1]] >> 8, high):  # ITK shifts where a PNG has an sBIT chunk
        raise InputError("its 16-bit colours cannot be read as they are stored", where=path, cure="Save it as TIFF")
    return _split(samples, _full_scale(samples.dtype))


def _decode_tiff(path: Path, *, indices: bool) -> _Picture:
    with TiffFile(path) as tiff:
        _check_pages(path, len(tiff.pages))
        page = tiff.pages.first
        orientation = int(page.tags.valueof(274, default=1))
        _warn_if_turned(path, orientation)
        if page.samplesperpixel > _RGBA:
            raise InputError("has too many channels", where=path, expected="at most 4", got=page.samplesperpixel)
        if not _pillow_keeps(page):
            samples = _tiff_samples(page, path)
            return _split(np.atleast_3d(samples), _full_scale(samples.dtype))
    # Given a path, Pillow would map the file into memory with the sides of a turned picture exchanged.
    with path.open("rb") as file, Image.open(file, formats=("TIFF",)) as image:
        raw = _raw_mode(image)
        image.load()
        undo = _UNDO.get(orientation)
        return _from_pillow(image if undo is None else image.transpose(undo), raw, indices)


def _pillow_keeps(page: TiffPage) -> bool:
    kind = (page.bitspersample, page.sampleformat)
    if page.samplesperpixel == 1 and kind in ((12, _TIFF_UNSIGNED), (16, _TIFF_UNSIGNED), (32, _TIFF_FLOAT)):
        return True
    return page.bitspersample <= 8 and page.sampleformat in (_TIFF_UNSIGNED, 4)  # noqa: PLR2004 - a byte; 4: undefined


def _tiff_samples(page: TiffPage, path: Path) -> np.ndarray:
    """Read samples that Pillow would reduce or not read, shape (Y, X) or (Y, X, C)."""
    if page.photometric not in _TIFF_COLOURS:
        raise InputError(
            "its colours are not supported",
            where=path,
            got=f"{page.bitspersample}-bit photometric interpretation {int(page.photometric)}",
            cure="Save it as grey or RGB",
        )
    import SimpleITK

    try:
        samples = page.asarray()
        if page.planarconfig == _TIFF_SEPARATE and page.samplesperpixel > 1:
            samples = np.moveaxis(samples, 0, -1)
    except ValueError:  # tifffile has no codec for the compression
        samples = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))
    shape = (page.imagelength, page.imagewidth, page.samplesperpixel)
    if np.atleast_3d(samples).shape != shape or samples.dtype != page.dtype:
        raise InputError(
            "cannot be read as it is stored",
            where=path,
            expected=f"{shape} of {page.dtype}",
            got=f"{samples.shape} of {samples.dtype}",
            cure="Save it uncompressed",
        )
    return samples
