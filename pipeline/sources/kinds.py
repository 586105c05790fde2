"""What a file is, told once, from its content; where that says nothing, from what its name promises."""

from __future__ import annotations

import os
import stat
import zlib
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Literal

from pipeline.dicom.datasets import read_dataset
from pipeline.dicom.elements import text
from pipeline.dicom.reading.headers import read_header
from pipeline.dicom.reading.preamble import begins_dicom, promises_dicom
from pipeline.dicom.sop_classes import LABELS, kind_name
from pipeline.errors import InputError

__all__ = [
    "IMAGE_SUFFIXES",
    "PICTURE_KINDS",
    "VOLUME_KINDS",
    "Kind",
    "describe",
    "dicom_pictures",
    "dicom_shows",
    "holds_image",
    "is_dicom",
    "is_image",
    "is_label_object",
    "is_picture",
    "kind_of",
    "label_file",
    "promised_kind",
    "strip_suffix",
    "visible",
]

Kind = Literal["DICOM", "NIfTI", "Analyze", "MGH", "NRRD", "MetaImage", "PNG", "JPEG", "TIFF", "BMP"]

_SUFFIXES: dict[Kind, tuple[str, ...]] = {
    "NIfTI": (".nii.gz", ".nii", ".hdr"),
    "MGH": (".mgz", ".mgh"),
    "NRRD": (".nrrd", ".nhdr"),
    "MetaImage": (".mha", ".mhd"),
    "PNG": (".png",),
    "JPEG": (".jpg", ".jpeg"),
    "TIFF": (".tif", ".tiff"),
    "BMP": (".bmp",),
}
VOLUME_KINDS: tuple[Kind, ...] = ("NIfTI", "Analyze", "MGH", "NRRD", "MetaImage")
PICTURE_KINDS: tuple[Kind, ...] = ("PNG", "JPEG", "TIFF", "BMP")
IMAGE_SUFFIXES = tuple(suffix for suffixes in _SUFFIXES.values() for suffix in suffixes)

_MAGIC: tuple[tuple[bytes, Kind], ...] = (
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),  # BigTIFF
    (b"MM\0+", "TIFF"),
    (b"NRRD000", "NRRD"),
)
_GZIP, _BMP = b"\x1f\x8b", b"BM"
_META_IMAGE = (b"ObjectType", b"NDims")
_MGH_TYPES = (0, 1, 3, 4)  # unsigned char, int, float, short
_HEAD_BYTES = 544  # the header of NIfTI-2 is the longest of those that are looked into
_NIFTI_1, _NIFTI_2 = 348, 540  # sizes of their headers, with which they begin in either byte order
_REMEMBERED = 2**16  # files

_Signature = tuple[int, int, int]  # tells whether a path still holds the file that was looked at


def kind_of(path: Path) -> Kind | None:
    """What image format a regular file has.

    A file is opened once in a run, unless it changes. Content counts; where it is none of ours, a file is what its
    name promises, so that the reader of that format can say what is wrong with it.

    Returns:
        The kind; ``None`` for other files, for folders, and for what is no file, such as a FIFO, which is not opened.
    """
    path = _header_of(path)
    signature = signature_of(path)
    return None if signature is None else _kind(str(path), signature)


def _header_of(path: Path) -> Path:
    """The header of a pair of files that is named by its data; else the path itself."""
    if path.suffix.lower() != ".img":
        return path
    headers = (path.with_suffix(suffix) for suffix in (".hdr", ".HDR"))
    return next((header for header in headers if header.is_file()), path)


def signature_of(path: Path) -> _Signature | None:
    """Inode, size and time of change of a regular file; ``None`` where there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_ino, status.st_size, status.st_mtime_ns) if stat.S_ISREG(status.st_mode) else None


@lru_cache(_REMEMBERED)
def _kind(path: str, signature: _Signature) -> Kind | None:  # noqa: ARG001 - the key of what is remembered
    promised = promised_kind(os.path.basename(path))  # noqa: PTH119 - quicker for thousands of files
    try:
        with open(path, "rb") as file:  # noqa: PTH123
            head = file.read(_HEAD_BYTES)
    except OSError:
        return promised
    return _sniffed(head) or promised


def promised_kind(name: str) -> Kind | None:
    """What a file's name alone promises."""
    if promises_dicom(name):
        return "DICOM"
    name = name.lower()
    return next((kind for kind, suffixes in _SUFFIXES.items() if name.endswith(suffixes)), None)


def _sniffed(head: bytes) -> Kind | None:
    if begins_dicom(head):
        return "DICOM"
    if head.startswith(_GZIP):
        head = _inflated(head)
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return kind
    if head.startswith(_BMP) and head[6:10] == bytes(4):  # two reserved fields
        return "BMP"
    if head.startswith(_META_IMAGE) and b"=" in head:
        return "MetaImage"
    if head.startswith(b"\0\0\0\1") and int.from_bytes(head[20:24], "big") in _MGH_TYPES:
        return "MGH"
    return _nifti(head)


