from __future__ import annotations

import logging
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK
import tifffile
from monai.data import MetaTensor
from monai.transforms import LoadImaged
from PIL import Image

from pipeline.errors import InputError
from pipeline.sources import CaseReader, PictureReader

HEIGHT, WIDTH = 5, 8
GREY16 = np.random.default_rng(0).integers(0, 1 << 16, (HEIGHT, WIDTH), dtype=np.uint16)
RGB16 = np.random.default_rng(1).integers(0, 1 << 16, (HEIGHT, WIDTH, 3), dtype=np.uint16)
RGBA16 = np.random.default_rng(2).integers(0, 1 << 16, (HEIGHT, WIDTH, 4), dtype=np.uint16)
GREY8, RGB8, RGBA8 = (deep.astype(np.uint8) for deep in (GREY16, RGB16, RGBA16))
INDICES = np.random.default_rng(3).integers(0, 3, (HEIGHT, WIDTH), dtype=np.uint8)
PALETTE = np.array([[0, 0, 0], [200, 30, 10], [5, 90, 250]], dtype=np.uint8)


def _read(path: Any, **options: Any) -> tuple[np.ndarray, dict[str, Any]]:
    """An array with the rows first, as the libraries that it is compared with have it, and the metadata."""
    reader = PictureReader(**options)
    array, meta = reader.get_data(reader.read(path))
    return np.moveaxis(array, 0, 1), meta


def _same(array: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_array_equal(array, expected)
    assert array.dtype == expected.dtype


def _palette_image(indices: np.ndarray = INDICES) -> Image.Image:
    image = Image.fromarray(indices)
    image.putpalette(PALETTE.ravel().tolist())
    assert image.mode == "P"
    return image


def _write_itk(path: Path, samples: np.ndarray, **options: Any) -> None:
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(samples, isVector=samples.ndim == 3), str(path), **options)


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def _write_png(
    path: Path, rows: Sequence[bytes], *, depth: int, colour: int, chunks: Sequence[tuple[bytes, bytes]] = ()
) -> None:
    """A PNG made by hand from its specification, for what no writer here can write; rows are not filtered."""
    size = struct.pack(">IIBBBBB", WIDTH, HEIGHT, depth, colour, 0, 0, 0)
    parts = [b"\x89PNG\r\n\x1a\n", _chunk(b"IHDR", size), *(_chunk(*chunk) for chunk in chunks)]
    parts += [_chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows))), _chunk(b"IEND", b"")]
    path.write_bytes(b"".join(parts))


def _big_endian_rows(samples: np.ndarray) -> list[bytes]:
    return [row.astype(">u2").tobytes() for row in samples]


# Images


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp"])
@pytest.mark.parametrize(
    ("samples", "channels"), [(GREY8, 1), (GREY8, None), (RGB8, 3), (RGB8, None)], ids=["L1", "L", "RGB3", "RGB"]
)
def test_8_bit_samples_are_kept(tmp_path: Path, samples: np.ndarray, channels: int | None, suffix: str) -> None:
    Image.fromarray(samples).save(tmp_path / f"a{suffix}")
    array, meta = _read(tmp_path / f"a{suffix}", channels=channels)
    _same(array, samples)
    assert meta["full_scale"] == 255
    assert meta["spatial_shape"].tolist() == [WIDTH, HEIGHT]


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_each_mode_comes_in_the_channels_that_are_asked_for(
    tmp_path: Path, mode: str, channels: int, suffix: str
) -> None:
    image = _palette_image() if mode == "P" else Image.fromarray(RGBA8).convert(mode)
    image.save(tmp_path / f"a{suffix}")
    array, _ = _read(tmp_path / f"a{suffix}", channels=channels)
    reference = np.asarray(image.convert("RGBA")).copy()
    target = {1: "L", 3: "RGB", 4: "RGBA"}[channels]
    # Pillow's own conversion of the colours, once the alpha is set aside.
    colours = np.asarray(Image.fromarray(reference[..., :3]).convert(target))
    if channels == 4:
        colours = np.dstack([colours[..., :3], reference[..., 3]])
    if mode == "1":
        colours = colours // 255
    _same(array, colours)


