"""Decode frames of compressed files, in this process or as a script of its own.

The decoders of JPEG 2000, JPEG and JPEG-LS hold Python's lock, so that threads do not make them any faster. As a
script this file is a process that answers each line on standard input, a JSON list of a path and a frame, with one
line, the type and the shape of an array, and the array's bytes. It imports nothing of medbundle, to start at once.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import os

    import numpy as np

__all__ = ["decode_frame"]


def decode_frame(path: str | os.PathLike[str], frame: int) -> np.ndarray[tuple[int, ...], np.dtype[Any]]:
    """Return the stored values of one frame (row, column); pydicom raises what it will."""
    from pydicom.pixels.utils import pixel_array

    return pixel_array(path, index=frame)


def _serve() -> None:
    out = sys.stdout.buffer
    for line in sys.stdin:
        path, frame = json.loads(line)
        try:
            array = decode_frame(path, frame)
        except Exception:  # noqa: BLE001 - the other process decodes it again, and says what is wrong
            out.write(b"null\n")
        else:
            out.write(json.dumps([array.dtype.str, array.shape]).encode() + b"\n" + array.tobytes())
        out.flush()


if __name__ == "__main__":
    del sys.path[0]  # medbundle's own modules must not stand in for others of the same name
    _serve()
