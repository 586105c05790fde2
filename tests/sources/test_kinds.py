"""What a file is: as the libraries that wrote it say, whatever it is called."""

from __future__ import annotations

import gzip
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from PIL import Image

from pipeline.data.phantoms import make_phantom, write_phantom_dicom
from pipeline.sources.kinds import describe, is_image, kind_of

VOLUME = np.arange(60, dtype=np.int16).reshape(3, 4, 5)


def _nibabel(kind: type, *, order: str = "<") -> Callable[[Path], None]:
    def write(path: Path) -> None:
        header = kind.header_class(endianness=order) if kind is not nib.MGHImage else None
        nib.save(kind(VOLUME.astype(np.int16), np.eye(4), header=header), path)

    return write


def _sitk(path: Path) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(VOLUME), str(path))


def _pillow(path: Path) -> None:
    Image.fromarray(VOLUME[0].astype(np.uint8)).save(path)


WRITERS: dict[str, tuple[str, Callable[[Path], None], str]] = {
    "NIfTI-1": (".nii", _nibabel(nib.Nifti1Image), "NIfTI"),
    "NIfTI-1 gz": (".nii.gz", _nibabel(nib.Nifti1Image), "NIfTI"),
    "NIfTI-1 big endian": (".nii", _nibabel(nib.Nifti1Image, order=">"), "NIfTI"),
    "NIfTI-1 pair": (".hdr", _nibabel(nib.Nifti1Pair), "NIfTI"),
    "NIfTI-2": (".nii", _nibabel(nib.Nifti2Image), "NIfTI"),
    "NIfTI-2 big endian gz": (".nii.gz", _nibabel(nib.Nifti2Image, order=">"), "NIfTI"),
    "Analyze": (".hdr", _nibabel(nib.AnalyzeImage), "Analyze"),
    "MGH": (".mgh", _nibabel(nib.MGHImage), "MGH"),
    "MGZ": (".mgz", _nibabel(nib.MGHImage), "MGH"),
    "NRRD": (".nrrd", _sitk, "NRRD"),
    "NHDR": (".nhdr", _sitk, "NRRD"),
    "MHA": (".mha", _sitk, "MetaImage"),
    "MHD": (".mhd", _sitk, "MetaImage"),
    **{suffix: (suffix, _pillow, kind) for suffix, kind in [(".png", "PNG"), (".jpg", "JPEG"), (".jpeg", "JPEG"),
       (".tif", "TIFF"), (".tiff", "TIFF"), (".bmp", "BMP")]},
}  # fmt: skip


@pytest.mark.parametrize("name", WRITERS)
def test_content_tells_a_format_whatever_the_file_is_called(name: str, tmp_path: Path) -> None:
    suffix, write, kind = WRITERS[name]
    path = tmp_path / f"written{suffix}"
    write(path)
    assert kind_of(path) == kind
    for other in ("no suffix", "wrong.png", "wrong.nii.gz", "wrong.dcm", "scan.txt"):
        shutil.copy(path, tmp_path / other)
        assert kind_of(tmp_path / other) == kind


def test_dicom_with_and_without_a_preamble(tmp_path: Path) -> None:
    folder = write_phantom_dicom(make_phantom(1, shape=(8, 8, 3)), tmp_path / "series")
    whole = next(folder.iterdir())
    bare = tmp_path / "bare"
    bare.write_bytes(whole.read_bytes()[132:])
    shutil.copy(whole, tmp_path / "image.png")
    assert [kind_of(path) for path in (whole, bare, tmp_path / "image.png")] == ["DICOM"] * 3
    assert not is_image(tmp_path / "image.png")


@pytest.mark.parametrize(
    ("name", "kind"),
    [("a.nii.gz", "NIfTI"), ("a.NII", "NIfTI"), ("b.mha", "MetaImage"), ("c.png", "PNG"), ("d.dcm", "DICOM")],
)
def test_a_damaged_file_is_what_its_name_promises(name: str, kind: str, tmp_path: Path) -> None:
    for content in (b"", b"no image", gzip.compress(b"no image"), gzip.compress(b"\0" * 999)[:20]):
        (tmp_path / name).write_bytes(content)
        assert kind_of(tmp_path / name) == kind


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("notes.txt", b"Comment = none of ours", ".txt file"),
        ("README", b"", "file without a suffix"),
        ("movie.264", b"\0\0\0\1gB\xc0\x0d" + bytes(range(64)), ".264 file"),
        ("numbers.bin", b"\2\0\0\0\xff\xff\xff\xff" + bytes(200), ".bin file"),
        ("GIF.gif", b"GIF89a" + bytes(99), ".gif file"),
        ("list.json", b"{}", ".json file"),
    ],
)
def test_other_files_are_no_image_and_named_by_their_suffix(
    name: str, content: bytes, words: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    assert kind_of(tmp_path / name) is None
    assert describe(tmp_path / name) == words


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no FIFOs here")
def test_what_is_no_file_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.nii.gz")  # to open it would wait for ever
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket.png"))
        for path in (tmp_path / "pipe.nii.gz", tmp_path / "socket.png", Path(os.devnull), tmp_path):
            assert kind_of(path) is None
        assert describe(tmp_path / "socket.png") == "FIFO, socket or device"


def test_a_file_that_changes_is_looked_at_again(tmp_path: Path) -> None:
    path = tmp_path / "image"
    path.write_bytes(b"nothing")
    assert kind_of(path) is None
    Image.new("L", (3, 2)).save(path, format="PNG")
    assert kind_of(path) == "PNG"
