"""Damage is noticed, whatever the format: checksums, lengths, sizes that no memory holds."""

from __future__ import annotations

import gzip
import struct
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from PIL import Image

from pipeline import memory
from pipeline.errors import InputError
from pipeline.sources import CaseReader

VALUES = np.random.default_rng(3).integers(0, 99, (12, 10, 8)).astype(np.int16)


def _read(path: Path, *, compact: bool = True) -> np.ndarray:
    reader = CaseReader(compact=compact)
    array, _ = reader.get_data(reader.read(path))
    return np.asarray(array)


def _refused(path: Path) -> str:
    for compact in (True, False):
        with pytest.raises(InputError) as caught:
            _read(path, compact=compact)
        assert "\n" not in str(caught.value)
        assert str(path) in str(caught.value)
    return str(caught.value)


def _volume(path: Path) -> Path:
    if path.name.endswith((".nii.gz", ".mgz")):
        nib.save((nib.MGHImage if path.suffix == ".mgz" else nib.Nifti1Image)(VALUES, np.eye(4)), path)
    else:
        sitk.WriteImage(sitk.GetImageFromArray(VALUES.T), str(path), useCompression=True)
    return path


def _wrong_checksum(content: bytes) -> bytes:
    return content[:-8] + bytes(byte ^ 0xFF for byte in content[-8:-4]) + content[-4:]


def _wrong_length(content: bytes) -> bytes:
    return content[:-4] + struct.pack("<I", int.from_bytes(content[-4:], "little") + 1)


def _no_trailer(content: bytes) -> bytes:
    return content[:-8]


@pytest.mark.parametrize("change", [_wrong_checksum, _wrong_length, _no_trailer, lambda content: content[:-1]])
@pytest.mark.parametrize("name", ["a.nii.gz", "a.mgz", "a.nrrd"])
def test_a_gzip_stream_with_a_wrong_end(name: str, change: Callable[[bytes], bytes], tmp_path: Path) -> None:
    path = _volume(tmp_path / name)
    np.testing.assert_array_equal(_read(path), VALUES)
    path.write_bytes(change(path.read_bytes()))
    assert "cannot be read" in _refused(path)


@pytest.mark.parametrize("name", ["a.nii.gz", "a.mgz", "a.nrrd", "a.mha"])
def test_a_flipped_bit_in_compressed_voxels(name: str, tmp_path: Path) -> None:
    path = _volume(tmp_path / name)
    content = path.read_bytes()
    start = len(content) // 3  # the headers of NRRD and MetaImage are text
    for place in np.linspace(start + 60, len(content) - 9, 12).astype(int):
        changed = bytearray(content)
        changed[place] ^= 0x10
        path.write_bytes(bytes(changed))
        assert "cannot be read" in _refused(path)


def test_members_of_a_gzip_file_one_behind_another_are_sound(tmp_path: Path) -> None:
    path = _volume(tmp_path / "a.nii.gz")
    content = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(content[:500]) + gzip.compress(content[500:]))
    np.testing.assert_array_equal(_read(path), VALUES)


def test_a_nifti_header_of_no_size(tmp_path: Path) -> None:
    path = tmp_path / "a.nii"
    nib.save(nib.Nifti1Image(VALUES, np.eye(4)), path)
    path.write_bytes(bytes(4) + path.read_bytes()[4:])
    _refused(path)


def _png(path: Path) -> list[tuple[bytes, bytes]]:
    """A PNG of several IDAT chunks, as chunks."""
    pixels = np.random.default_rng(1).integers(0, 255, (40, 50), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    content, chunks, at = path.read_bytes(), [], 8
    while at < len(content):
        length, name = struct.unpack(">I4s", content[at : at + 8])
        chunks.append((name, content[at + 8 : at + 8 + length]))
        at += length + 12
    return chunks


def _write_png(path: Path, chunks: list[tuple[bytes, bytes]]) -> None:
    parts = [
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    ]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


def test_a_png_with_a_wrong_checksum(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    _png(path)
    content = path.read_bytes()
    at = content.index(b"IDAT")
    length = int.from_bytes(content[at - 4 : at], "big")
    changed = bytearray(content)
    changed[at + 4 + length] ^= 1
    path.write_bytes(bytes(changed))
    assert "checksum of its chunk IDAT" in _refused(path)


def test_a_png_with_half_its_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    chunks = _png(path)
    rows = zlib.decompress(b"".join(data for name, data in chunks if name == b"IDAT"))
    half = [(name, data) for name, data in chunks if name != b"IDAT"]
    half.insert(1, (b"IDAT", zlib.compress(rows[: len(rows) // 2])))
    _write_png(path, half)
    _refused(path)


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGB", "RGBA", "I;16"])
@pytest.mark.parametrize("size", [(1, 1), (7, 5), (33, 9)])
def test_sound_pngs_are_read(mode: str, size: tuple[int, int], tmp_path: Path) -> None:
    Image.new(mode, size).save(tmp_path / "a.png")
    assert _read(tmp_path / "a.png", compact=False).shape[:2] == size


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tif"])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_a_cut_off_picture(suffix: str, share: float, tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).integers(0, 255, (90, 80), dtype=np.uint8)
    path = tmp_path / f"a{suffix}"
    Image.fromarray(pixels).save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    _refused(path)


def _claims(path: Path, size: int) -> None:
    """A small file whose header claims a cube of that size."""
    if path.name.endswith(".nii.gz"):
        header = nib.Nifti1Header()
        header.set_data_shape((8, 8, 8))
        header["dim"][1:4] = size
        header["datatype"], header["bitpix"], header["magic"], header["vox_offset"] = 4, 16, b"n+1", 352
        path.write_bytes(gzip.compress(header.binaryblock + bytes(4) + bytes(2**16)))
    elif path.suffix == ".nrrd":
        text = f"NRRD0004\ntype: short\ndimension: 3\nsizes: {size} {size} {size}\nencoding: gzip\nendian: little\n\n"
        path.write_bytes(text.encode() + gzip.compress(bytes(2**16)))
    elif path.suffix == ".mha":
        text = f"ObjectType = Image\nNDims = 3\nDimSize = {size} {size} {size}\nElementType = MET_SHORT\n"
        path.write_bytes(f"{text}ElementDataFile = LOCAL\n".encode() + bytes(2**16))
    else:
        head = struct.pack(">IIBBBBB", size, size, 8, 0, 0, 0, 0)
        _write_png(path, [(b"IHDR", head), (b"IDAT", zlib.compress(bytes(2**16))), (b"IEND", b"")])


@pytest.mark.parametrize(("name", "size"), [("a.nii.gz", 20000), ("a.nrrd", 20000), ("a.mha", 20000), ("a.png", 60000)])
def test_a_size_that_no_memory_holds_is_refused_at_once(name: str, size: int, tmp_path: Path) -> None:
    _claims(tmp_path / name, size)
    began = time.perf_counter()
    _refused(tmp_path / name)
    assert time.perf_counter() - began < 20


def test_what_is_larger_than_the_free_memory_says_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.nii"
    nib.save(nib.Nifti1Image(np.zeros((10, 10, 10), np.int16), np.eye(4)), path)
    monkeypatch.setattr(memory, "available_bytes", lambda: 1000.0)
    monkeypatch.setattr(memory, "_ALWAYS_BYTES", 100)
    assert "is larger than the memory, by its header" in _refused(path)