def test_bilevel_is_0_and_1(tmp_path: Path) -> None:
    Image.fromarray(INDICES > 0).save(tmp_path / "a.png")
    array, meta = _read(tmp_path / "a.png", channels=4)
    _same(array, np.dstack([np.repeat((INDICES > 0)[..., None], 3, -1), np.ones_like(INDICES)]).astype(np.uint8))
    assert meta["full_scale"] == 1


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg"])
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_jpeg_is_decoded_as_simpleitk_or_pillow_does(tmp_path: Path, mode: str, suffix: str) -> None:
    smooth = np.linspace(0, 255, 32 * 24 * 3).reshape(24, 32, 3).astype(np.uint8)
    path = tmp_path / f"a{suffix}"
    Image.fromarray(smooth).convert(mode).save(path, quality=95)
    array, _ = _read(path, channels=3)
    if mode == "CMYK":
        assert Image.open(path).mode == "CMYK"
        assert np.abs(array.astype(int) - smooth).mean() < 4  # lossy
    else:
        reference = np.atleast_3d(SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))).astype(int)
        # Two builds of the decoder may round differently.
        assert np.abs(array - reference).max() <= 1


def test_the_axes_are_those_of_monai(tmp_path: Path) -> None:
    Image.fromarray(RGB8).save(tmp_path / "a.png")
    loaded = [
        LoadImaged("image", reader=reader, ensure_channel_first=True)({"image": tmp_path / "a.png"})["image"]
        for reader in (CaseReader(channels=3), "PILReader")
    ]
    assert all(isinstance(image, MetaTensor) for image in loaded)
    np.testing.assert_array_equal(loaded[0].numpy(), loaded[1].numpy())
    np.testing.assert_array_equal(loaded[0].affine, loaded[1].affine)
    np.testing.assert_array_equal(loaded[0].meta["spatial_shape"], loaded[1].meta["spatial_shape"])


