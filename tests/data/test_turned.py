"""Images that their header turns, under masks that are not: in each format, and quickly."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.data.turned import check_turned
from pipeline.errors import InputError


def _exif(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[274] = orientation
    return exif.tobytes()


def _save(path: Path, orientation: int | None, *, late: bool = False) -> str:
    picture = Image.fromarray(np.arange(48, dtype=np.uint8).reshape(6, 8))
    tag: dict[str, Any] = {} if orientation is None or late else {"exif": _exif(orientation)}
    if path.suffix == ".tif":
        tag = {} if orientation is None else {"tiffinfo": {274: orientation}}
    picture.save(path, **tag)
    if late and orientation is not None:  # a chunk after the pixels, as ImageMagick writes it
        content = _exif(orientation).removeprefix(b"Exif\0\0")
        chunk = b"eXIf" + content
        chunk = struct.pack(">I", len(content)) + chunk + struct.pack(">I", zlib.crc32(chunk))
        end = path.read_bytes()
        path.write_bytes(end[:-12] + chunk + end[-12:])
    return str(path)


@pytest.mark.parametrize(("suffix", "late"), [(".jpg", False), (".png", False), (".png", True), (".tif", False)])
@pytest.mark.parametrize("orientation", range(2, 9))
def test_a_turned_image_under_an_upright_mask_is_refused(
    suffix: str, orientation: int, late: bool, tmp_path: Path
) -> None:
    image, mask = _save(tmp_path / f"a{suffix}", orientation, late=late), _save(tmp_path / "m.png", None)
    upright = _save(tmp_path / f"b{suffix}", None)
    cases = [{"image": image, "label": mask}, {"image": upright, "label": mask}]
    with pytest.raises(InputError, match=rf"1 of 2 images are turned .*expected 1, as its mask, got {orientation}"):
        check_turned(cases)


def test_what_is_turned_alike_is_taken(tmp_path: Path) -> None:
    image, mask = _save(tmp_path / "a.jpg", 6), _save(tmp_path / "m.png", 6)
    plain, one = _save(tmp_path / "b.png", None), _save(tmp_path / "c.jpg", 1)
    with pytest.raises(InputError, match=r"a\.jpg: 1 of 1 images are turned"):
        check_turned([{"image": [plain, image], "label": plain}])
    check_turned([{"image": image, "label": mask}, {"image": plain, "label": one}, {"image": one, "label": 3}])


def test_pixels_are_not_decoded_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _save(tmp_path / "a.png", None)
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("decoded"))
    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load_prepare", lambda self: pytest.fail("decoded"))
    check_turned([{"image": path, "label": path}])
