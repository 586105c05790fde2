"""JPEG lossless, process 14, selection value 1 (ITU-T T.81 annex H), the usual compression of archives.

No package of the tests encodes it, so it is written here in its plainest form: one Huffman table that gives five
bits to each category of differences.
"""

from __future__ import annotations

import struct

import numpy as np

CATEGORIES = 17
CODE_BITS = 5


def encode(values, precision) -> bytes:
    """Encode unsigned values, (row, column), of ``precision`` bits."""
    rows, columns = values.shape
    table = struct.pack(">BHB", 0xC4, 2 + 1 + 16 + CATEGORIES, 0)
    table += bytes(CATEGORIES if length == CODE_BITS else 0 for length in range(1, 17)) + bytes(range(CATEGORIES))
    frame = struct.pack(">BHBHHBBBB", 0xC3, 11, precision, rows, columns, 1, 1, 0x11, 0)
    scan = struct.pack(">BHBBBBBB", 0xDA, 8, 1, 1, 0, 1, 0, 0)
    return b"\xff\xd8\xff" + table + b"\xff" + frame + b"\xff" + scan + _entropy(values, precision) + b"\xff\xd9"


def _entropy(values, precision) -> bytes:
    values = values.astype(np.int64)
    predicted = np.empty_like(values)
    predicted[:, 1:] = values[:, :-1]  # the pixel to the left
    predicted[1:, 0] = values[:-1, 0]  # at the left edge, the pixel above
    predicted[0, 0] = 1 << (precision - 1)
    differences = (values - predicted + 32767) % 65536 - 32767  # -32767 to 32768 (H.1.2.1)
    bits = []
    for difference in differences.ravel().tolist():
        category = abs(difference).bit_length()
        bits.append(f"{category:0{CODE_BITS}b}")
        if 0 < category < CATEGORIES - 1:
            amount = difference if difference > 0 else difference + (1 << category) - 1
            bits.append(f"{amount:0{category}b}")
    text = "".join(bits)
    text += "1" * (-len(text) % 8)
    return int(text, 2).to_bytes(len(text) // 8, "big").replace(b"\xff", b"\xff\x00")
