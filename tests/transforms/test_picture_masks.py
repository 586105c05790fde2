from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from monai.data import MetaTensor
from PIL import ExifTags, Image

from pipeline.dicom import Segment
from pipeline.errors import InputError
from pipeline.transforms import SaveSegmentationd
from pipeline.transforms.picture_masks import label_colors, write_index_png, write_overlay_png

RED, GREEN = (200, 0, 0), (0, 100, 50)
COLORS, NAMES = {1: RED, 7: GREEN}, {1: "one", 7: "seven"}
STRIP = (24, 24, 24)


def _segment(value: int, color: tuple[int, int, int] | None = None) -> Segment:
    code = ("123037004", "SCT", "Anatomical Structure")
    return Segment(value=value, name=str(value), category=code, property_type=code, color=color)


def _overlay(folder: Path, picture: Image.Image, labels: np.ndarray, suffix: str = ".png") -> np.ndarray:
    """The overlay of a picture, shape (height, width, 3), with its strip."""
    picture.save(folder / f"in{suffix}")
    write_overlay_png(labels, folder / "out.png", picture=folder / f"in{suffix}", colors=COLORS, names=NAMES)
    with Image.open(folder / "out.png") as image:
        assert image.mode == "RGB"
        return np.asarray(image)


def _strip(folder: Path, labels: np.ndarray) -> np.ndarray:
    return _overlay(folder, Image.new("L", labels.shape, 100), labels)[labels.shape[1] :]


def test_labels_without_a_color_get_okabe_and_itos_in_turn() -> None:
    colors = label_colors([_segment(value, RED if value == 2 else None) for value in range(1, 10)])
    # Okabe & Ito 2008, as hexadecimal codes.
    codes = ["E69F00", "C80000", "009E73", "F0E442", "0072B2", "D55E00", "CC79A7", "E69F00", "56B4E9"]
    assert ["{:02X}{:02X}{:02X}".format(*colors[value]) for value in range(1, 10)] == codes


def test_a_pixel_of_an_index_png_is_its_label_and_shows_its_color(tmp_path: Path) -> None:
    labels = np.random.default_rng(0).choice([0, 1, 7], size=(13, 6))
    write_index_png(labels, tmp_path / "mask.png", COLORS)
    header = (tmp_path / "mask.png").read_bytes()[:26]
    assert (header[24], header[25]) == (8, 3)  # PNG's IHDR: bit depth 8, colour type 3
    image = Image.open(tmp_path / "mask.png")
    assert image.size == (13, 6)
    np.testing.assert_array_equal(np.asarray(image), labels.T)
    shown = np.asarray(image.convert("RGB"))
    for value, color in {0: (0, 0, 0), **COLORS}.items():
        assert (shown[value == labels.T] == color).all()
    assert sum(image.getpalette()) == sum(RED) + sum(GREEN)  # all else is black


def test_an_overlay_blends_inside_outlines_at_the_edge_and_leaves_the_rest(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (400, 500, 3), dtype=np.uint8)
    labels = np.zeros((500, 400), np.uint8)
    labels[100:200, 50:150] = 1
    labels[200:300, 50:150] = 7
    labels[450:, 350:] = 1  # in the corner, whose sides are no outline
    seen = _overlay(tmp_path, Image.fromarray(pixels), labels)[:400]
    rows = labels.T
    np.testing.assert_array_equal(seen[rows == 0], pixels[rows == 0])
    for color, (top, left) in ((RED, (50, 100)), (GREEN, (50, 200))):
        box = seen[top : top + 100, left : left + 100]
        inside = np.zeros((100, 100), bool)
        inside[2:-2, 2:-2] = True
        assert (box[~inside] == color).all()
        blended = 0.6 * pixels[top : top + 100, left : left + 100] + 0.4 * np.array(color)
        assert np.abs(box[inside] - blended[inside]).max() <= 0.5
    corner = 0.6 * pixels[352:, 452:] + 0.4 * np.array(RED)
    assert np.abs(seen[352:, 452:] - corner).max() <= 0.5


def test_the_outline_of_a_big_picture_is_thicker(tmp_path: Path) -> None:
    labels = np.zeros((2000, 2000), np.uint8)
    labels[500:1500, 500:1500] = 1
    seen = _overlay(tmp_path, Image.new("L", (2000, 2000)), labels)[1000, :1000]
    assert (seen == RED).all(axis=-1).sum() == 2000 / 400


