"""Alterations of how the pixels are encoded, and damage to a file."""

from __future__ import annotations

import copy
import struct

import numpy as np
from dicom_altered.jpeg_lossless import encode
from dicom_altered.kind import add, kind, same
from dicom_altered.slices import pixels, save, set_pixels, stack
from pydicom import uid as syntaxes
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate

SHORT = r"(?i)truncated|too short|bytes of pixel data|pixel data"


# Encodings: ``write`` re-encodes what the truth was taken from.


def encoded(syntax, *, implicit=False, little=True):
    """Write each slice by another native transfer syntax."""

    def write(slices, folder):
        for number, dataset in enumerate(slices):
            fresh = Dataset({element.tag: copy.deepcopy(element) for element in dataset})
            fresh.file_meta = copy.deepcopy(dataset.file_meta)
            fresh.file_meta.TransferSyntaxUID = syntax
            if not little:
                fresh.PixelData = np.frombuffer(fresh.PixelData, "<u2").astype(">u2").tobytes()
            save(fresh, folder / f"{number}.dcm", implicit_vr=implicit, little_endian=little)

    return write


def compressed(syntax):
    """Write each slice compressed without loss; an encoder that is not installed is an error."""

    def write(slices, folder):
        for number, dataset in enumerate(copy.deepcopy(slices)):
            dataset.compress(syntax, generate_instance_uid=False)
            save(dataset, folder / f"{number}.dcm")

    return write


def jpeg_lossless(slices, folder):
    """Write each slice as JPEG lossless with selection value 1."""
    for number, dataset in enumerate(copy.deepcopy(slices)):
        dataset.PixelData = encapsulate([encode(pixels(dataset), dataset.BitsStored)])
        dataset["PixelData"].VR = "OB"
        dataset["PixelData"].is_undefined_length = True
        dataset.file_meta.TransferSyntaxUID = syntaxes.JPEGLosslessSV1
        save(dataset, folder / f"{number}.dcm")


def below_zero(slices):
    for dataset in slices:
        set_pixels(dataset, pixels(dataset).astype(np.int64) - 1024, signed=True)
        dataset.RescaleIntercept = "0"


def unsigned_12(slices):
    for dataset in slices:
        set_pixels(dataset, pixels(dataset), stored=12)


add(
    "implicit_vr",
    "implicit VR little endian",
    same,
    write=encoded(syntaxes.ImplicitVRLittleEndian, implicit=True),
)
add(
    "big_endian",
    "explicit VR big endian (retired)",
    same,
    write=encoded(syntaxes.ExplicitVRBigEndian, little=False),
)
add(
    "deflated",
    "deflated explicit VR little endian",
    same,
    write=encoded(syntaxes.DeflatedExplicitVRLittleEndian),
)
add("rle", "RLE lossless", same, write=compressed(syntaxes.RLELossless))
add(
    "jpeg_2000",
    "JPEG 2000 without loss, 12 bits",
    unsigned_12,
    source=lambda: stack(rows=36, columns=40),
    write=compressed(syntaxes.JPEG2000Lossless),
)
add(
    "jpeg_2000_signed",
    "JPEG 2000 without loss, signed",
    same,
    source=lambda: stack(rows=36, columns=40),
    write=compressed(syntaxes.JPEG2000Lossless),
)
add("jpeg_lossless", "JPEG lossless (process 14, selection value 1), 12 bits", unsigned_12, write=jpeg_lossless)
add("jpeg_lossless_signed", "JPEG lossless, signed", below_zero, write=jpeg_lossless)
add("jpeg_ls", "JPEG-LS without loss, 12 bits", unsigned_12, write=compressed(syntaxes.JPEGLSLossless))
add("jpeg_ls_signed", "JPEG-LS without loss, signed", same, write=compressed(syntaxes.JPEGLSLossless))


def half_rle(slices, folder):
    """Write every other slice as RLE and the others natively."""
    compressed(syntaxes.RLELossless)(slices[::2], folder / "rle")
    encoded(syntaxes.ImplicitVRLittleEndian, implicit=True)(slices[1::2], folder)


add("mixed_encodings", "RLE and native slices in turn, in two folders", same, write=half_rle)


def without_preamble(folder):
    for path in folder.iterdir():
        path.write_bytes(path.read_bytes()[132:])


def without_meta(slices, folder):
    """Write only the data set, as archives before PS3.10 did."""
    for number, dataset in enumerate(slices):
        bare = Dataset({element.tag: element for element in dataset})
        bare.save_as(folder / f"{number}.dcm", implicit_vr=True, little_endian=True, enforce_file_format=False)


add("preamble_missing", "files without preamble and prefix", same, after=without_preamble)
add("meta_missing", "files without preamble and file meta information", same, write=without_meta)


# Damage to one file of the series.


def cut(length):
    def after(folder):
        path = sorted(folder.iterdir())[4]
        path.write_bytes(path.read_bytes()[:length])

    return after


add("truncated_pixels", "one file ends within its pixels", same, after=cut(-300), refuse=SHORT)
add("truncated_by_one_byte", "one file lacks its last byte", same, after=cut(-1), refuse=SHORT)
add(
    "truncated_header",
    "one file ends within its header",
    same,
    after=cut(500),
    refuse=r"(?i)truncated|cannot be read|no pixel data",
)
add(
    "truncated_preamble",
    "one file ends within its preamble",
    same,
    after=cut(100),
    refuse=r"(?i)truncated|not DICOM|cannot be read",
)
add("empty_file", "one file is empty", same, after=cut(0), refuse=r"(?i)\bempty\b")


@kind("PixelData of one slice shorter than its size says", refuse=SHORT)
def short_pixels(slices):
    slices[4].PixelData = slices[4].PixelData[:-100]


def with_padding(slices, folder):
    for number, dataset in enumerate(slices):
        padded = copy.deepcopy(dataset)
        padded.PixelData = dataset.PixelData + bytes(64)
        save(padded, folder / f"{number}.dcm")


@kind("PixelData of one slice with 64 bytes of padding at its end", write=with_padding)
def long_pixels(slices):
    pass


@kind("no PixelData in one slice", refuse=r"(?i)no pixel data|PixelData")
def no_pixels_in_one(slices):
    del slices[4].PixelData


@kind("no PixelData in any slice", refuse=r"(?i)no pixel data|PixelData|no DICOM image")
def no_pixels(slices):
    for dataset in slices:
        del dataset.PixelData


@kind(
    "damaged RLE data in one slice",
    write=compressed(syntaxes.RLELossless),
    after=cut(-200),
    refuse=r"(?i)decoded|truncated|pixel data|cannot be read",
)
def rle_damaged(slices):
    pass


@kind("Rows 0", refuse=r"(?i)no size|rows|size")
def no_rows(slices):
    for dataset in slices:
        dataset.Rows = 0


def shrink_length(folder):
    """Let the header of one file's PixelData promise 100 bytes."""
    path = sorted(folder.iterdir())[4]
    content = path.read_bytes()
    tag = struct.pack("<HH2sH", 0x7FE0, 0x0010, b"OW", 0)
    at = content.rindex(tag) + len(tag)
    path.write_bytes(content[:at] + struct.pack("<L", 100) + content[at + 4 :])


add(
    "length_field_wrong",
    "PixelData of one slice whose length field says 100 bytes",
    same,
    after=shrink_length,
    refuse=SHORT,
)