def test_a_palette_with_a_transparent_colour_keeps_its_colours(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _palette_image().save(tmp_path / "a.png", transparency=1)
    with caplog.at_level(logging.WARNING):
        _same(_read(tmp_path / "a.png", channels=3)[0], PALETTE[INDICES])
    assert f"{tmp_path / 'a.png'}: alpha is dropped; {(INDICES == 1).sum()} pixels are not opaque" in caplog.text
    rgba = np.dstack([PALETTE[INDICES], np.where(INDICES == 1, 0, 255).astype(np.uint8)])
    _same(_read(tmp_path / "a.png", channels=4)[0], rgba)


def test_an_opaque_alpha_is_dropped_without_a_word(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    Image.fromarray(RGB8).convert("RGBA").save(tmp_path / "a.png")
    with caplog.at_level(logging.WARNING):
        _same(_read(tmp_path / "a.png", channels=3)[0], RGB8)
    assert caplog.text == ""


@pytest.mark.parametrize("channels", [0, 2, 5])
def test_another_channel_count_is_refused(tmp_path: Path, channels: int) -> None:
    Image.fromarray(GREY8).save(tmp_path / "a.png")
    with pytest.raises(InputError, match=rf"a\.png: a picture has 1, 3 or 4 channels \(expected {channels} channels"):
        _read(tmp_path / "a.png", channels=channels)


# Depths


def test_16_bit_grey_keeps_its_range(tmp_path: Path) -> None:
    _write_itk(tmp_path / "a.png", GREY16)
    tifffile.imwrite(tmp_path / "a.tif", GREY16)
    tifffile.imwrite(tmp_path / "b.tif", GREY16, byteorder=">", compression="zlib")
    for name in ("a.png", "a.tif", "b.tif"):
        array, meta = _read(tmp_path / name, channels=1)
        _same(array, GREY16)
        assert array.dtype.isnative
        assert meta["full_scale"] == 65535
    array, _ = _read(tmp_path / "a.png", channels=3)
    _same(array, np.repeat(GREY16[..., None], 3, axis=-1))


@pytest.mark.parametrize("samples", [RGB16, RGBA16], ids=["RGB", "RGBA"])
def test_16_bit_colours_are_not_reduced(tmp_path: Path, samples: np.ndarray) -> None:
    _write_itk(tmp_path / "itk.png", samples)
    options: dict[str, Any] = {"photometric": "rgb"}
    tifffile.imwrite(tmp_path / "plain.tif", samples, **options)
    tifffile.imwrite(tmp_path / "big.tif", samples, byteorder=">", **options)
    tifffile.imwrite(tmp_path / "zlib.tif", samples, compression="zlib", **options)
    tifffile.imwrite(tmp_path / "planes.tif", np.moveaxis(samples, -1, 0), planarconfig="separate", **options)
    tifffile.imwrite(tmp_path / "tiles.tif", samples, tile=(16, 16), **options)
    _write_itk(tmp_path / "lzw.tif", samples, useCompression=True, compressor="LZW")
    paths = sorted(tmp_path.iterdir())
    assert len(paths) == 7
    for path in paths:
        array, meta = _read(path)
        _same(array, samples)
        assert meta["full_scale"] == 65535
        _same(_read(path, channels=3)[0], samples[..., :3])


def test_16_bit_luma_is_the_weighted_sum(tmp_path: Path) -> None:
    _write_itk(tmp_path / "a.png", RGB16)
    array, _ = _read(tmp_path / "a.png", channels=1)
    assert array.dtype == np.uint16
    exact = RGB16.astype(float) @ (0.299, 0.587, 0.114)
    # Half a step of rounding, and weights rounded to 16 bits.
    assert np.abs(array - exact).max() < 0.5 + 2


def test_white_stays_white_as_luma(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.full((4, 4, 3), 65535, np.uint16), photometric="rgb")
    assert set(_read(tmp_path / "a.tif", channels=1)[0].ravel()) == {65535}


def test_16_bit_grey_with_alpha(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    samples = RGBA16[..., :2]
    _write_png(tmp_path / "a.png", _big_endian_rows(samples), depth=16, colour=4)
    tifffile.imwrite(tmp_path / "a.tif", samples, photometric="minisblack", extrasamples=["unassalpha"])
    for name in ("a.png", "a.tif"):
        _same(_read(tmp_path / name)[0], samples)
        _same(_read(tmp_path / name, channels=1)[0], samples[..., 0])
        _same(_read(tmp_path / name, channels=4)[0], samples[..., [0, 0, 0, 1]])
        assert f"{name}: alpha is dropped" in caplog.text


def test_16_bit_colours_that_itk_would_shift_are_refused(tmp_path: Path) -> None:
    rows = _big_endian_rows(RGB16)
    _write_png(tmp_path / "a.png", rows, depth=16, colour=2, chunks=[(b"gAMA", struct.pack(">I", 45455))])
    _same(_read(tmp_path / "a.png")[0], RGB16)
    _write_png(tmp_path / "b.png", rows, depth=16, colour=2, chunks=[(b"sBIT", bytes([12, 12, 12]))])
    with pytest.raises(InputError, match=r"b\.png: its 16-bit colours cannot be read"):
        _read(tmp_path / "b.png")


@pytest.mark.parametrize("kind", ["int8", "int16", "int32", "uint32", "float16", "float32", "float64"])
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_a_tiff_keeps_its_sample_type(tmp_path: Path, kind: str, byteorder: Any) -> None:
    dtype = np.dtype(kind)
    signs = np.array([-1, 1] if dtype.kind != "u" else [1, 1])[INDICES % 2]
    samples = (signs * (GREY16 / 65535) * (3 if dtype.kind == "f" else np.iinfo(dtype).max)).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", samples, byteorder=byteorder)
    array, meta = _read(tmp_path / "a.tif", channels=1)
    _same(array, samples)
    assert meta["full_scale"] == (1.0 if dtype.kind == "f" else np.iinfo(dtype).max)
    assert type(meta["full_scale"]) is (float if dtype.kind == "f" else int)


def test_float_colours(tmp_path: Path) -> None:
    samples = (RGB16 / 65535).astype(np.float32)
    tifffile.imwrite(tmp_path / "a.tif", samples, photometric="rgb")
    _same(_read(tmp_path / "a.tif", channels=3)[0], samples)
    grey, _ = _read(tmp_path / "a.tif", channels=1)
    np.testing.assert_allclose(grey, samples @ np.float32([0.299, 0.587, 0.114]), atol=2e-5)  # weights of 16 bits


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_grey_of_few_bits_keeps_its_values(tmp_path: Path, depth: int) -> None:
    values = GREY8 % (1 << depth)
    bits = (values[..., None] >> np.arange(depth)[::-1]) & 1
    rows = [np.packbits(row.ravel().astype(np.uint8)).tobytes() for row in bits]
    _write_png(tmp_path / "a.png", rows, depth=depth, colour=0)
    for options in ({"channels": 1}, {"label": True}):
        array, meta = _read(tmp_path / "a.png", **options)
        _same(array, values)
        assert meta["full_scale"] == (1 << depth) - 1
    # One grey is declared as transparent.
    _write_png(tmp_path / "b.png", rows, depth=depth, colour=0, chunks=[(b"tRNS", struct.pack(">H", 1))])
    alpha = np.where(values == 1, 0, (1 << depth) - 1).astype(np.uint8)
    _same(_read(tmp_path / "b.png", channels=4)[0][..., 3], alpha)


def test_a_transparent_colour_of_16_bits(tmp_path: Path) -> None:
    key = tuple(map(int, RGB16[1, 2]))
    _write_png(
        tmp_path / "a.png",
        _big_endian_rows(RGB16),
        depth=16,
        colour=2,
        chunks=[(b"tRNS", struct.pack(">HHH", *key))],
    )
    array, _ = _read(tmp_path / "a.png", channels=4)
    _same(array[..., :3], RGB16)
    assert np.argwhere(array[..., 3] == 0).tolist() == [[1, 2]]


# Files


@pytest.mark.parametrize("orientation", range(2, 9))
@pytest.mark.parametrize("samples", [GREY8, GREY16, RGB8, RGB16], ids=["L", "I;16", "RGB", "RGB;16"])
def test_an_orientation_is_told_and_not_applied(
    tmp_path: Path, samples: np.ndarray, orientation: int, caplog: pytest.LogCaptureFixture
) -> None:
    photometric: Any = "rgb" if samples.ndim == 3 else "minisblack"
    tifffile.imwrite(tmp_path / "a.tif", samples, photometric=photometric, extratags=[(274, 3, 1, orientation, True)])
    _same(_read(tmp_path / "a.tif")[0], samples)
    assert f"{tmp_path / 'a.tif'}: its orientation tag, {orientation}, is not applied" in caplog.text


def test_the_orientation_of_a_jpeg(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.fromarray(np.zeros((HEIGHT, WIDTH), np.uint8))
    image.save(tmp_path / "plain.jpg")
    assert _read(tmp_path / "plain.jpg")[0].shape == (HEIGHT, WIDTH)
    assert caplog.text == ""
    image.save(tmp_path / "turned.jpg", exif=exif)
    assert _read(tmp_path / "turned.jpg")[0].shape == (HEIGHT, WIDTH)
    assert "turned.jpg: its orientation tag, 6" in caplog.text


def test_several_pages_are_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.stack([GREY8, GREY8, GREY8]), photometric="minisblack")
    frames = [Image.fromarray(GREY8), Image.fromarray(GREY8 + 1)]
    frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:])
    for name, count in (("a.tif", 3), ("a.png", 2)):
        with pytest.raises(InputError, match=rf"holds several pictures \(expected 1, got {count}\)\. Export one page"):
            _read(tmp_path / name)


def test_the_previews_in_a_camera_jpeg_do_not_matter(tmp_path: Path) -> None:
    frames = [Image.fromarray(np.full((HEIGHT, WIDTH), value, np.uint8)) for value in (50, 90)]
    frames[0].save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=frames[1:])
    assert Image.open(tmp_path / "a.jpg").n_frames == 2
    assert set(_read(tmp_path / "a.jpg")[0].ravel()) == {50}


