"""What an image shows, as a number to compare by."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from PIL import Image

from pipeline.data.inputs import Case
from pipeline.sources.kinds import PICTURE_KINDS, kind_of
from pipeline.sources.paths import paths_of

__all__ = ["content_hash", "content_of", "copies"]

_BLOCK = 1 << 20
_DIGITS = 32  # 128 bits: no two of 10 ** 9 images share them by chance


def content_hash(path: str | Path) -> str:
    """Half of the SHA-256 of an image's content: equal for copies under other names and for pictures in other formats.

    Args:
        path: a picture (its size and decoded pixels count), a gzipped file (what is in it counts), another file or a
            folder of files, whose names do not count.

    Returns:
        32 hexadecimal digits, the first half.
    """
    path = Path(path)
    if path.is_dir():
        return _joined(content_hash(file) for file in path.rglob("*") if file.is_file())
    if kind_of(path) in PICTURE_KINDS:
        try:
            return _hash_of_pixels(path)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            # whoever reads it later says what is wrong with it
            return _hash_of_blocks(_blocks(path))
    return _hash_of_blocks(_unzipped(path) if path.suffix == ".gz" else _blocks(path))


def _hash_of_pixels(path: Path) -> str:
    with Image.open(path) as image:
        shown = image.convert("RGBA") if image.mode in ("P", "PA", "1", "L", "LA", "RGB", "RGBA") else image
        return _short(hashlib.sha256(f"{shown.mode} {shown.size}".encode() + shown.tobytes()))


def _hash_of_blocks(blocks: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for block in blocks:
        digest.update(block)
    return _short(digest)


def _joined(hashes: Iterable[str]) -> str:
    """One hash of several, whose order does not count."""
    return _short(hashlib.sha256("".join(sorted(hashes)).encode()))


def _short(digest: hashlib._Hash) -> str:
    return digest.hexdigest()[:_DIGITS]


def _blocks(path: Path) -> Iterable[bytes]:
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            yield block


def _unzipped(path: Path) -> Iterable[bytes]:
    try:
        with gzip.open(path) as file:
            while block := file.read(_BLOCK):
                yield block
    except (OSError, EOFError):
        yield from _blocks(path)


def content_of(case: Case) -> str | None:
    """The :func:`content_hash` of a case's image, all channels together, noted in the case; None for an empty file."""
    if "content" not in case:
        paths = paths_of(case["image"])
        empty = not any(path.is_dir() or path.stat().st_size > 0 for path in paths)
        case["content"] = None if empty else _hash_of_all(paths)
    return case["content"]  # type: ignore[no-any-return]


def _hash_of_all(paths: Sequence[Path]) -> str:
    """One hash of several channels, or of a series in several folders; for one path that of the path."""
    if len(paths) == 1:
        return content_hash(paths[0])
    files = [file for path in paths for file in (path.rglob("*") if path.is_dir() else [path])]
    return _joined(content_hash(file) for file in files if file.is_file())


def copies(cases: Iterable[Case]) -> list[list[Case]]:
    """Groups of two or more cases whose images are exact copies of each other."""
    groups: dict[str | None, list[Case]] = {}
    for case in cases:
        groups.setdefault(content_of(case), []).append(case)
    groups.pop(None, None)
    return [group for group in groups.values() if len(group) > 1]
