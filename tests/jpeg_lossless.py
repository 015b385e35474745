"""JPEG lossless (ITU-T T.81, process 14, selection value 1) by its definition, for tests of what decodes it."""

import struct

import numpy as np

_N_CATEGORIES = 17
_CODE_BITS = 5


def encoded(image: np.ndarray) -> bytes:
    """A uint16 image (row, column): differences to the left neighbour, Huffman codes of one length."""
    x = image.astype(int)
    predicted = np.empty_like(x)
    predicted[:, 1:], predicted[1:, 0], predicted[0, 0] = x[:, :-1], x[:-1, 0], 1 << 15
    differences = (x - predicted + (1 << 15)) % (1 << 16) - (1 << 15)
    bits = "".join(_code(int(d)) for d in differences.ravel())
    bits += "1" * (-len(bits) % 8)
    scan = int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\x00")
    rows, columns = image.shape
    lengths = bytes(_N_CATEGORIES if n == _CODE_BITS else 0 for n in range(1, 17))
    return b"".join(
        [
            b"\xff\xd8",
            _segment(0xC4, b"\0" + lengths + bytes(range(_N_CATEGORIES))),
            _segment(0xC3, struct.pack(">BHHB", 16, rows, columns, 1) + b"\x01\x11\x00"),
            _segment(0xDA, b"\x01\x01\x00" + b"\x01\x00\x00"),
            scan,
            b"\xff\xd9",
        ]
    )


def _code(difference: int) -> str:
    category = abs(difference).bit_length()
    if category == 0 or category == 16:
        return f"{category:0{_CODE_BITS}b}"
    extra = difference if difference > 0 else difference + (1 << category) - 1
    return f"{category:0{_CODE_BITS}b}{extra:0{category}b}"


def _segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content