def test_a_file_is_read_by_what_it_is_and_not_by_its_name(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.png", GREY16)
    _same(_read(tmp_path / "a.png")[0], GREY16)


def _whole(path: Path) -> None:
    big = np.random.default_rng(4).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    if path.suffix == ".png":
        _write_itk(path, big.astype(np.uint16) * 257)
    else:
        Image.fromarray(big).save(path)


def _halved(path: Path) -> None:
    _whole(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _text(path: Path) -> None:
    path.write_text("this is no picture")


def _gif(path: Path) -> None:
    Image.fromarray(GREY8).save(path, format="GIF")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".bmp"])
@pytest.mark.parametrize("spoil", [_halved, _text, _gif, Path.touch])
def test_a_spoilt_picture_is_refused_in_one_line(tmp_path: Path, spoil: Any, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    _whole(path)
    reader = CaseReader(channels=3)
    assert reader.get_data(reader.read(path))[0].shape == (64, 64, 3)
    path.unlink()
    spoil(path)
    with pytest.raises(InputError, match=rf"a\{suffix}: (cannot be read|file is empty)[^\n]*$"):
        reader.get_data(reader.read(path))


@pytest.mark.parametrize(
    ("samples", "options", "message"),
    [
        (np.zeros((4, 4, 5), np.uint16), {"photometric": "minisblack", "planarconfig": "contig"}, "too many channels"),
        (np.zeros((4, 4, 4), np.uint16), {"photometric": "separated"}, "its colours are not supported"),
    ],
    ids=["five channels", "CMYK"],
)
def test_an_unusable_tiff_is_refused(tmp_path: Path, samples: np.ndarray, options: Any, message: str) -> None:
    tifffile.imwrite(tmp_path / "a.tif", samples, **options)
    with pytest.raises(InputError, match=rf"a\.tif: .*{message}"):
        _read(tmp_path / "a.tif")


def test_several_pictures_are_the_channels(tmp_path: Path) -> None:
    Image.fromarray(GREY8).save(tmp_path / "a.png")
    Image.fromarray(GREY8 + 1).save(tmp_path / "b.png")
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    image = LoadImaged("image", reader=CaseReader(channels=2), ensure_channel_first=True)({"image": paths})["image"]
    np.testing.assert_array_equal(image.numpy(), np.stack([GREY8.T, (GREY8 + 1).T]))
    Image.fromarray(GREY8[:4]).save(tmp_path / "b.png")
    with pytest.raises(InputError, match=r"b\.png: picture and its other channels differ in size"):
        _read(paths)
    _write_itk(tmp_path / "b.png", GREY16)
    with pytest.raises(InputError, match=r"b\.png: picture and its other channels differ in size or depth"):
        _read(paths)


# Labels


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp"])
def test_a_palette_mask_gives_indices_or_colours(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    _palette_image().save(path)
    _same(_read(path, label=True)[0], INDICES)
    _same(_read(path, label=True, colors=True)[0], PALETTE[INDICES])
    _same(_read(path, channels=3)[0], PALETTE[INDICES])


def test_the_indices_of_a_palette_with_transparency(tmp_path: Path) -> None:
    _palette_image().save(tmp_path / "a.png", transparency=0)
    _same(_read(tmp_path / "a.png", label=True)[0], INDICES)
    with pytest.raises(InputError, match=rf"partly transparent \(got {(INDICES == 0).sum()} pixels"):
        _read(tmp_path / "a.png", label=True, colors=True)


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_a_colour_mask_needs_a_colour_table(tmp_path: Path, mode: str) -> None:
    Image.fromarray(PALETTE[INDICES]).convert(mode).save(tmp_path / "a.png")
    _same(_read(tmp_path / "a.png", label=True, colors=True)[0], PALETTE[INDICES])
    with pytest.raises(InputError, match=r"a\.png: is a colour mask\. Name each colour .*mask_colors"):
        _read(tmp_path / "a.png", label=True)


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_a_grey_mask_may_be_stored_in_colours(tmp_path: Path, mode: str) -> None:
    Image.fromarray(INDICES).convert(mode).save(tmp_path / "a.png")
    _same(_read(tmp_path / "a.png", label=True, channels=3)[0], INDICES)


@pytest.mark.parametrize("colors", [False, True])
def test_a_partly_transparent_mask_is_refused(tmp_path: Path, colors: bool) -> None:
    samples = np.dstack([np.repeat(INDICES[..., None], 3, -1), np.full_like(INDICES, 255)])
    samples[2, 3, 3] = 254
    Image.fromarray(samples).save(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"a\.png: mask is partly transparent \(got 1 pixels"):
        _read(tmp_path / "a.png", label=True, colors=colors)


def test_a_bilevel_and_a_16_bit_mask(tmp_path: Path) -> None:
    for name in ("a.png", "a.bmp", "a.tif"):
        Image.fromarray(INDICES > 0).save(tmp_path / name)
        np.testing.assert_array_equal(_read(tmp_path / name, label=True)[0], INDICES > 0)
    _write_itk(tmp_path / "b.png", INDICES.astype(np.uint16) * 300)
    _same(_read(tmp_path / "b.png", label=True)[0], INDICES.astype(np.uint16) * 300)


# Real data


def test_real_ultrasound_has_palette_masks_and_images_of_two_modes(shared_data: Path) -> None:
    folder = shared_data / "USGRA_NerveVessel"
    modes = set()
    for path in sorted((folder / "images").iterdir())[:40:3]:
        with Image.open(path) as image:
            modes.add(image.mode)
            _same(_read(path, channels=1)[0], np.asarray(image.convert("L")))
        labels, _ = _read(folder / "masks" / path.name, label=True)
        with Image.open(folder / "masks" / path.name) as mask:
            colours = np.asarray(mask.convert("RGB")).reshape(-1, 3)
        assert set(np.unique(labels)) <= {0, 1, 2}
        assert len(np.unique(labels)) == len(np.unique(colours, axis=0))
    assert modes == {"L", "RGB"}