def _nifti(head: bytes) -> Kind | None:
    size = {int.from_bytes(head[:4], order) for order in ("little", "big")}
    if _NIFTI_2 in size and head[4:7] in (b"n+2", b"ni2"):
        return "NIfTI"
    if _NIFTI_1 in size and len(head) >= _NIFTI_1:
        return "NIfTI" if head[344:347] in (b"n+1", b"ni1") else "Analyze"
    return None


def _inflated(head: bytes) -> bytes:
    try:
        return zlib.decompressobj(wbits=31).decompress(head, _HEAD_BYTES)
    except zlib.error:
        return b""


def strip_suffix(name: str) -> str:
    """A file's name without its image suffix: ``case_1.nii.gz`` is ``case_1``."""
    for suffix in (*IMAGE_SUFFIXES, ".img", ".dcm"):
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name


def is_dicom(path: Path) -> bool:
    """Whether a file is DICOM, or says so by its name."""
    return kind_of(path) == "DICOM"


def is_image(path: Path) -> bool:
    """Whether a file is a volume or a picture, and neither hidden nor DICOM."""
    return not path.name.startswith(".") and kind_of(path) not in (None, "DICOM")


def is_label_object(path: Path) -> bool:
    """Whether a file is a DICOM RTSTRUCT or SEG, which outlines what another file shows."""
    return is_dicom(path) and _sop_class(path) in LABELS


def _sop_class(path: Path) -> str:
    """The SOPClassUID of a DICOM file; "" where it cannot be read: the reader says later, by name, what is wrong."""
    signature = signature_of(path)
    return "" if signature is None else _read_sop_class(path, signature)


@lru_cache(_REMEMBERED)
def _read_sop_class(path: Path, signature: _Signature) -> str:  # noqa: ARG001 - the key of what is remembered
    try:
        dataset = read_dataset(path, keywords=["SOPClassUID"])
        return text(dataset, "SOPClassUID") or str(dataset.file_meta.get("MediaStorageSOPClassUID", ""))
    except Exception:  # noqa: BLE001 - see above
        return ""


def dicom_shows(path: Path) -> Literal["picture", "slice"] | None:
    """What image a DICOM file is; RTSTRUCT, SEG, SR and the like are none.

    An unreadable file counts as a slice: the reader says later, by name, what is wrong with it.
    """
    if not is_dicom(path):
        return None
    try:
        header = read_header(path)
    except InputError:
        return "slice"
    return None if header is None else "picture" if header.is_picture else "slice"


def dicom_pictures(path: Path) -> list[Path]:
    """The DICOM pictures at a path: radiographs, and ultrasound and others that have no place in the patient.

    Args:
        path: a file, or a folder, whose own files count.

    Returns:
        The files; none where the path also holds slices, which have such a place.
    """
    files = [path] if path.is_file() else visible(path.iterdir()) if path.is_dir() else []
    shown = {file: dicom_shows(file) for file in files}
    return [] if "slice" in shown.values() else [file for file, kind in shown.items() if kind == "picture"]


def visible(paths: Iterable[Path]) -> list[Path]:
    """Paths in order, without those whose names begin with a dot."""
    return sorted(path for path in paths if not path.name.startswith("."))


def holds_image(folder: Path) -> bool:
    """Whether a folder's own files hold an image."""
    return any(is_image(file) or dicom_shows(file) for file in visible(folder.iterdir()))


def is_picture(path: str | Path) -> bool:
    """Whether an image is a picture: PNG and the like, or one DICOM picture, see :func:`dicom_pictures`.

    Of a file that is gone, its name tells.
    """
    path = Path(path)
    if not path.exists():
        return promised_kind(path.name) in PICTURE_KINDS
    return kind_of(path) in PICTURE_KINDS or len(dicom_pictures(path)) == 1


def label_file(path: Path) -> Path:
    """The RTSTRUCT or SEG in a folder; the path itself where it is no such folder.

    Raises:
        InputError: the folder holds several.
    """
    if not path.is_dir():
        return path
    found = [file for file in visible(path.iterdir()) if is_label_object(file)]
    if len(found) > 1:
        raise InputError(
            f"holds {len(found)} label objects", where=path, expected="one RTSTRUCT or SEG", cure="Leave one of them"
        )
    return found[0] if found else path


def describe(path: Path) -> str:
    """A file's kind in a word or two, for a count of what is passed over: ``NIfTI``, ``RT Dose``, ``.txt file``."""
    kind = kind_of(path)
    if kind == "DICOM":
        return kind_name(uid) if (uid := _sop_class(path)) else "DICOM file"
    if kind is not None:
        return kind
    if not path.is_file():
        return "FIFO, socket or device"
    return f"{path.suffix.lower()} file" if path.suffix else "file without a suffix"