@pytest.mark.parametrize(("size", "factor"), [((128, 100), 3), ((384, 20), 1), ((383, 20), 2), ((1, 40), 10)], ids=str)
def test_a_small_picture_is_enlarged_by_a_whole_factor(tmp_path: Path, size: tuple[int, int], factor: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, size[::-1], dtype=np.uint8)
    seen = _overlay(tmp_path, Image.fromarray(pixels), np.zeros(size, np.uint8))
    left = (seen.shape[1] - factor * size[0]) // 2  # a narrow picture has margins beside it
    enlarged = np.kron(pixels, np.ones((factor, factor), np.uint8))
    shown = seen[: factor * size[1], left : left + factor * size[0]]
    np.testing.assert_array_equal(shown, np.stack([enlarged] * 3, axis=-1))
    assert (seen[: factor * size[1], :left] == STRIP).all()


@pytest.mark.parametrize(("dtype", "suffix"), [(np.uint16, ".png"), (np.int32, ".tif"), (np.float32, ".tif")])
def test_deep_pictures_are_shown_between_their_percentiles(tmp_path: Path, dtype: type, suffix: str) -> None:
    values = np.arange(1000, 1000 + 400 * 400).reshape(400, 400)
    values = (values // 8 if dtype is np.uint16 else values).astype(dtype)
    seen = _overlay(tmp_path, Image.fromarray(values), np.zeros((400, 400), np.uint8), suffix)[:400]
    assert (seen.reshape(-1, 3)[: 160_000 // 200 - 8] == 0).all()
    assert (seen.reshape(-1, 3)[-160_000 // 200 + 8 :] == 255).all()
    assert np.abs(seen[200].astype(float) - 127.5).max() < 2


def test_the_channels_of_a_deep_picture_share_one_window(tmp_path: Path) -> None:
    values = np.zeros((400, 400, 3), np.uint16)
    values[:, :200] = 10_000, 20_000, 50_000
    tifffile.imwrite(tmp_path / "in.tif", values, photometric="rgb")
    labels = np.zeros((400, 400), np.uint8)
    write_overlay_png(labels, tmp_path / "out.png", picture=tmp_path / "in.tif", colors=COLORS, names=NAMES)
    seen = np.asarray(Image.open(tmp_path / "out.png"))[:400]
    assert (seen[:, :200] == (51, 102, 255)).all()
    assert (seen[:, 200:] == 0).all()


@pytest.mark.parametrize(("suffix", "options"), [(".jpg", {}), (".tif", {"compression": "tiff_lzw"})])
def test_the_pixels_lie_as_stored_like_the_mask_whatever_the_orientation_says(
    tmp_path: Path, suffix: str, options: dict[str, str]
) -> None:
    picture = Image.new("L", (500, 400))
    picture.paste(255, (0, 0, 500, 48))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6  # a viewer turns it by 90 degrees
    picture.save(tmp_path / f"in{suffix}", exif=exif, **options)
    labels = np.zeros((500, 400), np.uint8)
    write_overlay_png(labels, tmp_path / "out.png", picture=tmp_path / f"in{suffix}", colors=COLORS, names=NAMES)
    seen = np.asarray(Image.open(tmp_path / "out.png"))[:400]
    assert seen[:48].min() > 250
    assert seen[48:].max() < 5


def test_one_bright_pixel_or_none_in_a_deep_picture_is_no_obstacle(tmp_path: Path) -> None:
    values = np.full((400, 400), 500, np.uint16)
    labels = np.zeros((400, 400), np.uint8)
    assert (_overlay(tmp_path, Image.fromarray(values), labels)[:400] == 0).all()
    values[3, 5] = 900
    seen = _overlay(tmp_path, Image.fromarray(values), labels)[:400]
    assert np.argwhere(seen[..., 0]).tolist() == [[3, 5]]
    assert seen[3, 5].tolist() == [255, 255, 255]
    gaps = np.where(np.indices((400, 400))[1] < 200, 1.0, 3.0).astype(np.float32)
    gaps[0, :3] = np.nan, np.inf, -np.inf
    seen = _overlay(tmp_path, Image.fromarray(gaps), labels, ".tif")[:400, :, 0]
    assert seen[0, :3].tolist() == [0, 255, 0]
    assert (seen[:, 200:] == 255).all()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
def test_pictures_of_every_kind_of_8_bit_are_shown_as_they_are(tmp_path: Path, mode: str) -> None:
    picture = Image.new("RGB", (400, 400), (255, 255, 255))
    picture.paste((0, 0, 0), (0, 0, 200, 400))
    seen = _overlay(tmp_path, picture.convert(mode), np.zeros((400, 400), np.uint8), ".tif")[:400]
    assert (seen[:, :200] == 0).all()
    assert (seen[:, 200:] == 255).all()


def test_the_legend_names_only_what_was_found(tmp_path: Path) -> None:
    labels = np.zeros((400, 400), np.uint8)
    empty = _strip(tmp_path, labels)
    assert (empty > 200).any()  # light letters
    assert empty.max(axis=-1).tolist() == empty.min(axis=-1).tolist()  # no swatch: all is grey
    labels[:9, :9] = 7
    seven = _strip(tmp_path, labels)
    labels[20:29, :9] = 1
    both = _strip(tmp_path, labels)
    found = [[int((strip == color).all(axis=-1).sum()) for color in (RED, GREEN)] for strip in (seven, both)]
    swatch = found[0][1]
    assert found == [[0, swatch], [swatch, swatch]]
    assert swatch > 100
    assert (both > 200).sum() > (seven > 200).sum()


@pytest.mark.parametrize(("width", "height"), [(40, 400), (128, 128), (1000, 1000), (3000, 100)])
def test_long_legends_are_wrapped_and_cut_nowhere(tmp_path: Path, width: int, height: int) -> None:
    values = range(1, 21)
    colors = {value: (255, 10 * value, 0) for value in values}
    labels = np.zeros((width, height), np.uint8)
    labels[: len(values)] = np.array(values)[:, None]
    Image.new("L", (width, height)).save(tmp_path / "in.png")
    names = {value: f"label {value}\nof " + "W" * 40 for value in values}
    write_overlay_png(labels, tmp_path / "out.png", picture=tmp_path / "in.png", colors=colors, names=names)
    seen = np.asarray(Image.open(tmp_path / "out.png"))
    strip = seen[height * -(-384 // max(width, height)) :]
    for border in (strip[:5], strip[-5:], strip[:, :10], strip[:, -10:]):
        assert (border == STRIP).all()
    swatches = [(strip == color).all(axis=-1) for color in colors.values()]
    assert len({int(swatch.sum()) for swatch in swatches} - {0}) == 1  # all of one size, and each is there
    assert all(swatch.any() for swatch in swatches)


def test_labels_that_nothing_describes_are_refused(tmp_path: Path) -> None:
    labels = np.full((4, 4), 3, np.uint8)
    with pytest.raises(InputError, match=r"x\.png: labels that no segment describes \(expected 0 or one of \[1, 7\], "):
        write_index_png(labels, tmp_path / "x.png", COLORS)
    with pytest.raises(InputError, match=r"no segment describes .*got \[3\]"):
        _overlay(tmp_path, Image.new("L", (4, 4)), labels)
    assert [path.name for path in tmp_path.iterdir()] == ["in.png"]


def test_a_picture_that_is_gone_or_another_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"in\.png: picture and mask differ in size \(expected \(4, 6\), got \(6, 4\)\)"
    ):
        _overlay(tmp_path, Image.new("L", (6, 4)), np.zeros((4, 6), np.uint8))
    (tmp_path / "in.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"in\.png: cannot be read") as caught:
        write_overlay_png(
            np.zeros((4, 6), np.uint8), tmp_path / "out.png", picture=tmp_path / "in.png", colors=COLORS, names=NAMES
        )
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out.png").exists()


def test_another_cases_files_are_spared(tmp_path: Path) -> None:
    for name in ("a.png", "a_overlay.png", "b.png"):
        Image.fromarray(np.arange(600, dtype=np.uint8).reshape(20, 30)).save(tmp_path / name)
    cases = [{"image": tmp_path / f"{name}.png", "name": name} for name in ("a", "a_overlay", "b")]
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    segments = [
        {
            "value": 1,
            "name": "disc",
            "category": ["123037004", "SCT", "Anatomical Structure"],
            "property_type": ["123037004", "SCT", "Anatomical Structure"],
        }
    ]
    save = SaveSegmentationd(
        ["pred"], output_dir=tmp_path / "out", segments=segments, algorithm="test", version="1", cases=cases
    )

    def case(name: str) -> dict[str, object]:
        meta = {"filename_or_obj": str(tmp_path / f"{name}.png"), "spatial_shape": (30, 20)}
        image = MetaTensor(torch.zeros(1, 30, 20), meta=meta)
        return {"image": image, "name": name, "pred": torch.zeros(1, 30, 20)}

    save(case("b"))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["b.png", "b_overlay.png"]
    with pytest.raises(InputError, match=r"a\.png: the overlay would take the name of another case's mask"):
        save(case("a"))
    save.inputs.add(tmp_path / "out" / "c_overlay.png")
    Image.new("L", (30, 20)).save(tmp_path / "c.png")
    with pytest.raises(InputError, match=r"c_overlay\.png: the mask would replace an input"):
        save(case("c"))
    assert {name: (tmp_path / name).read_bytes() for name in before} == before
